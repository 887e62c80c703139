//! The bus: what nodes tell each other about what they have written. It is a hint: whoever relies on it must be able to do
//! without.
//!
//! # Contract
//! - A payload that is published on a channel reaches every node that watches the channel, once, unless it is lost. It may
//!   be lost at any time, and nobody is told who missed it: the publisher goes on, a watcher learns of it from the
//!   payloads themselves or by asking the database.
//! - Payloads that one node publishes on one channel arrive in the order in which it published them. Payloads of different
//!   nodes, or on different channels, arrive in any order.
//! - A node that watches what it publishes on hears itself.
//! - What is published after [`Heard::Watching`] named a channel is heard there, as long as the bus stays up. What was
//!   published before may or may not be.
//! - Nothing here blocks or waits for Redis, except [`Bus::recent`]. What waits to be sent or handled is bounded in bytes
//!   (`redis.queue_bytes`); beyond it the newest is dropped, which is reported by [`Heard::Lost`] if it was heard, and by
//!   [`Heard::Unsent`] if it was published here.
//! - After [`Heard::Down`] nothing arrives. The bus connects again by itself, says [`Heard::Up`], and names all channels
//!   that are watched in [`Heard::Watching`] anew.

mod ear;
mod local;
mod redis;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
pub use local::LocalBus;

pub use self::{
    ear::{Ear, Voice, ear},
    redis::{Keep, OpenError, RedisBus, RedisTask},
};
use crate::error::Result;

/// The name of a channel, without the deployment's prefix. Not empty; at most 400 bytes of printable ASCII, without
/// spaces and braces.
pub type Channel = Arc<str>;

/// What a node hears, in the order in which it happened.
#[derive(Debug)]
pub enum Heard {
    /// The bus works from here on.
    Up,
    /// The bus is away; nothing arrives until [`Heard::Up`].
    Down,
    /// These channels are watched: what is published on them from now on arrives.
    Watching(Vec<Channel>),
    /// Somebody published this.
    Message(Channel, Bytes),
    /// Something arrived and was dropped, because too much waited.
    Lost,
    /// Something that was published here was dropped, because too much waited.
    Unsent,
}

/// How the bus is, for `/ready` and for whoever would rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// There is no bus: the node is alone.
    Alone,
    /// There is no bus, and there may be other nodes, which are found out about from the database alone.
    Silent,
    /// It delivers.
    Up,
    /// It is away.
    Down,
    /// It takes what is published and delivers nothing.
    Deaf,
}

impl Health {
    /// Whether what other nodes publish arrives here, as far as is known.
    pub fn delivers(self) -> bool {
        matches!(self, Self::Alone | Self::Up)
    }

    /// Whether other nodes can be reached.
    pub fn is_up(self) -> bool {
        self == Self::Up
    }
}

/// A node's end of the bus; see the contract above.
pub trait Bus: Send + Sync + 'static {
    /// Asks for what is published on `channel`. A channel is watched or not: asking twice is asking once.
    fn watch(&self, channel: Channel);

    /// Does not ask any more.
    fn unwatch(&self, channel: &Channel);

    /// Publishes `payload`. With `keep` it is kept for [`Bus::recent`] as well.
    fn publish(&self, channel: &Channel, payload: Bytes, keep: bool);

    /// Forgets what was kept of a channel, after what was published before.
    fn forget(&self, channel: &Channel);

    /// What was kept of a channel: the last payloads, bounded in number (`chat.hot_events`) and age (`chat.hot_ttl` after
    /// the last), in about the order of their publishing, possibly with holes. Nothing, if the bus is away.
    ///
    /// # Errors
    /// When the bus did not answer in time.
    fn recent<'a>(&'a self, channel: &'a Channel) -> BoxFuture<'a, Result<Vec<Bytes>>>;

    /// How it is.
    fn health(&self) -> Health;
}
