//! What the index takes in by itself, while rooms get more than it keeps up with.

use relay_proto::chat::v1::RoomKind;

use super::{in_room, texts};
use crate::support::{Clients, Server, eventually};

/// A long text of many words, one of them for this message alone.
fn long(n: usize) -> String {
    (0..4_000).map(|word| format!("w{} ", (n * 31 + word) % 5_000)).collect()
}

/// A count about a room in the database.
async fn count(server: &Server, column: &str, table: &str, room: &str) -> u64 {
    let count = server.look(&format!("SELECT {column} FROM {table} WHERE room_id = '{room}'")).await;
    count.parse().unwrap_or_default()
}

async fn indexed(server: &Server, room: &str) -> u64 {
    count(server, "indexed_seq", "search_rooms", room).await
}

/// How many messages of the busy room wait to be indexed.
async fn waiting(server: &Server) -> u64 {
    let indexed = indexed(server, "busy").await;
    count(server, "last_seq", "rooms", "busy").await - indexed
}

/// Sends without pause.
async fn send_on(mut clients: Clients) {
    for n in 0.. {
        clients.say_all("busy", (0..20).map(|i| long(n * 20 + i))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_gets_messages_without_pause_does_not_keep_another_from_being_indexed() {
    let server = Server::alone(&[]);
    let mut ana = server.user("ana").await;
    ana.create_room("busy", RoomKind::Private, &[]).await;
    ana.create_room("other", RoomKind::Private, &[]).await;
    ana.say("busy", &long(0)).await;
    eventually("the first message to be indexed", async || indexed(&server, "busy").await == 1).await;
    let sending = tokio::spawn(send_on(ana.clone()));
    // Some forty of these are indexed at once: after a few rounds with more than that left, the busy room is never done.
    let behind = async || indexed(&server, "busy").await > 150 && waiting(&server).await > 150;
    eventually("messages to wait", behind).await;
    ana.say("other", "needle").await;
    let begun = std::time::Instant::now();
    eventually("the other room to be indexed", async || indexed(&server, "other").await == 1).await;
    println!("indexed after {:?}, while {} others waited", begun.elapsed(), waiting(&server).await);
    assert!(waiting(&server).await > 0, "it was not kept busy");
    assert_eq!(texts(&ana, in_room("needle", "other")).await, ["needle"]);
    sending.abort();
}
