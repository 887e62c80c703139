//! What the index takes in by itself, while rooms get more than it keeps up with.

use relay_proto::chat::v1::RoomKind;

use super::{in_room, texts};
use crate::support::{Clients, Server, eventually};

/// 20 KB of long words.
fn long(n: usize) -> String {
    (0..500).map(|word| format!("{:0>39} ", (n * 31 + word) % 5_000)).collect()
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
    // Some fifty of these are indexed at once. So many wait then that the round after the next leaves some: from there on
    // the busy room is never done.
    eventually("messages to wait", async || waiting(&server).await > 120).await;
    let before = indexed(&server, "busy").await;
    eventually("two rounds", async || indexed(&server, "busy").await > before + 60).await;
    ana.say("other", "needle").await;
    let begun = std::time::Instant::now();
    eventually("the other room to be indexed", async || indexed(&server, "other").await == 1).await;
    println!("indexed after {:?}, while {} others waited", begun.elapsed(), waiting(&server).await);
    assert!(waiting(&server).await > 0, "it was not kept busy");
    assert_eq!(texts(&ana, in_room("needle", "other")).await, ["needle"]);
    sending.abort();
}
