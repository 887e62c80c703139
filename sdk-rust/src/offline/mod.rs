//! Chat without a connection: a durable outbox, and a cache of what was seen. Feature `sqlite`.
//!
//! Both live in one file of the device and user, a [`Store`]:
//!
//! ```no_run
//! use relay_sdk::{Client, OutgoingMessage, offline::Store};
//!
//! # async fn run() -> Result<(), relay_sdk::Error> {
//! let client = Client::builder("http://127.0.0.1:8080").token("ey...").build()?;
//! let offline = client.offline(Store::open("ana.db").await?);
//! // Written into the file now, sent when that is possible, after a restart too.
//! offline.outbox().send(OutgoingMessage::text("general", "hi")).await?;
//! let mut events = offline.events().await?;
//! while let Some(event) = events.next().await {
//!     println!("{:?}", event?); // Stored before it is yielded: the next start goes on behind it.
//! }
//! # Ok(())
//! # }
//! ```

mod apply;
mod cache;
mod events;
mod fate;
mod outbox;
mod queue;
mod rooms;
mod store;
mod timeline;

use std::sync::Arc;

pub use self::{
    events::OfflineEvents,
    outbox::{Outbox, OutboxChange, OutboxState},
    queue::{Pending, Refusal},
    store::Store,
    timeline::Timeline,
};
use crate::{Client, Error, Unread};

/// How many messages of each room are kept: the newest.
const KEPT: u64 = 1_000;

/// A client with a file: what it sends waits there, and what it sees is kept there. Cheap to clone.
#[derive(Clone)]
pub struct Offline(Arc<Inner>);

struct Inner {
    client: Client,
    store: Store,
    outbox: Outbox,
    kept: u64,
    hide_blocked: bool,
}

/// How a file is used. Given to [`Client::offline_with`].
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct OfflineOptions {
    kept: u64,
    hide_blocked: bool,
}

impl OfflineOptions {
    /// How many messages of each room are kept: the newest. At least 1. Default: 1,000.
    pub fn messages_kept(mut self, messages: u64) -> Self {
        self.kept = messages.max(1);
        self
    }

    /// Whether [`timeline`](Offline::timeline) leaves out messages of users whom the user has blocked, in groups. Default:
    /// yes.
    pub fn hide_blocked(mut self, hide: bool) -> Self {
        self.hide_blocked = hide;
        self
    }
}

impl Default for OfflineOptions {
    fn default() -> Self {
        Self { kept: KEPT, hide_blocked: true }
    }
}

impl Client {
    /// Begins to work with a file: what still waits in its outbox is sent from now on.
    ///
    /// A file belongs to one user. [`Offline::events`] sees to that; the outbox cannot, so do not open one user's file with
    /// a client of another.
    pub fn offline(&self, store: Store) -> Offline {
        self.offline_with(store, OfflineOptions::default())
    }

    /// As [`offline`](Self::offline), with options.
    pub fn offline_with(&self, store: Store, options: OfflineOptions) -> Offline {
        let outbox = Outbox::open(self.clone(), store.clone());
        let OfflineOptions { kept, hide_blocked } = options;
        Offline(Arc::new(Inner { client: self.clone(), store, outbox, kept, hide_blocked }))
    }
}

impl Offline {
    /// The messages that are still to be sent.
    pub fn outbox(&self) -> &Outbox {
        &self.0.outbox
    }

    /// How the user stands in each room as of the last event that was stored: what to count on from.
    ///
    /// # Errors
    /// [`Storage`](crate::ErrorKind::Storage).
    pub async fn unread(&self) -> Result<Unread, Error> {
        let user_id = self.0.store.user_id().await?.unwrap_or_default();
        Ok(Unread::restore(user_id, self.0.store.memberships().await?))
    }
}

impl std::fmt::Debug for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offline").field("store", &self.0.store).finish_non_exhaustive()
    }
}
