//! A search shows what was answered before it, on whichever node.

use std::time::Duration;

use relay_proto::chat::v1::{
    DeleteMessageRequest, DeleteRoomRequest, EditMessageRequest, RoomKind, SearchMessagesRequest,
};
use tokio::task::JoinSet;

use super::{query, room, texts};
use crate::support::{Clients, Server};

/// Clients of Ana at each node.
async fn everywhere(server: &Server) -> Vec<Clients> {
    let mut all = Vec::new();
    for n in 0..server.count() {
        all.push(server.node(n).user("ana").await);
    }
    all
}

async fn edit(clients: &Clients, room: &str, seq: u64, text: &str) {
    let request = EditMessageRequest { room_id: room.into(), seq, text: text.into(), ..Default::default() };
    clients.chat.clone().edit_message(request).await.unwrap();
}

async fn delete(clients: &Clients, room: &str, seq: u64) {
    let request = DeleteMessageRequest { room_id: room.into(), seq, ..Default::default() };
    clients.chat.clone().delete_message(request).await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_is_found_at_once_on_every_node() {
    // Nothing is indexed but by searching.
    let server = Server::with(&[("chat.index_delay", "1m")]);
    let mut nodes = everywhere(&server).await;
    room(&mut nodes[0], "r", &[]).await;
    for n in 0..30 {
        let sender = n % nodes.len();
        nodes[sender].say("r", &format!("word{n} here")).await;
        for clients in &nodes {
            assert_eq!(texts(clients, query(&format!("word{n}"))).await, [format!("word{n} here")]);
        }
    }
}

#[tokio::test]
async fn edits_and_deletions_show_at_once_on_every_node() {
    for delay in ["0s", "1m"] {
        let server = Server::with(&[("chat.index_delay", delay)]);
        let mut nodes = everywhere(&server).await;
        room(&mut nodes[0], "r", &[]).await;
        for n in 0..12 {
            let (by, seq) = (n % nodes.len(), 1 + n as u64);
            nodes[by].say("r", &format!("old{n}")).await;
            let indexed_before = n % 2 == 0;
            if indexed_before {
                assert_eq!(texts(&nodes[by], query(&format!("old{n}"))).await.len(), 1);
            }
            edit(&nodes[(by + 1) % nodes.len()], "r", seq, &format!("new{n}")).await;
            for clients in &nodes {
                assert!(texts(clients, query(&format!("old{n}"))).await.is_empty());
                assert_eq!(texts(clients, query(&format!("new{n}"))).await, [format!("new{n}")]);
            }
            delete(&nodes[by], "r", seq).await;
            for clients in &nodes {
                assert!(texts(clients, query(&format!("new{n}"))).await.is_empty());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_race_the_indexer_and_always_win() {
    let server = Server::with(&[("chat.index_delay", "0s")]);
    let mut nodes = everywhere(&server).await;
    room(&mut nodes[0], "r", &[]).await;
    let mut tasks = JoinSet::new();
    for (n, clients) in nodes.iter().cloned().cycle().take(6).enumerate() {
        tasks.spawn(async move {
            let mut clients = clients;
            for i in 0..40 {
                let seq = clients.say("r", &format!("before t{n}x{i}")).await.seq;
                match i % 3 {
                    0 => edit(&clients, "r", seq, &format!("after t{n}x{i}")).await,
                    1 => delete(&clients, "r", seq).await,
                    _ => {
                        assert_eq!(texts(&clients, query(&format!("t{n}x{i}"))).await.len(), 1);
                        edit(&clients, "r", seq, &format!("after t{n}x{i}")).await;
                    }
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    for clients in &nodes {
        assert!(texts(clients, query("before")).await.is_empty());
        assert_eq!(texts(clients, SearchMessagesRequest { page_size: 100, ..query("after") }).await.len(), 6 * 27);
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_found_after_the_start() {
    let mut server = Server::with(&[("chat.index_delay", "1m")]);
    let mut ana = server.user("ana").await;
    room(&mut ana, "r", &["indexed before"]).await;
    assert_eq!(texts(&ana, query("before")).await.len(), 1);
    for n in 0..700 {
        if n % 100 == 0 {
            ana.say_all("r", (n..n + 100).map(|n| format!("word{n} all"))).await;
        }
    }
    edit(&ana, "r", 1, "edited").await;
    server.kill();
    server.restart();
    for clients in everywhere(&server).await {
        assert!(texts(&clients, query("before")).await.is_empty());
        assert_eq!(texts(&clients, query("word699")).await, ["word699 all"]);
        assert_eq!(texts(&clients, SearchMessagesRequest { page_size: 100, ..query("all") }).await.len(), 700);
    }
}

#[tokio::test]
async fn the_index_keeps_up_by_itself() {
    let server = Server::with(&[("chat.index_delay", "10ms"), ("chat.retention_interval", "50ms")]);
    let mut ana = server.user("ana").await;
    room(&mut ana, "r", &[]).await;
    ana.say_all("r", (0..2_000).map(|n| format!("word{n}"))).await;
    crate::support::eventually("the index to have it", async || {
        server.metric("relay_search_indexed_total").await >= 2_000.0
    })
    .await;
    // A room that is gone leaves the index as well, and the next of its kind begins anew.
    ana.rooms.delete_room(DeleteRoomRequest { room_id: "r".into() }).await.unwrap();
    assert!(texts(&ana, query("word*")).await.is_empty());
    room(&mut ana, "s", &["word again"]).await;
    assert_eq!(texts(&ana, query("word*")).await, ["word again"]);
}

#[tokio::test]
async fn a_search_that_would_index_too_much_says_so_and_is_answered_later() {
    let server = Server::with(&[("chat.index_delay", "1s")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    for _ in 0..3 {
        ana.say_all("r", (0..7_000).map(|n| format!("word{n}"))).await;
    }
    let answered = async {
        let mut again = tokio::time::interval(Duration::from_millis(50));
        loop {
            again.tick().await;
            match super::page(&ana, query("word6999")).await {
                Ok(page) => return page.results.len(),
                Err(status) => assert_eq!(crate::support::error_of(&status).1, "OVERLOADED"),
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), answered).await.unwrap(), 3);
}
