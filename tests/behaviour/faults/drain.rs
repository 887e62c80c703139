//! SIGTERM: streams move, what was accepted is kept, and the process ends in time.

use std::{collections::HashMap, time::Duration};

use relay_proto::chat::v1::{
    RoomKind, SendReceipt, connect_request::Frame as Up, frame::Kind, reply::Result as Outcome,
};
use relay_sdk::{Event, RoomEventKind};
use tokio::{task::JoinHandle, time::Instant};
use tonic::Code;

use crate::support::{
    Clients, Proxy, RawStream, Server, Stream, Token, error_of, eventually, message, raw_stream, within,
};

/// Sends one message after another until the server is gone; answers with the receipts.
fn keep_sending(server: &Server, user: &str) -> JoinHandle<Vec<(String, SendReceipt)>> {
    let mut clients = Clients::lazy(&server.url(), Token::of(user).sign());
    tokio::spawn(async move {
        let mut sent = Vec::new();
        for i in 0.. {
            let text = i.to_string();
            match clients.chat.send_message(message("general", &text)).await {
                Ok(answer) => sent.push((text, answer.into_inner().receipt.unwrap())),
                Err(_) => break,
            }
        }
        sent
    })
}

/// Reads a stream to its end as an app that stays to the last would; answers how long it was told to wait.
async fn drained(mut stream: Stream) -> Duration {
    let mut told = None;
    loop {
        match stream.next_or_end().await {
            Ok(Some(Kind::Drain(drain))) => told = drain.reconnect_after,
            Ok(Some(_)) => {}
            Ok(None) => panic!("the end has a reason"),
            Err(status) => {
                let (code, reason, _) = error_of(&status);
                assert_eq!((code, reason.as_str()), (Code::Unavailable, "DRAINING"));
                return told.expect("drain comes before the end").try_into().unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_with_200_open_streams_loses_nothing_and_ends_in_time() {
    const USERS: usize = 20;
    const STREAMS: usize = 10;
    let mut server = Server::alone(&[]);
    let mut ana = server.user("ana").await;
    let users: Vec<String> = (0..USERS).map(|n| format!("user-{n}")).collect();
    let members: Vec<&str> = users.iter().map(String::as_str).chain(["mover"]).collect();
    ana.create_room("general", RoomKind::Private, &members).await;
    let joined = members.len() as u64 + 1;

    let mut streams = Vec::new();
    for user in &users {
        let clients = server.user(user).await;
        for _ in 0..STREAMS {
            let (stream, _) = Stream::caught_up(&clients, &[]).await;
            streams.push(tokio::spawn(drained(stream)));
        }
    }
    let movers: Vec<_> = (0..4).map(|_| tokio::spawn(follow(server.sdk("mover"), joined))).collect();
    let of_movers = (USERS * STREAMS + movers.len()) as f64;
    eventually("all streams to be open", async || server.metric("relay_sessions").await == of_movers).await;
    assert_eq!(server.get("/ready").await.0, 200);
    let senders: Vec<_> = users.iter().take(5).map(|user| keep_sending(&server, user)).collect();
    let mut watcher = server.user("ana").await;
    while watcher.history("general").await.len() < 50 {}

    let begun = Instant::now();
    server.terminate();
    eventually("/ready to be red", async || server.get("/ready").await.0 == 503).await;
    let refused = Stream::try_open(&watcher, &[]).await;
    assert_eq!(error_of(&refused.err().unwrap()).1, "DRAINING");
    let mut waits = Vec::new();
    for stream in streams {
        waits.push(stream.await.unwrap());
    }
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(2)));
    assert!(waits.iter().any(|wait| *wait != waits[0]), "not all at once");
    let mut acknowledged = Vec::new();
    for sender in senders {
        acknowledged.extend(sender.await.unwrap());
    }
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());

    server.restart();
    let mut ana = server.user("ana").await;
    let history = ana.history("general").await;
    for (text, receipt) in &acknowledged {
        let written = &history[receipt.seq as usize - 1];
        assert_eq!((&written.text, &written.client_message_id), (text, &receipt.client_message_id));
    }
    ana.say("general", "the end").await;
    let ids: Vec<_> = ana.history("general").await.into_iter().map(|message| message.client_message_id).collect();
    for mover in movers {
        assert_eq!(within("a mover", mover).await.unwrap(), ids, "each once and in order");
    }
}

/// Follows the room from `position` to the message "the end"; answers with the ids of all messages.
async fn follow(client: relay_sdk::Client, position: u64) -> Vec<String> {
    let mut ids = Vec::new();
    let mut events = client.events_from([("general".to_owned(), position)].into());
    loop {
        let Event::Room(event) = events.next().await.unwrap().unwrap() else { continue };
        assert_eq!(event.position, position + ids.len() as u64 + 1);
        let RoomEventKind::MessageCreated(message) = event.kind else { panic!("only messages") };
        ids.push(message.client_message_id);
        if message.text == "the end" {
            return ids;
        }
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_and_a_link_that_is_dead_do_not_hold_the_end_up() {
    let mut server = Server::alone(&[("server.drain_timeout", "3s"), ("server.reconnect_spread", "500ms")]);
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &[]).await;
    let proxy = Proxy::to(server.address()).await;
    let _stalled = RawStream::connect(server.address(), "ana", &[("general", 1)], raw_stream::NARROW).await;
    let mut dead = RawStream::connect(proxy.address(), "ana", &[("general", 1)], raw_stream::WIDE).await;
    assert!(matches!(dead.next().await, Some(Kind::Hello(_))));
    proxy.hold();
    ana.say_all("general", (0..300).map(|i| format!("{i:030000}"))).await;
    let begun = Instant::now();
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(4), "it took {:?}", begun.elapsed());
    server.restart();
    assert_eq!(server.user("ana").await.history("general").await.len(), 300);
}

#[tokio::test]
async fn sends_on_a_draining_stream_are_still_answered() {
    let server = Server::alone(&[]);
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &[]).await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    server.terminate();
    stream.until(|kind| matches!(kind, Kind::Drain(_))).await;
    stream.send("late", Up::Send(message("general", "just in time"))).await;
    assert!(matches!(stream.reply("late").await, Outcome::Sent(sent) if sent.seq == 1));
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let mut server = Server::alone(&[("server.drain_timeout", "60s"), ("server.reconnect_spread", "60s")]);
    let ana = server.user("ana").await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    server.terminate();
    stream.until(|kind| matches!(kind, Kind::Drain(_))).await;
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(1));
}

#[tokio::test]
async fn without_streams_a_server_ends_at_once_and_its_data_is_whole() {
    let mut server = Server::alone(&[]);
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &[]).await;
    let receipts: HashMap<_, _> = [("general", ana.say("general", "hi").await)].into();
    drop(ana);
    let begun = Instant::now();
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
    server.restart();
    let history = server.user("ana").await.history("general").await;
    assert_eq!(history[0].client_message_id, receipts["general"].client_message_id);
}
