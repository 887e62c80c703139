//! What a client says while it is connected, against a server on a real socket.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "shared with other tests")]
mod fake;

use fake::{Log, ROOM, Server};
use relay_sdk::{Client, Event, Events, OutgoingMessage};

fn client(server: &Server) -> Client {
    Client::builder(server.url()).token("t").build().unwrap()
}

async fn caught_up(events: &mut Events) {
    while !matches!(events.next().await.unwrap().unwrap(), Event::CaughtUp) {}
}

/// Reads until a room event has come.
async fn room_event(events: &mut Events) {
    while !matches!(events.next().await.unwrap().unwrap(), Event::Room(_)) {}
}

#[tokio::test]
async fn of_many_marks_the_first_and_the_newest_go_up_the_open_stream() {
    let log = Log::new();
    let server = Server::start(&log);
    let client = client(&server);
    let mut events = client.events();
    caught_up(&mut events).await;
    client.mark_read(ROOM, 1);
    log.asked_for("receipts 1 1 by stream").await;
    (2..=50).for_each(|seq| client.mark_read(ROOM, seq));
    client.flush_receipts().await;
    assert_eq!(log.asked(), ["receipts 1 1 by stream", "receipts 50 50 by stream"]);
    client.mark_read(ROOM, 7);
    client.flush_receipts().await;
    assert_eq!(log.asked().len(), 2, "a cursor never goes back");
}

#[tokio::test]
async fn without_a_stream_receipts_are_told_by_a_call_and_outlast_a_restart_and_the_client() {
    let log = Log::new();
    let server = Server::start(&log);
    let client = client(&server);
    client.mark_read(ROOM, 1);
    log.asked_for("receipts 1 1 by call").await;
    client.mark_read(ROOM, 2);
    let server = server.kill_and_restart(&log).await;
    drop(client);
    log.asked_for("receipts 2 2 by call").await;
    drop(server);
}

#[tokio::test]
async fn messages_of_others_are_reported_as_delivered_unless_that_is_off() {
    let log = Log::new();
    let server = Server::start(&log);
    let loud = client(&server);
    let quiet = Client::builder(server.url()).token("t").report_delivered(false).build().unwrap();
    let mut streams = [loud.events(), quiet.events()];
    for events in &mut streams {
        caught_up(events).await;
    }
    for text in ["ana's own", "ben: hi"] {
        loud.send(OutgoingMessage::text(ROOM, text)).await.unwrap();
        for events in &mut streams {
            room_event(events).await;
        }
    }
    log.asked_for("receipts 2 0 by stream").await;
    quiet.flush_receipts().await;
    assert_eq!(log.asked(), ["receipts 2 0 by stream"]);
}

#[tokio::test]
async fn typing_goes_up_once_in_a_while_and_again_after_a_message() {
    let log = Log::new();
    let server = Server::start(&log);
    let client = client(&server);
    caught_up(&mut client.events()).await;
    let mut events = client.events();
    caught_up(&mut events).await;
    for _ in 0..5 {
        client.typing(ROOM).await.unwrap();
    }
    client.send(OutgoingMessage::text(ROOM, "hi")).await.unwrap();
    client.typing(ROOM).await.unwrap();
    client.stop_typing(ROOM).await.unwrap();
    assert_eq!(log.asked(), ["typing true", "typing true", "typing false"]);
}

#[tokio::test]
async fn a_typing_guard_stops_the_typing_when_it_is_dropped_unless_a_message_has() {
    let log = Log::new();
    let server = Server::start(&log);
    let client = client(&server);
    let mut events = client.events();
    caught_up(&mut events).await;
    drop(client.typing_guard(ROOM));
    let sent = client.typing_guard(ROOM);
    sent.key().await.unwrap();
    client.send(OutgoingMessage::text(ROOM, "hi")).await.unwrap();
    drop(sent);
    let left = client.typing_guard(ROOM);
    left.key().await.unwrap();
    left.key().await.unwrap();
    drop(left);
    // What comes next comes after it.
    client.typing(ROOM).await.unwrap();
    assert_eq!(log.asked(), ["typing true", "typing true", "typing false", "typing true"]);
}

#[tokio::test]
async fn what_is_watched_and_being_away_are_said_again_on_the_next_stream() {
    let log = Log::new();
    let server = Server::start(&log);
    let client = client(&server);
    let mut events = client.events();
    caught_up(&mut events).await;
    client.watch_presence([ROOM]).await;
    client.set_away(true).await;
    client.set_status_text("at lunch").await.unwrap();
    log.asked_for("watching general").await;
    log.asked_for("Away None").await;
    log.asked_for("Unspecified Some(\"at lunch\")").await;
    let _server = server.kill_and_restart(&log).await;
    caught_up(&mut events).await;
    log.asked_for("opened watching general").await;
    caught_up_away(&log).await;
}

/// Waits until the server has heard of it on both streams.
async fn caught_up_away(log: &Log) {
    let twice = async {
        while log.asked().iter().filter(|asked| *asked == "Away None").count() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), twice).await.unwrap();
}
