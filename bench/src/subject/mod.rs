//! The servers that are measured. Each is a process of its own, so that the operating system counts its CPU and memory.

mod cluster;
mod feed;
mod floor;
pub(crate) mod frames;
mod launch;
mod plain_tonic;
mod publisher;
pub(crate) mod relay;
mod server;
mod socketio;
mod sqlite_floor;

pub(crate) use cluster::Cluster;
pub(crate) use feed::Feed;
pub(crate) use floor::{Floor, Writes};
pub(crate) use launch::Launch;
pub(crate) use plain_tonic::PlainTonic;
pub(crate) use publisher::Publisher;
pub(crate) use relay::{BothWays, Relay};
pub(crate) use server::Signal;
pub(crate) use socketio::SocketIo;
pub(crate) use sqlite_floor::SqliteFloor;

use std::path::PathBuf;

use crate::{args::value, error::Error, process::Processes};

/// The length of a message's text, in bytes.
pub(crate) const TEXT: usize = 64;

/// A server whose subscribers each get every message that is published.
pub(crate) trait FanOut: Send + Sync + 'static {
    /// How the results name it.
    fn name(&self) -> &'static str;

    /// The server's processes.
    fn processes(&self) -> Processes;

    /// Connects subscriber `number`; it gets what is published after this returns.
    fn subscribe(&self, number: usize) -> impl Future<Output = Result<Feed, Error>> + Send;

    /// Connects the one who publishes.
    fn publish(&self) -> impl Future<Output = Result<Publisher, Error>> + Send;
}

/// What this program is when it was started as a server.
pub(crate) enum Role {
    /// Copies frames of this many bytes to raw connections.
    Floor(Writes, usize),
    /// Streams events with tonic.
    PlainTonic,
    /// Inserts rows into a database in this folder for so many seconds.
    SqliteFloor(PathBuf, u64),
}

impl Role {
    /// Reads the words after `subject`.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        match words.next().as_deref() {
            Some(floor::ROLE) => Ok(Self::Floor(Writes::Single, value(floor::ROLE, &mut words)?)),
            Some(floor::BATCHED_ROLE) => Ok(Self::Floor(Writes::Batched, value(floor::ROLE, &mut words)?)),
            Some(plain_tonic::ROLE) => Ok(Self::PlainTonic),
            Some(sqlite_floor::ROLE) => {
                Ok(Self::SqliteFloor(value(sqlite_floor::ROLE, &mut words)?, value(sqlite_floor::ROLE, &mut words)?))
            }
            other => Err(Error::Usage(format!("no subject {}", other.unwrap_or("given")))),
        }
    }
}

/// Serves until the generator closes this process's standard input.
pub(crate) fn serve(role: Role) -> Result<(), Error> {
    server::end_with_parent();
    match role {
        Role::Floor(writes, frame) => floor::serve(writes, frame),
        Role::PlainTonic => plain_tonic::serve(),
        Role::SqliteFloor(folder, seconds) => sqlite_floor::serve(&folder, seconds),
    }
}
