//! The way to and from the server in a build without the feature `sqlite`: there is no file.

use futures_util::TryStreamExt as _;
use relay_sdk::{Client, Error, Event, Events, History, Message, OutgoingMessage, Positions, SendReceipt};

use crate::entry::Failure;

/// A client.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) client: Client,
}

/// The stream of events.
pub(crate) struct Feed(Events);

/// What becomes of the messages in the outbox: there is none.
pub(crate) struct Progress;

impl Link {
    pub(crate) async fn open(client: Client, file: Option<&str>) -> Result<Self, Failure> {
        match file {
            Some(_) => Err("--store needs a build with `--features sqlite`".into()),
            None => Ok(Self { client }),
        }
    }

    pub(crate) fn has_file(&self) -> bool {
        false
    }

    pub(crate) async fn begin(&self, room: &str, count: u16) -> Result<(Vec<Message>, Feed), Failure> {
        let mut page = self.client.history(History::older(room).page_size(count.into())).await?;
        page.messages.reverse();
        let positions = Positions::from([(room.to_owned(), page.position)]);
        Ok((page.messages, Feed(self.client.events_from(positions))))
    }

    pub(crate) async fn latest(&self, room: &str, count: u16) -> Result<Vec<Message>, Error> {
        let mut page = self.client.history(History::older(room).page_size(count.into())).await?;
        page.messages.reverse();
        Ok(page.messages)
    }

    pub(crate) async fn missed(&self, room: &str, from: u64) -> Result<Vec<Message>, Error> {
        self.client.history_all(History::newer(room).start(from)).try_collect().await
    }

    pub(crate) async fn send(&self, message: OutgoingMessage) -> Result<Option<SendReceipt>, Error> {
        self.client.send(message).await.map(Some)
    }

    pub(crate) async fn waiting(&self, _room: &str) -> Vec<(String, Option<String>)> {
        Vec::new()
    }

    pub(crate) async fn refused(&self, _room: &str, _again: bool) -> Result<usize, Error> {
        Ok(0)
    }

    pub(crate) async fn entered(&self, _room: &str) {}

    pub(crate) fn progress(&self) -> Progress {
        Progress
    }
}

impl Feed {
    pub(crate) async fn next(&mut self) -> Option<Result<Event, Error>> {
        self.0.next().await
    }
}

impl Progress {
    pub(crate) async fn next(&mut self) -> Option<String> {
        std::future::pending().await
    }
}
