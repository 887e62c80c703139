//! What a test of several nodes has: the nodes, their database and Redis, and somebody at each node who talks to the others.

use std::time::Duration;

use relay_proto::chat::v1::{RoomKind, room_event::Event};
use tokio::time::Instant;

use super::{CHECK, LATE};
use crate::support::{Clients, Database, Postgres, Redis, Server, Settings, Stream, within};

/// The nodes of such a test.
pub(super) const NODES: usize = 3;

/// Nodes on a PostgreSQL and a Redis of their own. Fields go in their order: the nodes are gone first.
pub(super) struct Parts {
    pub(super) server: Server,
    _database: Database,
    pub(super) redis: Redis,
    pub(super) postgres: Postgres,
}

impl Parts {
    /// All nodes with these settings.
    pub(super) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::with(settings, async |urls, _, _| urls).await
    }

    /// All nodes with these settings; the first reaches the database and Redis by way of what `detour` answers, which is
    /// given the URLs and the addresses of PostgreSQL and Redis.
    pub(super) async fn with(
        settings: &[(&str, &str)],
        detour: impl AsyncFnOnce([String; 2], &str, &str) -> [String; 2],
    ) -> Self {
        let (postgres, redis) = tokio::task::block_in_place(|| (Postgres::start(), Redis::start()));
        let database = Database::create(postgres.url());
        let urls = [database.url(), redis.url().to_owned()];
        let first = detour(urls.clone(), postgres.address(), redis.address()).await;
        let of_node = |n: usize| {
            let [database, redis] = if n == 0 { first.clone() } else { urls.clone() };
            let mut all: Settings = vec![("database.url".into(), database), ("redis.url".into(), redis)];
            all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            all
        };
        let server = Server::each((0..NODES).map(of_node).collect());
        Self { server, _database: database, redis, postgres }
    }

    /// Does something to Redis, in its own time.
    pub(super) fn redis(&mut self, order: impl FnOnce(&mut Redis)) {
        tokio::task::block_in_place(|| order(&mut self.redis));
    }
}

/// A room with a member at every node.
pub(super) struct Crossing {
    members: Vec<(Clients, Stream)>,
    position: u64,
}

impl Crossing {
    pub(super) async fn open(server: &Server) -> Self {
        let users: Vec<String> = (0..server.count()).map(|n| format!("at-{n}")).collect();
        let others: Vec<&str> = users.iter().skip(1).map(String::as_str).collect();
        server.node(0).user(&users[0]).await.create_room("crossing", RoomKind::Private, &others).await;
        let mut members = Vec::new();
        for (n, user) in users.iter().enumerate() {
            let clients = server.node(n).user(user).await;
            let (stream, _) = Stream::caught_up(&clients, &[]).await;
            members.push((clients, stream));
        }
        Self { members, position: users.len() as u64 }
    }

    /// Says something at node `from`; answers how long it took until the last node's member has it, next after what they
    /// had.
    pub(super) async fn say(&mut self, from: usize) -> Duration {
        let begun = Instant::now();
        let text = format!("after {}", self.position);
        let sent = self.members[from].0.say("crossing", &text).await;
        self.position += 1;
        assert_eq!(sent.position, self.position);
        for (_, stream) in &mut self.members {
            let event = stream.event().await;
            assert_eq!((event.previous_position, event.position), (self.position - 1, self.position));
            let Some(Event::MessageCreated(created)) = event.event else { panic!("{event:?}") };
            assert_eq!(created.message.unwrap().text, text);
        }
        begun.elapsed()
    }

    /// Says something at every node in turn, and answers the longest.
    pub(super) async fn slowest(&mut self) -> Duration {
        let mut slowest = Duration::ZERO;
        for from in 0..self.members.len() {
            slowest = slowest.max(self.say(from).await);
        }
        slowest
    }

    /// Says something at every node, while node `deaf` alone is without the bus: it looks into the database every second;
    /// the others, who do not know of it, hear from it when they look.
    pub(super) async fn in_time_beside(&mut self, deaf: usize) {
        for from in 0..self.members.len() {
            let late = if from == deaf { CHECK + LATE } else { LATE };
            let took = self.say(from).await;
            assert!(took < late, "a message from node {from} took {took:?}");
        }
    }

    /// Waits until messages cross as fast as only the bus carries them: a look into the database every second would not
    /// do that for one after the other.
    pub(super) async fn fast(&mut self) {
        let wait = async { while self.slowest().await > Duration::from_millis(400) {} };
        within("messages to cross fast", wait).await;
    }
}
