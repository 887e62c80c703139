//! What several nodes promise together: on groups of nodes whose size is the test's own, wherever the suite runs.

mod away;
mod bad_redis;
mod lanes;
mod listing;
mod membership;
mod presence;
mod renewal;
mod repeats;
mod replay;
mod rush;
mod tokens;
mod without_redis;
mod writers;

use std::{sync::LazyLock, time::Duration};

use relay_proto::chat::v1::{ResumeVerdict, RoomResume, frame::Kind};

use crate::support::{Database, Node, Postgres, Redis, Server, Settings, Stream, eventually, redis_run};

/// The PostgreSQL and the Redis of all these tests: those of the suite, or some that end with this process.
struct Instances {
    postgres: String,
    redis: String,
    _own: Option<(Postgres, Redis)>,
}

static INSTANCES: LazyLock<Instances> = LazyLock::new(|| {
    let given = |name: &str| std::env::var(name).ok();
    match (given("RELAY_TEST_POSTGRES_URL"), given("RELAY_TEST_REDIS_URL")) {
        (Some(postgres), Some(redis)) => Instances { postgres, redis, _own: None },
        _ => {
            let (postgres, redis) = (Postgres::start(), Redis::start());
            let urls = (postgres.url().to_owned(), redis.url().to_owned());
            Instances { postgres: urls.0, redis: urls.1, _own: Some((postgres, redis)) }
        }
    }
});

/// Redis alone brings events from node to node: what would find them in the database comes too late for any test.
const BY_BUS_ALONE: [(&str, &str); 2] = [("chat.check_interval", "10m"), ("chat.check_interval_alone", "1m")];

/// Some nodes on a database and a Redis prefix of their own. Fields go in their order: the nodes are gone first.
struct Group {
    server: Server,
    redis: String,
    prefix: String,
    _database: Database,
}

impl Group {
    /// So many nodes with these settings.
    fn start(count: usize, settings: &[(&str, &str)]) -> Self {
        Self::on(count, &INSTANCES.redis, settings)
    }

    /// The same on another Redis.
    fn on(count: usize, redis: &str, settings: &[(&str, &str)]) -> Self {
        Self::each(&vec![redis; count], settings)
    }

    /// A node for each of these URLs of Redis.
    fn each(urls: &[&str], settings: &[(&str, &str)]) -> Self {
        let database = Database::create(&INSTANCES.postgres);
        let prefix = format!("nodes-{}", uuid::Uuid::new_v4().simple());
        let of_node = |redis: &&str| -> Settings {
            let own = [
                ("database.url", database.url()),
                ("redis.url", (*redis).to_owned()),
                ("redis.prefix", prefix.clone()),
            ];
            let own = own.map(|(key, value)| (key.to_owned(), value));
            own.into_iter().chain(settings.iter().map(|(key, value)| ((*key).into(), (*value).into()))).collect()
        };
        let server = Server::each(urls.iter().map(of_node).collect());
        Self { server, redis: urls[0].to_owned(), prefix, _database: database }
    }

    /// A certain node.
    fn node(&self, n: usize) -> &Node {
        self.server.node(n)
    }

    /// kill -9 of a node, and its start: it knows nothing of what was before.
    fn renew(&mut self, n: usize) {
        self.server.node_mut(n).kill();
        self.server.node_mut(n).restart();
    }

    /// What the list of a room's last events in Redis is called.
    fn kept(&self, room: &str) -> String {
        format!("{}:h:r/default/{room}", self.prefix)
    }

    /// How many payloads Redis keeps of a room.
    fn length(&self, room: &str) -> u64 {
        redis_run(&self.redis, &["LLEN", &self.kept(room)]).parse().unwrap()
    }

    /// Waits until Redis keeps so many payloads of a room.
    async fn until_kept(&self, room: &str, payloads: u64) {
        eventually("Redis to have it", async || self.length(room) == payloads).await;
    }

    /// Waits until a node has nothing more to look up in the database by itself: what comes then comes over the bus.
    async fn quiet(&self, n: usize) {
        let (mut last, mut same) = (-1.0, 0);
        let looks = async {
            let mut look = tokio::time::interval(Duration::from_millis(10));
            while same < 15 {
                look.tick().await;
                let reads = self.node(n).metric("relay_database_reads_total").await;
                same = if reads == last { same + 1 } else { 0 };
                last = reads;
            }
        };
        crate::support::within("a node without work", looks).await;
    }
}

/// What a node has read, by where it was found.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reads {
    memory: f64,
    redis: f64,
    primary: f64,
}

impl Reads {
    async fn of(node: &Node) -> Self {
        let read = async |from: &str| node.metric(&format!("relay_history_reads_total{{from=\"{from}\"}}")).await;
        Self { memory: read("memory").await, redis: read("redis").await, primary: read("primary").await }
    }

    /// What was read since `before`: from memory, from Redis, from the database.
    async fn since(before: Self, node: &Node) -> [f64; 3] {
        let now = Self::of(node).await;
        [now.memory - before.memory, now.redis - before.redis, now.primary - before.primary]
    }
}

/// The next frame, which says how the stream stands to one room.
async fn verdict(stream: &mut Stream) -> (String, ResumeVerdict, u64) {
    match stream.next().await {
        Kind::Resumed(resumed) => {
            let [room] = <[RoomResume; 1]>::try_from(resumed.rooms).unwrap();
            (room.room_id.clone(), room.verdict(), room.position)
        }
        other => panic!("no verdict: {other:?}"),
    }
}

/// The next frame, which is an event of `room`: its position follows the one before.
async fn event(stream: &mut Stream, room: &str, position: u64) -> relay_proto::chat::v1::room_event::Event {
    match stream.next().await {
        Kind::Event(event) => {
            assert_eq!(
                (event.room_id.as_str(), event.previous_position, event.position),
                (room, position - 1, position)
            );
            event.event.unwrap()
        }
        other => panic!("no event: {other:?}"),
    }
}
