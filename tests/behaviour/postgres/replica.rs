//! History from a replica: only what is as new as the database, and from the database when the replica is away.

use std::time::{Duration, Instant};

use relay_proto::chat::v1::{EditMessageRequest, GetMessageRequest, RoomKind, room_event::Event};

use super::{refused, serve_with};
use crate::support::{Clients, Database, Postgres, Proxy, SIGNING_KEY, Server, Stream, eventually, within};

const REPLICA: &str = "relay_history_reads_total{from=\"replica\"}";
const PRIMARY: &str = "relay_history_reads_total{from=\"primary\"}";

/// A server that reads history from `replica` and nowhere else but the database.
fn on(database: &Database, replica: &str) -> Server {
    let urls = [("database.url", database.url()), ("database.replica_url", replica.to_owned())];
    let settings = urls.each_ref().map(|(name, url)| (*name, url.as_str()));
    Server::with(&[&settings[..], &[("chat.hot_events", "0")]].concat())
}

/// What is in the room, oldest first.
async fn texts(ana: &mut Clients) -> Vec<String> {
    ana.history("r").await.into_iter().map(|message| message.text).collect()
}

/// Reads until the replica serves it.
async fn until_read_there(server: &Server, ana: &Clients) {
    let before = server.metric(REPLICA).await;
    let read = async || {
        texts(&mut ana.clone()).await;
        server.metric(REPLICA).await > before
    };
    eventually("a read from the replica", read).await;
}

/// A server, its database, and a streaming replica of that.
struct Pair {
    server: Server,
    _database: Database,
    standby: Postgres,
    _primary: Postgres,
}

impl Pair {
    fn start() -> Self {
        let primary = Postgres::start();
        let database = Database::create(primary.url());
        let standby = primary.standby();
        let replica = database.url_on(standby.url());
        let server = on(&database, &replica);
        Self { server, _database: database, standby, _primary: primary }
    }

    /// Ana, in a room with a message.
    async fn ana(&self) -> Clients {
        let mut ana = self.server.user("ana").await;
        ana.create_room("r", RoomKind::Private, &["zoe"]).await;
        ana.say("r", "one").await;
        ana
    }

    async fn until_read_there(&self, ana: &Clients) {
        until_read_there(&self.server, ana).await;
    }

    fn pause(&self) {
        self.standby.run("SELECT pg_wal_replay_pause()");
    }

    fn resume(&self) {
        self.standby.run("SELECT pg_wal_replay_resume()");
    }
}

#[tokio::test]
async fn history_comes_from_a_replica_only_while_it_is_as_new() {
    let pair = Pair::start();
    let mut ana = pair.ana().await;
    let first = ana.history("r").await[0].position;
    pair.until_read_there(&ana).await;

    let get = || GetMessageRequest { room_id: "r".into(), seq: 1 };
    let before = pair.server.metric(REPLICA).await;
    assert_eq!(ana.chat.get_message(get()).await.unwrap().into_inner().message.unwrap().text, "one");
    assert_eq!(pair.server.metric(REPLICA).await, before + 1.0);

    pair.pause();
    eventually("the pause", async || pair.standby.run("SELECT pg_get_wal_replay_pause_state()") == "paused").await;
    ana.say("r", "two").await;
    let text = "changed".to_owned();
    let edit = EditMessageRequest { room_id: "r".into(), seq: 1, text, ..Default::default() };
    ana.chat.edit_message(edit).await.unwrap();
    let behind = pair.server.metric(REPLICA).await;
    let asked = pair.server.metric(PRIMARY).await;
    assert_eq!(texts(&mut ana).await, ["changed", "two"]);
    assert_eq!(ana.chat.get_message(get()).await.unwrap().into_inner().message.unwrap().text, "changed");
    assert_eq!(replayed(&pair, first).await, ["changed", "two"], "a replay shows messages as they are now");
    assert_eq!(pair.server.metric(REPLICA).await, behind);
    assert_eq!(pair.server.metric(PRIMARY).await, asked + 3.0);

    pair.resume();
    pair.until_read_there(&ana).await;
    assert_eq!(texts(&mut ana).await, ["changed", "two"]);
    let before = pair.server.metric(REPLICA).await;
    assert_eq!(replayed(&pair, first).await, ["changed", "two"]);
    assert!(pair.server.metric(REPLICA).await > before, "the log is read there as well");
}

/// The texts of the messages that a stream gets which holds what was before the first of them.
async fn replayed(pair: &Pair, first: u64) -> Vec<String> {
    let zoe = pair.server.user("zoe").await;
    let mut zoe = Stream::open(&zoe, &[("r", first - 1)]).await;
    let created = zoe.events(2).await.into_iter().map(|event| match event.event {
        Some(Event::MessageCreated(created)) => created.message.unwrap().text,
        other => panic!("no message: {other:?}"),
    });
    created.collect()
}

#[tokio::test]
async fn a_replica_that_goes_away_is_not_missed() {
    let mut pair = Pair::start();
    let mut ana = pair.ana().await;
    pair.until_read_there(&ana).await;

    pair.standby.control("stop -m immediate");
    for i in 0..20 {
        let text = format!("{i}");
        ana.say("r", &text).await;
        let texts = within("an answer", texts(&mut ana)).await;
        assert_eq!(texts.last(), Some(&text));
    }
    pair.standby.control("start");
    pair.until_read_there(&ana).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_says_nothing_costs_a_second_once() {
    let primary = Postgres::start();
    let database = Database::create(primary.url());
    let there = database.url();
    let (address, name) = there.split_once('@').unwrap().1.split_once('/').unwrap();
    let link = Proxy::to(address).await;
    let server = on(&database, &format!("postgres://relay:relay-test@{}/{name}", link.address()));
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.say("r", "one").await;
    until_read_there(&server, &ana).await;

    link.hold();
    let started = Instant::now();
    for _ in 0..50 {
        assert_eq!(within("an answer", texts(&mut ana)).await, ["one"]);
    }
    assert!(started.elapsed() < Duration::from_secs(10), "took {:?}", started.elapsed());
    link.release();
    until_read_there(&server, &ana).await;
}

#[tokio::test]
async fn a_replica_that_is_none_is_refused() {
    let primary = Postgres::start();
    let (database, other) = (Database::create(primary.url()), Database::create(primary.url()));
    let elsewhere = Postgres::start();
    let stranger = Database::create(elsewhere.url());
    let url = database.url();
    let serve = |replica: &str| {
        let urls = [("RELAY_DATABASE_URL", url.as_str()), ("RELAY_DATABASE_REPLICA_URL", replica)];
        serve_with(&[&urls[..], &[("RELAY_AUTH_SIGNING_KEY", SIGNING_KEY)]].concat())
    };
    let named = "database.replica_url";
    refused(&serve("postgres://ana:hunter2@127.0.0.1:1/chat"), &["cannot open the replica", "is it running", named]);
    refused(&serve("postgres://ana:hunter2@127.0.0.1:port/chat"), &[named, "cannot be read"]);
    refused(&serve(&url.replace("relay-test", "hunter2")), &["cannot open the replica", "password", named]);
    for other in [other.url(), stranger.url()] {
        refused(&serve(&other), &["the replica", "is no replica of database.url", named]);
    }
    let alone = serve_with(&[("RELAY_DATABASE_REPLICA_URL", &url)]);
    refused(&alone, &[named, "only Postgres has replicas"]);

    // Another way to the same database is as good.
    let server = on(&database, &url);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.say("r", "one").await;
    assert_eq!(ana.history("r").await.len(), 1);
    assert_eq!(server.metric(REPLICA).await, 1.0);
    drop(server);

    // Nor does it take the right to ask for the number of the cluster, if the tables are the same.
    database.run("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
    database.run("CREATE ROLE clerk LOGIN PASSWORD 'hunter2'");
    database.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO clerk");
    let clerk = url.replace("relay:relay-test@", "clerk:hunter2@");
    drop(on(&database, &clerk));
    refused(&serve(&stranger.url()), &["is no replica of database.url"]);
}
