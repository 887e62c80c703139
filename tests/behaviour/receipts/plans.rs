//! What PostgreSQL reads for receipts: the members that they are of.

use relay_proto::chat::v1::{GetMessageRequest, ListReceiptsRequest, OpenStream, RoomKind};

use super::{SOON, read, state, told};
use crate::support::{Database, Postgres, Server, Stream, eventually};

/// Members of other rooms.
const OTHERS: u64 = 100_000;

/// What was read of members so far: whole scans of the table, and rows.
fn reads(database: &Database) -> (u64, u64) {
    let statement = "SELECT seq_scan, seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'members'";
    let counts = database.run(statement);
    let (scans, rows) = counts.split_once('|').unwrap();
    (scans.parse().unwrap(), rows.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_cost_the_rows_of_their_members_however_many_there_are() {
    let postgres = tokio::task::block_in_place(Postgres::start);
    let database = Database::create(postgres.url());
    let server = Server::nodes(1, &[("database.url", &database.url()), ("redis.url", ""), SOON]);
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    database.run(&format!(
        "INSERT INTO rooms (project_id, room_id, kind, title, description, created_by, created_at, updated_at, \
             last_activity_at, last_seq, last_position, member_count) \
         SELECT 'default', 'other-' || n, 2, '', '', 'ana', now(), now(), now(), 1, 1, 500 \
         FROM generate_series(1, {OTHERS} / 500) AS n; \
         INSERT INTO members (project_id, room_id, user_id, role, joined_at) \
         SELECT 'default', 'other-' || (n % ({OTHERS} / 500) + 1), 'u-' || n, 3, now() \
         FROM generate_series(1, {OTHERS}) AS n"
    ));
    database.run("ANALYZE");
    ana.say_all("r", (0..20).map(|i| i.to_string())).await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    let before = reads(&database);
    for seq in 1..=20 {
        read(&mut ben, "r", seq).await;
        told(&mut stream, "ben", seq, seq).await;
        state(&mut ben, "r").await;
    }
    let request = ListReceiptsRequest { room_id: "r".into(), ..ListReceiptsRequest::default() };
    assert_eq!(ana.chat.list_receipts(request).await.unwrap().into_inner().receipts.len(), 2);
    ana.chat.get_message(GetMessageRequest { room_id: "r".into(), seq: 1 }).await.unwrap();
    Stream::opened(&ben, OpenStream { memberships: true, ..OpenStream::default() }).await;

    // PostgreSQL counts when a connection has been idle for a while.
    let counted = async || reads(&database).1 >= before.1 + 60;
    eventually("the counts of what was read", counted).await;
    let after = reads(&database);
    assert_eq!(after.0, before.0, "the table was not read as a whole");
    assert!(after.1 - before.1 < 1_000, "{before:?} {after:?}");
}
