//! The SDK against the real server when things go wrong.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use relay_proto::chat::v1::RoomKind;
use relay_sdk::{Client, DisconnectReason, ErrorKind, Event, Events, OutgoingMessage, RoomEventKind};

use crate::support::{Clients, Proxy, Server, Token, within};

async fn next(events: &mut Events) -> Event {
    within("an event", events.next()).await.unwrap().unwrap()
}

async fn until(events: &mut Events, mut last: impl FnMut(&Event) -> bool) -> Event {
    loop {
        let event = next(events).await;
        if last(&event) {
            return event;
        }
    }
}

/// The next message; everything else is passed over.
async fn text(events: &mut Events) -> String {
    loop {
        if let Event::Room(event) = next(events).await
            && let RoomEventKind::MessageCreated(message) = event.kind
        {
            return message.text;
        }
    }
}

async fn caught_up(events: &mut Events) {
    until(events, |event| matches!(event, Event::CaughtUp)).await;
}

/// The position of the next room event, before which only states may come: on the same stream all the time.
async fn room_event(events: &mut Events) -> u64 {
    let event = until(events, |event| !matches!(event, Event::Receipts(_) | Event::Memberships(_))).await;
    let Event::Room(event) = event else { panic!("{event:?}") };
    event.position
}

async fn disconnected(events: &mut Events) -> DisconnectReason {
    match until(events, |event| matches!(event, Event::Disconnected { .. })).await {
        Event::Disconnected { reason, .. } => reason,
        _ => unreachable!(),
    }
}

async fn general(server: &Server) -> Clients {
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["ben"]).await;
    ana
}

#[tokio::test]
async fn events_go_on_after_a_broken_connection() {
    let server = Server::start();
    let mut ana = general(&server).await;
    let proxy = Proxy::to(server.address()).await;
    let client = Client::builder(proxy.url()).token(Token::of("ben").sign()).build().unwrap();
    let mut events = client.events();
    caught_up(&mut events).await;
    for round in 0..3 {
        ana.say("general", &format!("before {round}")).await;
        assert_eq!(text(&mut events).await, format!("before {round}"));
        proxy.cut();
        ana.say("general", &format!("after {round}")).await;
        assert!(matches!(disconnected(&mut events).await, DisconnectReason::Failed(_)));
        assert_eq!(text(&mut events).await, format!("after {round}"));
    }
    assert_eq!(events.positions()["general"], 8);
}

#[tokio::test]
async fn a_dead_link_is_noticed_by_its_silence_and_left() {
    let server = Server::with(&[("stream.heartbeat_interval", "200ms")]);
    let mut ana = general(&server).await;
    let proxy = Proxy::to(server.address()).await;
    let client = Client::builder(proxy.url()).token(Token::of("ben").sign()).build().unwrap();
    let mut events = client.events();
    caught_up(&mut events).await;
    proxy.hold();
    ana.say("general", "into the void").await;
    assert!(matches!(disconnected(&mut events).await, DisconnectReason::Silent));
    proxy.release();
    assert_eq!(text(&mut events).await, "into the void");
}

#[tokio::test]
async fn a_listener_that_is_busy_does_not_take_its_link_for_dead() {
    let server = Server::with(&[("stream.heartbeat_interval", "100ms")]);
    let mut ana = general(&server).await;
    let client = Client::builder(server.url()).token(Token::of("ben").sign()).event_buffer(1).build().unwrap();
    let mut events = client.events();
    caught_up(&mut events).await;
    // Nobody polls while many heartbeats go by on another stream.
    ana.say_all("general", (0..1_000).map(|i| format!("{i:01000}"))).await;
    let mut other = crate::support::Stream::open(&ana, &[]).await;
    for _ in 0..10 {
        while !matches!(other.next_or_end().await, Ok(Some(relay_proto::chat::v1::frame::Kind::Heartbeat(_)))) {}
    }
    for i in 0..1_000 {
        assert_eq!(room_event(&mut events).await, i + 3);
    }
}

#[tokio::test]
async fn a_stream_outlives_its_tokens() {
    let server = Server::with(&[("stream.renew_warning", "1500ms"), ("auth.leeway", "0s")]);
    let mut ana = general(&server).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let provider = move || {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok(Token::of("ben").for_seconds(3).sign()) }
    };
    let client = Client::builder(server.url()).token_provider(provider).build().unwrap();
    let mut events = client.events();
    caught_up(&mut events).await;
    while asked.load(Ordering::Relaxed) < 4 {
        // On the same stream all the time: there is no Disconnected.
        ana.say("general", "tick").await;
        room_event(&mut events).await;
    }
    client.ping().await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_refused_for_good_ends_the_stream_with_its_reason() {
    let server = Server::start();
    let client = Client::builder(server.url()).token(Token::of("ben").for_seconds(-60).sign()).build().unwrap();
    let mut events = client.events();
    let error = loop {
        match within("the end", events.next()).await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(error.reason(), Some(relay_sdk::ErrorReason::TokenExpired));
    assert!(within("the end", events.next()).await.is_none());
}

#[tokio::test]
async fn an_app_that_stores_its_positions_goes_on_where_it_was() {
    let mut server = Server::start();
    let mut ana = general(&server).await;
    let mut stored: BTreeMap<String, u64> = BTreeMap::new();
    for run in 0..3 {
        let mut events = server.sdk("ben").events_from(stored.clone());
        if run == 0 {
            caught_up(&mut events).await;
            ana.say_all("general", ["a", "b", "c"].map(String::from)).await;
        }
        // It gets further than it stores.
        for expected in &["a", "b", "c"][run..] {
            assert_eq!(text(&mut events).await, *expected);
            if *expected == ["a", "b", "c"][run] {
                stored = events.positions().clone();
            }
        }
        server.kill();
        server.restart();
    }
    assert_eq!(stored["general"], 5);
}

#[tokio::test]
async fn sends_outlast_a_restart_and_are_written_once() {
    let mut server = Server::start();
    general(&server).await;
    let client = server.sdk("ben");
    client.ping().await.unwrap();
    server.kill();
    let sends: Vec<_> = (0..20)
        .map(|i| {
            let client = client.clone();
            tokio::spawn(async move { client.send(OutgoingMessage::text("general", i.to_string())).await })
        })
        .collect();
    server.restart();
    let mut seqs = Vec::new();
    for send in sends {
        seqs.push(within("a receipt", send).await.unwrap().unwrap().seq);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
    let mut ana = server.user("ana").await;
    assert_eq!(ana.history("general").await.len(), 20);
}

#[tokio::test]
async fn a_send_whose_answer_was_lost_is_not_written_twice() {
    let server = Server::start();
    let mut ana = general(&server).await;
    let (mut observer, _) = crate::support::Stream::caught_up(&ana, &[]).await;
    let proxy = Proxy::to(server.address()).await;
    let client = Client::builder(proxy.url()).token(Token::of("ben").sign()).build().unwrap();
    client.ping().await.unwrap();
    for i in 0..20 {
        let send = tokio::spawn({
            let client = client.clone();
            async move { client.send(OutgoingMessage::text("general", i.to_string())).await }
        });
        // The message is written; whether its answer gets through before the cut is up to chance.
        observer.event().await;
        proxy.cut();
        let receipt = within("a receipt", send).await.unwrap().unwrap();
        assert_eq!(receipt.seq, i + 1);
    }
    assert_eq!(ana.history("general").await.len(), 20);
}

#[tokio::test]
async fn a_send_that_gets_no_final_answer_says_that_its_outcome_is_unknown() {
    let mut server = Server::start();
    let client = Client::builder(server.url())
        .token(Token::of("ben").sign())
        .send_deadline(Duration::from_millis(300))
        .build()
        .unwrap();
    server.kill();
    let error = within("an answer", client.send(OutgoingMessage::text("general", "hi"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
}
