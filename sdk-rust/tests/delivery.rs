//! The client against a server on a real socket, which loses answers and is killed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "shared with other tests")]
mod fake;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use fake::{Log, ROOM, Server};
use relay_sdk::{Client, ErrorKind, ErrorReason, Event, Events, OutgoingMessage, Positions, RoomEventKind};
use tokio::task::JoinSet;

fn client(server: &Server) -> Client {
    Client::builder(server.url()).token("t").build().unwrap()
}

/// Reads until so many messages have come; gives their numbers.
async fn seqs(events: &mut Events, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        if let Event::Room(event) = events.next().await.unwrap().unwrap()
            && let RoomEventKind::MessageCreated(message) = event.kind
        {
            seqs.push(message.seq);
        }
    }
    seqs
}

async fn caught_up(events: &mut Events) {
    while !matches!(events.next().await.unwrap().unwrap(), Event::CaughtUp) {}
}

#[tokio::test]
async fn messages_sent_while_the_server_is_killed_arrive_once_and_in_order() {
    let log = Log::new();
    let mut server = Server::start(&log);
    let client = client(&server);
    let mut events = client.events();
    caught_up(&mut events).await;

    let mut sends = JoinSet::new();
    let mut received = Vec::new();
    for round in 0..3 {
        for number in 0..50 {
            let client = client.clone();
            let message = OutgoingMessage::text(ROOM, format!("{round}-{number}"));
            sends.spawn(async move { client.send(message).await });
        }
        // Some are answered, some are on their way, and some answers are lost.
        sends.join_next().await.unwrap().unwrap().unwrap();
        server = server.kill_and_restart(&log).await;
        received.extend(seqs(&mut events, 10).await);
    }
    for receipt in sends.join_all().await {
        receipt.unwrap();
    }
    let left = 150 - received.len();
    received.extend(seqs(&mut events, left).await);
    assert_eq!(received, (1..=150).collect::<Vec<_>>());
    assert_eq!(log.texts().len(), 150);
    assert_eq!(events.positions(), &Positions::from([(ROOM.to_owned(), 150)]));
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_message() {
    let log = Log::new();
    let server = Server::start(&log);
    log.lose_answers(2);
    let receipt = client(&server).send(OutgoingMessage::text(ROOM, "once")).await.unwrap();
    assert_eq!((receipt.seq, receipt.duplicate), (1, true));
    assert_eq!(log.texts(), ["once"]);
}

#[tokio::test]
async fn a_new_stream_begins_after_the_positions_given() {
    let log = Log::new();
    let server = Server::start(&log);
    let client = client(&server);
    for text in ["a", "b", "c"] {
        client.send(OutgoingMessage::text(ROOM, text)).await.unwrap();
    }
    let mut events = client.events_from(Positions::from([(ROOM.to_owned(), 1)]));
    assert_eq!(seqs(&mut events, 2).await, [2, 3]);
    let mut from_now_on = client.events();
    caught_up(&mut from_now_on).await;
    assert_eq!(from_now_on.positions()[ROOM], 3);
}

#[tokio::test]
async fn dropping_the_events_ends_the_stream() {
    let log = Log::new();
    let server = Server::start(&log);
    let mut events = client(&server).events();
    caught_up(&mut events).await;
    log.streams(1).await;
    drop(events);
    log.streams(0).await;
}

#[tokio::test]
async fn an_expired_token_is_fetched_anew_for_calls_and_streams() {
    let log = Log::new();
    let server = Server::start(&log);
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let provider = move || {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok(format!("t{number}")) }
    };
    let client = Client::builder(server.url()).token_provider(provider).build().unwrap();
    log.refuse_token("t1");
    client.send(OutgoingMessage::text(ROOM, "a")).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    log.refuse_token("t2");
    caught_up(&mut client.events()).await;
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_refused_token_ends_the_stream_with_the_error() {
    let log = Log::new();
    let server = Server::start(&log);
    log.refuse_token("t");
    let mut events = client(&server).events();
    assert!(matches!(events.next().await, Some(Ok(Event::Disconnected { .. }))));
    let error = events.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Unauthenticated, Some(ErrorReason::TokenExpired)));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_wrong_field_is_named() {
    let log = Log::new();
    let server = Server::start(&log);
    let error = client(&server).send(OutgoingMessage::text(ROOM, "")).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::InvalidArgument, Some(ErrorReason::FieldInvalid)));
    assert_eq!(error.field_violations()[0].field, "text");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_a_send_of_unknown_outcome() {
    let log = Log::new();
    let url = Server::start(&log).url();
    let moment = std::time::Duration::from_millis(100);
    let client = Client::builder(url).token("t").call_deadline(moment).send_deadline(moment).build().unwrap();
    let error = client.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("refused"), "{error}");
    let error = client.send(OutgoingMessage::text(ROOM, "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
}

#[tokio::test]
async fn limits_of_any_length_are_taken() {
    let log = Log::new();
    let server = Server::start(&log);
    let ever = std::time::Duration::MAX;
    let builder = Client::builder(server.url()).token("t").connect_timeout(ever).request_timeout(ever);
    let client = builder.call_deadline(ever).send_deadline(ever).keepalive(ever, ever).build().unwrap();
    client.send(OutgoingMessage::text(ROOM, "a")).await.unwrap();
    caught_up(&mut client.events()).await;
}
