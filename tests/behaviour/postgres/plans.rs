//! What PostgreSQL reads for a page of a long history: a page. For SQLite see `src/chat/store/mod.rs`.

use relay_proto::chat::v1::{ListDirection, ListMessagesRequest, RoomKind};

use crate::support::{Database, Postgres, Server, Stream, eventually};

const MESSAGES: u64 = 100_000;

/// What was read of a table so far: whole scans of it, and rows.
fn read(database: &Database, table: &str) -> (u64, u64) {
    let statement = "SELECT seq_scan, seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname";
    let counts = database.run(&format!("{statement} = '{table}'"));
    let (scans, rows) = counts.split_once('|').unwrap();
    (scans.parse().unwrap(), rows.parse().unwrap())
}

#[tokio::test]
async fn a_page_of_a_long_history_costs_a_page() {
    let postgres = Postgres::start();
    let database = Database::create(postgres.url());
    let server = Server::with(&[("database.url", &database.url()), ("chat.hot_events", "0")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let first = ana.say("r", "1").await.position;
    let last = first + MESSAGES - 1;
    database.run(&format!(
        "INSERT INTO messages (project_id, room_id, seq, position, sender_id, client_message_id, fingerprint, text, created_at) \
         SELECT 'default', 'r', n, n + {first} - 1, 'ana', gen_random_uuid(), '\\x00', n::text, now() \
         FROM generate_series(2, {MESSAGES}) AS n"
    ));
    database.run(&format!("UPDATE rooms SET last_seq = {MESSAGES}, last_position = {last}"));
    database.run("ANALYZE");

    let before = read(&database, "messages");
    let mut pages = 0;
    for (direction, start_seq) in [
        (ListDirection::Older, 0),
        (ListDirection::Older, MESSAGES / 2),
        (ListDirection::Newer, 0),
        (ListDirection::Newer, MESSAGES / 2),
    ] {
        let request = ListMessagesRequest {
            room_id: "r".into(),
            direction: direction.into(),
            page_size: 50,
            start_seq,
            ..Default::default()
        };
        let page = ana.chat.list_messages(request).await.unwrap().into_inner();
        assert_eq!(page.messages.len(), 50);
        pages += 1;
    }
    let mut stream = Stream::open(&server.user("ana").await, &[("r", last - 50)]).await;
    assert_eq!(stream.events(50).await.len(), 50);
    pages += 1;

    // PostgreSQL counts when a connection has been idle for a while.
    let counted = async || read(&database, "messages").1 >= before.1 + pages * 50;
    eventually("the counts of what was read", counted).await;
    let after = read(&database, "messages");
    assert_eq!(after.0, before.0, "no table was read as a whole");
    assert!(after.1 - before.1 < pages * 150, "{before:?} {after:?}");
    assert_eq!(read(&database, "reactions").1, 0);
}
