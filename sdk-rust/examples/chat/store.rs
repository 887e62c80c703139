//! The way to and from the server: with a file, everything goes through it, and works without a server too.

use futures_util::TryStreamExt as _;
use relay_sdk::{
    Client, Error, ErrorReason, Event, Events, History, Message, OutgoingMessage, Positions, SendReceipt,
    offline::{Offline, OfflineEvents, OutboxState, Store},
};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::entry::Failure;

/// A client, perhaps with a file.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) client: Client,
    offline: Option<Offline>,
}

/// The stream of events.
pub(crate) enum Feed {
    Live(Events),
    Stored(Box<OfflineEvents>),
}

/// What becomes of the messages in the outbox.
pub(crate) struct Progress(Option<Receiver<relay_sdk::offline::OutboxChange>>);

impl Link {
    pub(crate) async fn open(client: Client, file: Option<&str>) -> Result<Self, Failure> {
        let offline = match file {
            Some(file) => Some(client.offline(Store::open(file).await?)),
            None => None,
        };
        Ok(Self { client, offline })
    }

    /// Whether messages can be written and read without a server.
    pub(crate) fn has_file(&self) -> bool {
        self.offline.is_some()
    }

    /// The last messages of a room, ascending, and the events after them.
    pub(crate) async fn begin(&self, room: &str, count: u16) -> Result<(Vec<Message>, Feed), Failure> {
        if let Some(offline) = &self.offline {
            let timeline = offline.timeline(room, 0, count.into()).await?;
            return Ok((timeline.messages, Feed::Stored(Box::new(offline.events().await?))));
        }
        let mut page = self.client.history(History::older(room).page_size(count.into())).await?;
        page.messages.reverse();
        Ok((page.messages, Feed::Live(self.client.events_from(Positions::from([(room.to_owned(), page.position)])))))
    }

    /// The last messages of a room, ascending, as the server has them.
    pub(crate) async fn latest(&self, room: &str, count: u16) -> Result<Vec<Message>, Error> {
        if let Some(offline) = &self.offline {
            return Ok(offline.timeline(room, 0, count.into()).await?.messages);
        }
        let mut page = self.client.history(History::older(room).page_size(count.into())).await?;
        page.messages.reverse();
        Ok(page.messages)
    }

    /// The messages from a number on.
    pub(crate) async fn missed(&self, room: &str, from: u64) -> Result<Vec<Message>, Error> {
        self.client.history_all(History::newer(room).start(from)).try_collect().await
    }

    /// Sends a message; into the file, if there is one. `None`: it is not known yet what became of it.
    pub(crate) async fn send(&self, message: OutgoingMessage) -> Result<Option<SendReceipt>, Error> {
        match &self.offline {
            Some(offline) => offline.outbox().send(message).await.map(|_| None),
            None => self.client.send(message).await.map(Some),
        }
    }

    /// The messages of a room that are not written yet, with what is in their way.
    pub(crate) async fn waiting(&self, room: &str) -> Vec<(String, Option<String>)> {
        let Some(offline) = &self.offline else { return Vec::new() };
        let pending = offline.outbox().pending(room).await.unwrap_or_default();
        let line = |pending: relay_sdk::offline::Pending| {
            let why = pending.refusal.map(|refusal| match pending.parked {
                true => format!("refused: {}", refusal.message),
                false => refusal.message,
            });
            (pending.message.text_of().to_owned(), why)
        };
        pending.into_iter().map(line).collect()
    }

    /// Does something with all refused messages of a room. Answers how many there were.
    pub(crate) async fn refused(&self, room: &str, again: bool) -> Result<usize, Error> {
        self.each_refused(room, |_| true, again).await
    }

    /// The user has just come into the room: what was refused because they were not is tried again.
    pub(crate) async fn entered(&self, room: &str) {
        let outside = |reason| matches!(reason, Some(ErrorReason::NotAMember | ErrorReason::RoomNotFound));
        let _ = self.each_refused(room, outside, true).await;
    }

    async fn each_refused(
        &self,
        room: &str,
        which: impl Fn(Option<ErrorReason>) -> bool,
        again: bool,
    ) -> Result<usize, Error> {
        let Some(offline) = &self.offline else { return Ok(0) };
        let mut count = 0;
        for pending in offline.outbox().pending(room).await? {
            if pending.parked && which(pending.refusal.as_ref().and_then(|refusal| refusal.reason)) {
                count += 1;
                let id = pending.message.client_message_id();
                match again {
                    true => offline.outbox().retry(id).await?,
                    false => drop(offline.outbox().discard(id).await?),
                }
            }
        }
        Ok(count)
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress(self.offline.as_ref().map(|offline| offline.outbox().watch()))
    }
}

impl Feed {
    pub(crate) async fn next(&mut self) -> Option<Result<Event, Error>> {
        match self {
            Self::Live(events) => events.next().await,
            Self::Stored(events) => events.next().await,
        }
    }
}

impl Progress {
    /// Waits for a change; tells a refusal. Without a file there is none, ever.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let Some(changes) = &mut self.0 else { return std::future::pending().await };
        match changes.recv().await {
            Ok(change) => match change.state {
                OutboxState::Parked(error) => Some(format!("* refused: {error} (/retry or /drop)")),
                _ => None,
            },
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
