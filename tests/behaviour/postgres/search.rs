//! What PostgreSQL reads for searches, and for what happens all the time beside them: what they are about, by its indexes,
//! where everything is large.

use relay_proto::chat::v1::{
    OpenStream, RoomKind, SearchMessagesRequest, SearchOrder, SetPresenceRequest, SetTypingRequest,
    UpdateReceiptsRequest,
};

use crate::support::{Clients, Database, Postgres, Server, Stream, eventually};

/// Rooms of Ana's, with so many messages each.
const ROOMS: u64 = 100;
const MESSAGES: u64 = 300;
/// Rooms of others.
const OTHERS: u64 = 20_000;

/// Fills the database: each message says `common`, one of a hundred words `w…`, and a word of its own.
fn fill(database: &Database) {
    let name = |kind: &str, name: &str| {
        format!(
            "chr(57344) || encode(substring(sha256('{kind}\\000default\\000'::bytea || {name}::bytea) FOR 8), 'hex')"
        )
    };
    database.run(&format!(
        "INSERT INTO rooms (project_id, room_id, kind, title, description, created_by, created_at, updated_at, \
             last_activity_at, last_seq, last_position, member_count) \
         SELECT 'default', 'other-' || n, 2, '', '', 'u-' || n, now(), now(), now(), 1, 1, 1 \
         FROM generate_series(1, {OTHERS}) AS n; \
         INSERT INTO members (project_id, room_id, user_id, role, joined_at) \
         SELECT 'default', room_id, created_by, 1, now() FROM rooms WHERE room_id LIKE 'other-%'; \
         INSERT INTO search_rooms (project_id, room_id, indexed_seq, newest_at) \
         SELECT 'default', room_id, 1, now() FROM rooms WHERE room_id LIKE 'other-%'; \
         INSERT INTO presence (project_id, user_id, state, version, changed_at) \
         SELECT 'default', created_by, 3, 1, now() FROM rooms WHERE room_id LIKE 'other-%'; \
         INSERT INTO rooms (project_id, room_id, kind, title, description, created_by, created_at, updated_at, \
             last_activity_at, last_seq, last_position, member_count) \
         SELECT 'default', 'r-' || n, 2, '', '', 'ana', now(), now(), now(), {MESSAGES}, {MESSAGES} + 2, 1 \
         FROM generate_series(1, {ROOMS}) AS n; \
         INSERT INTO members (project_id, room_id, user_id, role, joined_at) \
         SELECT 'default', room_id, 'ana', 1, now() FROM rooms WHERE room_id LIKE 'r-%'; \
         INSERT INTO search_rooms (project_id, room_id, indexed_seq, newest_at) \
         SELECT 'default', room_id, {MESSAGES}, now() FROM rooms WHERE room_id LIKE 'r-%'; \
         INSERT INTO messages (project_id, room_id, seq, position, sender_id, client_message_id, fingerprint, text, created_at) \
         SELECT 'default', 'r-' || r, n, n + 2, 'ana', gen_random_uuid(), '\\x00', \
             format('common w%s own%sx%s', n % 100, r, n), now() - make_interval(secs => {ROOMS} * ({MESSAGES} - n) + r) \
         FROM generate_series(1, {ROOMS}) AS r, generate_series(1, {MESSAGES}) AS n; \
         INSERT INTO search_messages (project_id, room_id, sent_at, seq, sender_id, terms) \
         SELECT m.project_id, m.room_id, m.created_at, m.seq, m.sender_id, \
             (names || setweight(to_tsvector('simple', m.text), 'D'))::tsvector \
         FROM messages m JOIN (SELECT room_id AS id, \
             format('''%s'' ''%s''', {}, {})::tsvector AS names FROM rooms WHERE room_id LIKE 'r-%') r ON r.id = m.room_id",
        name("room", "room_id"),
        name("sender", "'ana'"),
    ));
}

/// Tables that are large, and how often each was read as a whole; and rows that were read of messages and their index.
async fn reads(database: &Database) -> (String, u64) {
    // PostgreSQL counts what a connection has read when the connection ends, or much later.
    let own = "FROM pg_stat_activity WHERE application_name = 'relay'";
    let before = database
        .run(&format!("SELECT string_agg(pid::text, ',') FROM (SELECT pid, pg_terminate_backend(pid) {own}) t"));
    if !before.is_empty() {
        let ended = async || database.run(&format!("SELECT count(*) {own} AND pid IN ({before})")) == "0";
        eventually("the connections' ends", ended).await;
    }
    let scans = "SELECT string_agg(relname || ' ' || seq_scan, ', ' ORDER BY relname) FROM pg_stat_user_tables \
         WHERE relname IN ('messages', 'search_messages', 'rooms', 'members', 'search_rooms', 'presence')";
    let rows = "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables \
         WHERE relname IN ('messages', 'search_messages')";
    (database.run(scans), database.run(rows).parse().unwrap())
}

/// How many results the first page of a search has.
async fn found(ana: &Clients, query: &str, rooms: &[&str], order: SearchOrder) -> usize {
    let room_ids = rooms.iter().map(|room| (*room).to_owned()).collect();
    let (query, order) = (query.to_owned(), order.into());
    let request = SearchMessagesRequest { query, room_ids, order, page_size: 50, ..SearchMessagesRequest::default() };
    ana.chat.clone().search_messages(request).await.unwrap().into_inner().results.len()
}

/// Searches for words that are rare, that are common, and two of them: in one room, in some, in all; the newest first, and the
/// best.
async fn search(ana: &Clients) {
    let some = ["r-1", "r-50", "r-100"];
    for (query, rooms, expected) in [
        ("own7x44", &["r-7"][..], 1),
        ("own7x44", &some, 0),
        ("own7x44", &[], 1),
        ("w44", &["r-7"], 3),
        ("w44", &some, 9),
        ("w44", &[], 50),
        ("common", &["r-7"], 50),
        ("common", &some, 50),
        ("common", &[], 50),
        ("common w44", &["r-7"], 3),
        ("w44 own7x44", &[], 1),
        ("w44 w45", &[], 0),
    ] {
        for order in [SearchOrder::Newest, SearchOrder::Rank] {
            // Of all that match it ranks the newest, and here all match.
            if (query, rooms.len(), order) != ("common", 0, SearchOrder::Rank) {
                let results = found(ana, query, rooms, order).await;
                assert_eq!(results, expected, "{query} in {rooms:?} by {order:?}");
            }
        }
    }
}

/// What happens all the time: sends, receipts, typing, presence, streams that open.
async fn chat(ana: &mut Clients, ben: &mut Clients) {
    let (stream, _) = Stream::opened(ana, OpenStream { memberships: true, ..OpenStream::default() }).await;
    for n in 1..=10 {
        ana.say("r-1", &n.to_string()).await;
        let room_id = "r".to_owned();
        let seq = ben.say("r", &n.to_string()).await.seq;
        let update = UpdateReceiptsRequest { room_id: room_id.clone(), delivered_seq: seq, read_seq: seq };
        ana.chat.update_receipts(update).await.unwrap();
        ana.chat.set_typing(SetTypingRequest { room_id, typing: true }).await.unwrap();
        let status_text = Some(n.to_string());
        ben.presence.set_presence(SetPresenceRequest { status_text, ..Default::default() }).await.unwrap();
    }
    drop(stream);
}

#[tokio::test]
async fn searches_and_what_happens_all_the_time_read_by_index() {
    let postgres = Postgres::start();
    let database = Database::create(postgres.url());
    let server = Server::alone(&[("database.url", &database.url())]);
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    fill(&database);
    // While PostgreSQL knows nothing of what was written, and when it has looked at it.
    for known in [false, true] {
        if known {
            database.run("ANALYZE");
        }
        let before = reads(&database).await;
        search(&ana).await;
        let searched = reads(&database).await;
        assert_eq!(searched.0, before.0, "no table was read as a whole");
        let rows = searched.1 - before.1;
        assert!(!known || rows < ROOMS * MESSAGES / 2, "{rows} rows by all searches");

        let written = "SELECT sum(last_seq) FROM rooms WHERE project_id = 'default' AND room_id IN ('r', 'r-1')";
        let written_before: u64 = database.run(written).parse().unwrap();
        chat(&mut ana, &mut ben).await;
        let indexed = written.replace("last_seq", "indexed_seq").replace("rooms", "search_rooms");
        let all = async || database.run(&indexed).parse::<u64>().unwrap_or_default() == written_before + 20;
        eventually("all to be indexed", all).await;
        let chatted = reads(&database).await;
        assert_eq!(chatted.0, searched.0, "no table was read as a whole");
        let rows = chatted.1 - searched.1;
        assert!(rows < 1_000, "{rows} rows for what was sent");
    }
}
