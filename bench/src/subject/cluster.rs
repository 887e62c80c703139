//! Relay on several nodes: processes that share a database, a Redis and the key of their tokens.

use std::{ops::Range, path::Path, sync::Arc};

use uuid::Uuid;

use super::{FanOut, Feed, Launch, Publisher, Relay, Signal};
use crate::{
    args::Args,
    error::Error,
    process::Processes,
    services::{Database, Postgres, Redis},
};

/// The running nodes.
pub(crate) struct Cluster {
    nodes: Vec<Arc<Relay>>,
    launches: Vec<Arc<Launch>>,
    /// The nodes that subscribers connect to, one after another.
    readers: Range<usize>,
    redis: u32,
    /// Dropped after the nodes.
    database: Database,
}

impl Cluster {
    /// Starts `size` nodes on an empty database, with a prefix in Redis that nobody else has.
    pub(crate) async fn start(
        program: &Path,
        args: &Args,
        (postgres, redis): (&Postgres, &Redis),
        size: usize,
    ) -> Result<Self, Error> {
        let database = postgres.database("nodes").await?;
        let prefix = format!("bench-{}", Uuid::new_v4().simple());
        let first = Launch::new(program, args)?
            .with("RELAY_DATABASE_URL", database.url())
            .with("RELAY_REDIS_URL", redis.url())
            .with("RELAY_REDIS_PREFIX", &prefix);
        let mut launches = Vec::new();
        for number in 1..size {
            launches.push(Arc::new(first.another(number + 1)?));
        }
        launches.insert(0, Arc::new(first));
        let mut nodes = Vec::new();
        for launch in &launches {
            nodes.push(Arc::new(launch.start().await?));
        }
        Ok(Self { nodes, launches, readers: 0..size, redis: redis.pid().await?, database })
    }

    /// With subscribers on these nodes only. The publisher is on node 0.
    pub(crate) fn with_readers_on(self, readers: Range<usize>) -> Self {
        Self { readers, ..self }
    }

    /// A node.
    pub(crate) fn node(&self, number: usize) -> Result<&Arc<Relay>, Error> {
        self.nodes.get(number).ok_or_else(|| Error::unexpected(format!("there is no node {number}")))
    }

    /// Ends a node that nobody else holds, and starts it again.
    pub(crate) async fn restart(&mut self, number: usize, signal: Signal) -> Result<(), Error> {
        if number >= self.nodes.len() {
            return Err(Error::unexpected(format!("there is no node {number}")));
        }
        let node = Arc::into_inner(self.nodes.remove(number));
        node.ok_or_else(|| Error::unexpected("a node is still in use"))?.end(signal).await?;
        if let Some(launch) = self.launches.get(number) {
            self.nodes.insert(number, Arc::new(launch.start().await?));
        }
        Ok(())
    }

    /// Their database.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }
}

impl FanOut for Cluster {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn processes(&self) -> Processes {
        Processes { server: self.nodes.iter().map(|node| node.pid()).collect(), redis: Some(self.redis) }
    }

    async fn subscribe(&self, number: usize) -> Result<Feed, Error> {
        self.node(self.readers.start + number % self.readers.len().max(1))?.subscribe(number).await
    }

    async fn publish(&self) -> Result<Publisher, Error> {
        self.node(0)?.publish().await
    }
}
