//! Receipts across nodes whose bus goes away and comes back: streams converge.

use std::collections::BTreeMap;

use relay_proto::chat::v1::{BlockUserRequest, OpenStream, RoomKind, frame::Kind};

use super::{SOON, cursors, read};
use crate::support::{Clients, Database, Postgres, Proxy, Redis, Server, Settings, Stream, eventually, within};

/// Two nodes, each with its own URL of Redis.
fn nodes(postgres: &Postgres, urls: [&str; 2]) -> (Server, Database) {
    let database = Database::create(postgres.url());
    let of_node = |redis: &str| -> Settings {
        let settings = [
            ("database.url", database.url()),
            ("redis.url", redis.to_owned()),
            ("redis.prefix", "receipts".to_owned()),
            ("redis.probe_interval", "200ms".to_owned()),
            ("redis.command_timeout", "500ms".to_owned()),
            (SOON.0, SOON.1.to_owned()),
        ];
        settings.map(|(key, value)| (key.to_owned(), value)).into()
    };
    (Server::each(urls.map(of_node).into()), database)
}

/// Ben reads at the first node; Ana, and another device of Ben's, have streams at the second.
struct Apart {
    reader: Clients,
    ana: Clients,
    others: Stream,
    own: Stream,
}

impl Apart {
    async fn start(server: &Server) -> Self {
        let mut ana = server.node(1).user("ana").await;
        ana.create_room("r", RoomKind::Private, &["ben"]).await;
        ana.say_all("r", (0..20).map(|i| i.to_string())).await;
        let (others, _) = Stream::caught_up(&ana, &[]).await;
        let open = OpenStream { memberships: true, ..OpenStream::default() };
        let (own, _) = Stream::opened(&server.node(1).user("ben").await, open).await;
        Self { reader: server.node(0).user("ben").await, ana, others, own }
    }

    async fn converges(&mut self, seq: u64) {
        super::stands(&mut self.own, "r", |state| state.read_seq == seq).await;
        let others = &mut self.others;
        let told = async {
            loop {
                if let Kind::Receipts(frame) = others.next_told().await
                    && (frame.partial || frame.receipts.iter().any(|r| r.user_id == "ben" && r.read_seq == seq))
                {
                    return;
                }
            }
        };
        within("a word of the cursor, or that something is missing", told).await;
        let expected = ("ben".to_owned(), seq, seq);
        let listed = async || cursors(&mut self.ana.clone(), "r").await[1] == expected;
        eventually("the cursor in the list", listed).await;
    }
}

/// A stream that is told how far members have read, and its user besides how they stand.
struct Watcher {
    stream: Stream,
    read: BTreeMap<String, u64>,
}

impl Watcher {
    /// Reads on until it is told that this member has read up to `seq`. Nothing that it is told goes back.
    async fn sees(&mut self, user: &str, seq: u64) {
        let told = async {
            while self.read.get(user).is_none_or(|read| *read < seq) {
                let read: Vec<(String, u64)> = match self.stream.next_told().await {
                    Kind::Receipts(frame) => frame.receipts.into_iter().map(|r| (r.user_id, r.read_seq)).collect(),
                    Kind::Memberships(frame) => {
                        frame.memberships.iter().map(|state| ("itself".to_owned(), state.read_seq)).collect()
                    }
                    _ => continue,
                };
                for (user, read) in read {
                    let before = self.read.insert(user.clone(), read).unwrap_or_default();
                    assert!(read >= before, "{user} goes back from {before} to {read}");
                }
            }
        };
        within("a word of the cursor", told).await;
    }
}

async fn up(server: &Server, bus: f64) {
    let all = async || server.metric("relay_bus_up").await == bus;
    eventually("the state of the bus", all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_while_redis_was_away_is_told_when_it_is_back() {
    let (postgres, mut redis) = tokio::task::block_in_place(|| (Postgres::start(), Redis::start()));
    let (server, _database) = nodes(&postgres, [redis.url(), redis.url()]);
    let mut apart = Apart::start(&server).await;
    up(&server, 2.0).await;
    read(&mut apart.reader, "r", 3).await;
    apart.converges(3).await;
    tokio::task::block_in_place(|| redis.kill());
    up(&server, 0.0).await;
    read(&mut apart.reader, "r", 7).await;
    let written = async || cursors(&mut apart.ana.clone(), "r").await[1].2 == 7;
    eventually("the cursor on disk", written).await;
    tokio::task::block_in_place(|| redis.restart());
    apart.converges(7).await;
    read(&mut apart.reader, "r", 9).await;
    apart.converges(9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_alone_was_cut_off_tells_its_streams_when_it_is_back() {
    let (postgres, redis) = tokio::task::block_in_place(|| (Postgres::start(), Redis::start()));
    for cut in [0, 1] {
        let link = Proxy::to(redis.address()).await;
        let through = redis.url().replace(redis.address(), link.address());
        let urls = if cut == 0 { [through.as_str(), redis.url()] } else { [redis.url(), through.as_str()] };
        let (server, _database) = nodes(&postgres, urls);
        let mut apart = Apart::start(&server).await;
        up(&server, 2.0).await;
        read(&mut apart.reader, "r", 4).await;
        apart.converges(4).await;
        link.hold();
        up(&server, 1.0).await;
        read(&mut apart.reader, "r", 8).await;
        let written = async || cursors(&mut apart.ana.clone(), "r").await[1].2 == 8;
        eventually("the cursor on disk", written).await;
        link.cut();
        link.release();
        apart.converges(8).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_a_user_blocks_while_redis_is_away_their_devices_learn_when_it_is_back() {
    let (postgres, mut redis) = tokio::task::block_in_place(|| (Postgres::start(), Redis::start()));
    let (server, _database) = nodes(&postgres, [redis.url(), redis.url()]);
    let mut ana = server.node(0).user("ana").await;
    let (mut stream, _) = Stream::caught_up(&server.node(1).user("ana").await, &[]).await;
    up(&server, 2.0).await;
    tokio::task::block_in_place(|| redis.kill());
    up(&server, 0.0).await;
    ana.moderation.block_user(BlockUserRequest { user_id: "ben".into() }).await.unwrap();
    tokio::task::block_in_place(|| redis.restart());
    let Kind::Block(told) = stream.next().await else { panic!("it is told of the block") };
    assert_eq!((told.user_id.as_str(), told.blocked), ("ben", true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_another_device_moved_further_meanwhile_goes_back_on_no_stream() {
    let (postgres, mut redis) = tokio::task::block_in_place(|| (Postgres::start(), Redis::start()));
    let (server, _database) = nodes(&postgres, [redis.url(), redis.url()]);
    let mut ana = server.node(0).user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben", "cy", "dan"]).await;
    ana.say_all("r", (0..20).map(|i| i.to_string())).await;
    let mut devices = [server.node(0).user("ben").await, server.node(1).user("ben").await];
    let mut watchers = Vec::new();
    for (node, device) in devices.iter().enumerate() {
        let (others, _) = Stream::caught_up(&server.node(node).user("ana").await, &[]).await;
        let open = OpenStream { memberships: true, ..OpenStream::default() };
        let (own, _) = Stream::opened(device, open).await;
        watchers.extend([others, own].map(|stream| Watcher { stream, read: BTreeMap::new() }));
    }
    up(&server, 2.0).await;
    tokio::task::block_in_place(|| redis.kill());
    up(&server, 0.0).await;
    for (node, seq) in [(0, 7), (1, 12)] {
        read(&mut devices[node], "r", seq).await;
        watchers[2 * node].sees("ben", seq).await;
        watchers[2 * node + 1].sees("itself", seq).await;
    }
    tokio::task::block_in_place(|| redis.restart());
    up(&server, 2.0).await;
    // Long enough for both nodes to tell again, and to hear each other.
    let mut readers = [("cy", server.node(0).user("cy").await), ("dan", server.node(1).user("dan").await)];
    for seq in 1..=20 {
        for (node, (user, clients)) in readers.iter_mut().enumerate() {
            read(clients, "r", seq).await;
            watchers[2 * node].sees(user, seq).await;
        }
    }
    for watcher in &mut watchers {
        watcher.sees("cy", 20).await;
        watcher.sees("dan", 20).await;
    }
    read(&mut devices[0], "r", 15).await;
    for watcher in &mut watchers {
        watcher.sees("ben", 15).await;
    }
    watchers[1].sees("itself", 15).await;
    watchers[3].sees("itself", 15).await;
}
