//! Readers that do not read, and senders that do not read their answers: a matter of their own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use relay_proto::chat::v1::{
    ConnectRequest, RoomKind, connect_request::Frame as Up, frame::Kind, reply::Result as Outcome, room_event::Event,
};
use tokio::time::Instant;

use crate::support::{Clients, Proxy, RawStream, Server, Stream, message, raw_stream};

const MIB: u64 = 1 << 20;
/// How much more memory the server may take for what a reader leaves lying.
const BOUND: u64 = 64 * MIB;
/// How late a message may reach a reader that reads, on a busy machine.
const LATE: Duration = Duration::from_secs(2);

/// Reads on until the event of this position; every position comes once, from `next` on.
async fn read_all(stream: &mut RawStream, mut next: u64, last: u64) {
    while next <= last {
        match stream.next().await.expect("the stream goes on") {
            Kind::Event(event) => {
                assert_eq!((event.previous_position, event.position), (next - 1, next));
                if let Some(Event::MessageCreated(created)) = event.event {
                    assert!(created.message.unwrap().text.starts_with(&format!("{:08}", next)));
                }
                next += 1;
            }
            Kind::Resumed(resumed) => assert!(resumed.rooms.iter().all(|room| room.verdict() as i32 == 1)),
            _ => {}
        }
    }
}

/// Says texts that begin with their position, and has `reader` read each batch; answers the slowest batch's time.
async fn say_past(ana: &mut Clients, reader: &mut Stream, from: u64, count: u64, size: usize, batch: u64) -> Duration {
    let mut slowest = Duration::ZERO;
    for first in (from..from + count).step_by(batch as usize) {
        let begun = Instant::now();
        let positions = first..(first + batch).min(from + count);
        ana.say_all("general", positions.clone().map(|p| format!("{p:08}{:0size$}", 0))).await;
        for position in positions {
            assert_eq!(reader.event().await.position, position);
        }
        slowest = slowest.max(begun.elapsed());
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_costs_the_others_nothing_and_later_gets_everything() {
    const MESSAGES: u64 = 6_500;
    const SIZE: usize = 32_000;
    // On a busy machine this takes longer than a link may be silent.
    let server = Server::with(&[("server.http2_keepalive_timeout", "5m")]);
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["stalled", "cut-off"]).await;
    let (mut reader, _) = Stream::caught_up(&ana, &[]).await;
    // One does not take what HTTP/2 offers; the other does not even read its socket.
    let mut stalled = RawStream::connect(server.address(), "stalled", &[("general", 3)], raw_stream::NARROW).await;
    let proxy = Proxy::to(server.address()).await;
    let mut cut_off = RawStream::subscribe(proxy.address(), "cut-off", &[("general", 3)], raw_stream::WIDE).await;
    assert!(matches!(cut_off.next().await, Some(Kind::Hello(_))));
    proxy.hold();

    say_past(&mut ana, &mut reader, 4, 100, SIZE, 20).await;
    let before = server.resident_bytes();
    let slowest = say_past(&mut ana, &mut reader, 104, MESSAGES - 100, SIZE, 20).await;
    let grown = server.resident_bytes().saturating_sub(before);
    println!("slowest batch {slowest:?}, grown by {} MiB", grown / MIB);
    assert!(slowest < LATE, "the others wait {slowest:?}");
    assert!(grown < BOUND, "grown by {} MiB", grown / MIB);

    proxy.release();
    let last = MESSAGES + 3;
    tokio::join!(read_all(&mut stalled, 4, last), read_all(&mut cut_off, 4, last));
    ana.say("general", &format!("{:08}", last + 1)).await;
    read_all(&mut stalled, last + 1, last + 1).await;
    read_all(&mut cut_off, last + 1, last + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tiny_events_do_not_end_the_connection_of_a_reader_that_does_not_read() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["idle"]).await;
    let (mut reader, _) = Stream::caught_up(&ana, &[]).await;
    let proxy = Proxy::to(server.address()).await;
    let mut idle = RawStream::connect(server.address(), "idle", &[("general", 2)], raw_stream::NARROW).await;
    let mut cut_off = RawStream::connect(proxy.address(), "idle", &[("general", 2)], raw_stream::WIDE).await;
    let mut wide = RawStream::connect(server.address(), "idle", &[("general", 2)], raw_stream::WIDE).await;
    assert!(matches!(cut_off.next().await, Some(Kind::Hello(_))));
    proxy.hold();
    // The first one at a time, so that frames are as many and as small as they can be.
    for position in 3..1_003 {
        ana.say("general", &format!("{position:08}")).await;
    }
    ana.say_all("general", (1_003..10_003).map(|position| format!("{position:08}"))).await;
    while reader.event().await.position < 10_002 {}
    proxy.release();
    for stream in [&mut idle, &mut cut_off, &mut wide] {
        read_all(stream, 3, 10_002).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_answers_is_not_read_and_the_others_go_on() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["deaf"]).await;
    ana.create_room("deaf", RoomKind::Private, &["deaf"]).await;
    let (mut reader, _) = Stream::caught_up(&ana, &[]).await;
    let mut deaf = RawStream::connect(server.address(), "deaf", &[], raw_stream::NARROW).await;
    let before = server.resident_bytes();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let sending = tokio::spawn(async move {
        for i in 0.. {
            let frame = Some(Up::Send(message("deaf", &format!("{i:08}"))));
            let frame = ConnectRequest { request_id: i.to_string(), frame };
            tokio::select! {
                biased;
                () = deaf.send_when_taken(&frame) => {}
                _ = &mut stopped => break,
            }
            count.store(i + 1, Ordering::Relaxed);
        }
        deaf
    });
    // The others go on, until the server has taken nothing more from the deaf one for many of their messages.
    let (mut position, mut taken_before, mut quiet) = (3, 0, 0);
    while quiet < 200 {
        let begun = Instant::now();
        ana.say("general", &format!("{position:08}")).await;
        let event = loop {
            let event = reader.event().await;
            if event.room_id == "general" {
                break event;
            }
        };
        assert_eq!(event.position, position);
        assert!(begun.elapsed() < LATE);
        position += 1;
        let now = taken.load(Ordering::Relaxed);
        quiet = if now == taken_before { quiet + 1 } else { 0 };
        taken_before = now;
        assert!(now < 200_000, "the server reads on and on");
    }
    assert!(server.resident_bytes().saturating_sub(before) < BOUND);

    // Once it reads, each of its messages is answered, in order.
    stop.send(()).unwrap();
    let mut deaf = sending.await.unwrap();
    let mut answered = 0;
    while answered < taken_before {
        if let Some(Kind::Reply(reply)) = deaf.next().await {
            assert_eq!(reply.request_id, answered.to_string());
            let Some(Outcome::Sent(receipt)) = reply.result else { panic!("{reply:?}") };
            answered += 1;
            assert_eq!(receipt.seq, answered as u64);
        }
    }
    assert!(ana.history("deaf").await.len() >= answered);
}
