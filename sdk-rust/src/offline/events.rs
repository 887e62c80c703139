//! The stream of events, each in the file before it is yielded.

use std::collections::VecDeque;

use futures_util::FutureExt as _;
use tokio::task::AbortHandle;

use super::Offline;
use crate::{Error, Event, Events, ResumeVerdict, Unread};

/// How many events are stored in one transaction at most, if so many have come.
const BATCH: usize = 64;

/// [`Events`] that begin where the file ends, and are stored before they are yielded. Made by [`Offline::events`].
pub struct OfflineEvents {
    offline: Offline,
    events: Events,
    unread: Unread,
    /// Events that have come and are not stored for certain.
    coming: Vec<Event>,
    /// What is stored and still to be yielded.
    stored: VecDeque<Event>,
    /// The end of the stream, to be yielded after what came before.
    end: Option<Error>,
    /// Whether the open stream has told everything that was missed.
    caught_up: bool,
    /// Reads the rooms anew. Ends with the stream: a call to a server that is gone would keep the file in use.
    refreshing: Option<EndsWithStream>,
}

/// A task that ends when this is dropped.
struct EndsWithStream(AbortHandle);

impl Drop for EndsWithStream {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Offline {
    /// Opens the stream of events after those that the file has. One at a time: each would store the same.
    ///
    /// # Errors
    /// [`Storage`](crate::ErrorKind::Storage).
    pub async fn events(&self) -> Result<OfflineEvents, Error> {
        let positions = self.0.store.positions().await?;
        Ok(OfflineEvents {
            offline: self.clone(),
            events: self.0.client.events_from(positions),
            unread: self.unread().await?,
            coming: Vec::new(),
            stored: VecDeque::new(),
            end: None,
            caught_up: false,
            refreshing: None,
        })
    }
}

impl OfflineEvents {
    /// The next item, or `None` after the last, which is an error: of the stream, or
    /// [`Storage`](crate::ErrorKind::Storage) when it cannot be stored or the file is another user's. Nothing is lost when
    /// the future is dropped while it waits.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        while self.stored.is_empty() {
            if self.coming.is_empty() {
                if let Some(end) = self.end.take() {
                    return Some(Err(end));
                }
                let first = self.events.next().await?;
                self.take(first);
                self.take_more();
            }
            let OfflineEvents { offline, unread, coming, .. } = self;
            // If this is dropped half-way, the same events are stored again.
            if let Err(error) = offline.0.store.apply(coming, unread, offline.0.kept).await {
                self.coming.clear();
                self.events.close();
                return Some(Err(error));
            }
            self.stored.extend(self.coming.drain(..));
        }
        let event = self.stored.pop_front()?;
        self.act(&event);
        Some(Ok(event))
    }

    /// How the user stands in each room as of the last event that was stored.
    pub fn unread(&self) -> &Unread {
        &self.unread
    }

    fn take(&mut self, item: Result<Event, Error>) {
        match item {
            Ok(event) => self.coming.push(event),
            Err(error) => self.end = Some(error),
        }
    }

    /// Takes what has come already.
    fn take_more(&mut self) {
        while self.coming.len() < BATCH && self.end.is_none() {
            let Some(Some(item)) = self.events.next().now_or_never() else { return };
            self.take(item);
        }
    }

    fn act(&mut self, event: &Event) {
        match event {
            Event::Connected(_) => {
                self.caught_up = false;
                // The server is there: what waits in the outbox need not wait longer.
                self.offline.outbox().hurry();
            }
            Event::CaughtUp => {
                self.caught_up = true;
                self.refresh();
            }
            Event::Resumed(room) if self.caught_up && room.verdict() == ResumeVerdict::Joined => self.refresh(),
            _ => {}
        }
    }

    /// Reads the rooms anew meanwhile. If it fails, the next opening does it.
    fn refresh(&mut self) {
        let offline = self.offline.clone();
        let refresh = self.offline.0.client.runtime().spawn(async move { offline.refresh().await });
        self.refreshing = Some(EndsWithStream(refresh.abort_handle()));
    }
}

impl std::fmt::Debug for OfflineEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OfflineEvents").field("events", &self.events).finish_non_exhaustive()
    }
}
