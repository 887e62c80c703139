//! Single frames: bytes, answers, errors, heartbeats, and what opens a stream.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use relay_proto::{
    chat::v1::{ConnectRequest, RoomKind, connect_request::Frame as Up, frame::Kind, reply::Result as Outcome},
    error::v1::{Error, ErrorReason},
};
use tokio::time::Instant;
use tonic::Code;

use crate::support::{RawStream, Server, Stream, error_of, message, raw_stream, within};

fn error(outcome: Outcome) -> Error {
    let Outcome::Error(error) = outcome else { panic!("no error: {outcome:?}") };
    error
}

/// The frames up to the last of `events` events, byte for byte, without those that are each stream's own.
async fn shared_bytes(stream: &mut RawStream, mut events: usize) -> Vec<Bytes> {
    let mut all = Vec::new();
    while events > 0 {
        let bytes = stream.next_bytes().await.unwrap();
        match raw_stream::kind(&bytes) {
            Kind::Hello(_) | Kind::Heartbeat(_) | Kind::Receipts(_) | Kind::Memberships(_) => continue,
            Kind::Event(_) => events -= 1,
            _ => {}
        }
        all.push(bytes);
    }
    all
}

#[tokio::test]
async fn subscribe_and_connect_send_the_same_bytes() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &[]).await;
    ana.say_all("general", (0..20).map(|i| i.to_string())).await;
    let mut connected = RawStream::connect(server.address(), "ana", &[("general", 0)], raw_stream::WIDE).await;
    let mut subscribed = RawStream::subscribe(server.address(), "ana", &[("general", 0)], raw_stream::WIDE).await;
    let replayed = within("events", shared_bytes(&mut connected, 21)).await;
    assert_eq!(replayed, within("events", shared_bytes(&mut subscribed, 21)).await);
    ana.say_all("general", (0..20).map(|i| i.to_string())).await;
    ana.say_all("general", (0..3).map(|i| format!("{i:030000}"))).await;
    let live = within("events", shared_bytes(&mut connected, 23)).await;
    assert_eq!(live, within("events", shared_bytes(&mut subscribed, 23)).await);
}

#[tokio::test]
async fn a_client_that_closes_its_half_still_gets_events_and_the_answers_it_waits_for() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &[]).await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    stream.send("last", Up::Send(message("general", "last words"))).await;
    stream.half_close();
    assert!(matches!(stream.reply("last").await, Outcome::Sent(sent) if sent.seq == 1));
    ana.say("general", "you hear me").await;
    while stream.event().await.position < 3 {}
}

#[tokio::test]
async fn each_answer_carries_the_request_id_of_its_frame() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &[]).await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    let sent: Vec<_> = (0..50).map(|i| message("general", &i.to_string())).collect();
    for (i, message) in sent.iter().enumerate() {
        stream.send(&format!("request {i}"), Up::Send(message.clone())).await;
    }
    for (i, message) in sent.iter().enumerate() {
        let Outcome::Sent(receipt) = stream.reply(&format!("request {i}")).await else { panic!("not sent") };
        assert_eq!((&receipt.client_message_id, receipt.seq), (&message.client_message_id, i as u64 + 1));
    }
    // The same message again, under another request id.
    stream.send("again", Up::Send(sent[7].clone())).await;
    assert!(matches!(stream.reply("again").await, Outcome::Sent(sent) if sent.duplicate && sent.seq == 8));
}

#[tokio::test]
async fn a_frame_of_an_unknown_kind_is_answered_with_an_error() {
    let server = Server::start();
    server.user("ana").await.create_room("general", RoomKind::Private, &[]).await;
    let mut stream = RawStream::connect(server.address(), "ana", &[], raw_stream::WIDE).await;
    // request_id = "new", and field 77 as an empty message.
    let mut frame = BytesMut::from(&[0, 0, 0, 0, 8][..]);
    frame.put_slice(&[0x0a, 3, b'n', b'e', b'w', 0xea, 0x04, 0]);
    stream.send_bytes(frame.freeze());
    stream.send(&ConnectRequest { request_id: "known".into(), frame: Some(Up::Send(message("general", "hi"))) });
    let mut answers = Vec::new();
    while answers.len() < 2 {
        if let Some(Kind::Reply(reply)) = stream.next().await {
            answers.push((reply.request_id, reply.result.unwrap()));
        }
    }
    let (id, unknown) = answers.remove(0);
    assert_eq!((id.as_str(), error(unknown).reason()), ("new", ErrorReason::FieldInvalid));
    assert!(matches!(&answers[0], (id, Outcome::Sent(_)) if id == "known"));
}

#[tokio::test]
async fn a_stream_that_does_not_open_in_time_or_closes_instead_ends_with_stream_not_open() {
    let server = Server::with(&[("stream.open_timeout", "200ms")]);
    let ana = server.user("ana").await;
    let mut silent = Stream::silent(&ana).await;
    let mut closed = Stream::silent(&ana).await;
    closed.half_close();
    for stream in [&mut closed, &mut silent] {
        let (code, reason, _) = error_of(&stream.end().await.unwrap());
        assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "STREAM_NOT_OPEN"));
    }
    assert_eq!(server.metric("relay_sessions").await, 0.0);
}

#[tokio::test]
async fn an_idle_stream_carries_a_heartbeat_at_least_every_interval() {
    const INTERVAL: Duration = Duration::from_millis(400);
    let server = Server::with(&[("stream.heartbeat_interval", "400ms")]);
    let ana = server.user("ana").await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    let mut last = Instant::now();
    let mut late = 0;
    for _ in 0..8 {
        assert!(matches!(stream.next_or_end().await, Ok(Some(Kind::Heartbeat(_)))));
        // What a busy machine adds on the way is not the server's promise.
        late += usize::from(last.elapsed() > INTERVAL + Duration::from_millis(100));
        last = Instant::now();
    }
    assert!(late <= 2, "{late} of 8 heartbeats were late");
}

#[tokio::test]
async fn heartbeats_carry_the_positions_that_moved_each_once() {
    let server = Server::with(&[("stream.heartbeat_interval", "200ms")]);
    let mut ana = server.user("ana").await;
    ana.create_room("busy", RoomKind::Private, &[]).await;
    ana.create_room("quiet", RoomKind::Private, &[]).await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    ana.say_all("busy", (0..3).map(|i| i.to_string())).await;
    stream.events(3).await;
    let mut told = Vec::new();
    for _ in 0..5 {
        let beat = loop {
            match stream.next_or_end().await {
                Ok(Some(Kind::Heartbeat(beat))) => break beat,
                Ok(Some(Kind::Receipts(_) | Kind::Memberships(_))) => {}
                other => panic!("no heartbeat: {other:?}"),
            }
        };
        told.extend(beat.positions.into_iter().map(|at| (at.room_id, at.position)));
    }
    assert_eq!(told.last(), Some(&("busy".to_owned(), 4)));
    assert!(told.iter().all(|(room, _)| room == "busy") && told.len() <= 3, "{told:?}");
}

#[tokio::test]
async fn hello_says_whose_stream_it_is_and_how_often_it_beats() {
    let server = Server::with(&[("stream.heartbeat_interval", "7s"), ("auth.leeway", "0s")]);
    let mut stream = RawStream::subscribe(server.address(), "ana", &[], raw_stream::WIDE).await;
    let Some(Kind::Hello(hello)) = stream.next().await else { panic!("no hello") };
    assert_eq!((hello.user_id.as_str(), hello.project_id.as_str()), ("ana", "default"));
    assert_eq!(hello.heartbeat_interval.unwrap(), prost_types::Duration { seconds: 7, nanos: 0 });
    let (expires, now) = (hello.token_expires_at.unwrap().seconds, hello.server_time.unwrap().seconds);
    assert!((3_590..=3_600).contains(&(expires - now)), "{}", expires - now);
    uuid::Uuid::parse_str(&hello.session_id).unwrap();
}
