//! Socket.IO 4 on several nodes, with its Redis adapter and `pg`: what people build who do not use Relay. The server is
//! in `bench/peers/socketio`.

mod socket;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use tokio::process::Command;
use uuid::Uuid;

pub(crate) use self::socket::Socket;
use super::{FanOut, Feed, Publisher, server::Server};
use crate::{
    error::Error,
    process::Processes,
    services::{Database, Postgres, Redis},
};

/// The room of the fan-out.
const ROOM: &str = "fanout";
/// Its tables.
const SCHEMA: &str = include_str!("../../../peers/socketio/schema.sql");

/// The running nodes.
pub(crate) struct SocketIo {
    nodes: Vec<Server>,
    redis: u32,
    /// Dropped after the nodes.
    _database: Database,
}

impl SocketIo {
    /// Where the peer is. None: its packages are not installed.
    pub(crate) fn installed() -> Option<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/socketio");
        folder.join("node_modules/socket.io").is_dir().then_some(folder)
    }

    /// Starts `size` nodes on an empty database. Their log is `log`.
    pub(crate) async fn start(
        folder: &Path,
        log: &Path,
        (postgres, redis): (&Postgres, &Redis),
        size: usize,
    ) -> Result<Self, Error> {
        let database = postgres.database("socketio").await?;
        database.run(SCHEMA).await?;
        let (log, prefix) = (File::create(log)?, format!("bench-{}", Uuid::new_v4().simple()));
        let mut nodes = Vec::new();
        for _ in 0..size {
            let mut command = Command::new("node");
            command.arg("server.js").current_dir(folder).stderr(log.try_clone()?);
            command.env("NODE_ENV", "production").env("CHANNEL_PREFIX", &prefix);
            command.env("DATABASE_URL", database.url()).env("REDIS_URL", redis.url());
            nodes.push(Server::start(command).await?);
        }
        Ok(Self { nodes, redis: redis.pid().await?, _database: database })
    }

    /// Connects `user` to the node whose turn it is, and joins the room.
    async fn join(&self, number: usize, user: &str) -> Result<Box<Socket>, Error> {
        let node = self.nodes.get(number % self.nodes.len().max(1));
        let node = node.ok_or_else(|| Error::unexpected("there is no node of Socket.IO"))?;
        let mut socket = Socket::connect(node.address, user).await?;
        socket.join(ROOM).await?;
        Ok(Box::new(socket))
    }
}

impl FanOut for SocketIo {
    fn name(&self) -> &'static str {
        "socketio"
    }

    fn processes(&self) -> Processes {
        Processes { server: self.nodes.iter().map(|node| node.pid).collect(), redis: Some(self.redis) }
    }

    async fn subscribe(&self, number: usize) -> Result<Feed, Error> {
        Ok(Feed::SocketIo(self.join(number, &format!("u{number}")).await?))
    }

    /// On node 0, and a member of the room like Relay's publisher.
    async fn publish(&self) -> Result<Publisher, Error> {
        Ok(Publisher::SocketIo(self.join(0, "pub").await?))
    }
}
