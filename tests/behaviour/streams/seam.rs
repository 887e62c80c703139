//! Between what is replayed and what is live, nothing is missing and nothing double.

use std::collections::HashMap;

use relay_proto::chat::v1::{RoomKind, frame::Kind};

use crate::support::{Clients, RawStream, Server, Stream, Token, eventually, message, raw_stream};

const ROOMS: [&str; 2] = ["one", "two"];
const SENDERS: usize = 4;

/// Sends into both rooms as fast as the answers come, until it is stopped.
fn keep_sending(server: &Server, n: usize) -> tokio::task::JoinHandle<()> {
    let mut clients = Clients::lazy(&server.url(), Token::of(&format!("sender-{n}")).sign());
    tokio::spawn(async move {
        for i in 0.. {
            clients.chat.send_message(message(ROOMS[i % 2], &i.to_string())).await.unwrap();
        }
    })
}

async fn rooms_with_senders(server: &Server, readers: &[&str]) -> Clients {
    let mut ana = server.user("ana").await;
    let senders: Vec<String> = (0..SENDERS).map(|n| format!("sender-{n}")).collect();
    let members: Vec<&str> = senders.iter().map(String::as_str).chain(readers.iter().copied()).collect();
    for room in ROOMS {
        ana.create_room(room, RoomKind::Private, &members).await;
    }
    ana
}

/// What a client holds, and that it was given each event once.
#[derive(Default)]
struct Held(HashMap<String, u64>);

impl Held {
    fn take(&mut self, kind: &Kind) {
        if let Kind::Event(event) = kind {
            let held = self.0.get_mut(&event.room_id).expect("a verdict comes first");
            assert_eq!((event.previous_position, event.position), (*held, *held + 1), "in {}", event.room_id);
            *held = event.position;
        }
        if let Kind::Resumed(resumed) = kind {
            for room in &resumed.rooms {
                let held = self.0.entry(room.room_id.clone()).or_insert(room.position);
                assert_eq!(*held, room.position, "resumes where the last stream ended: {room:?}");
            }
        }
    }

    fn positions(&self) -> Vec<(&str, u64)> {
        self.0.iter().map(|(room, position)| (room.as_str(), *position)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_open_and_close_all_the_time_miss_nothing_and_get_nothing_twice() {
    let server = Server::with(&[("stream.queue_bytes", "8192")]);
    let mut ana = rooms_with_senders(&server, &["native", "browser"]).await;
    let senders: Vec<_> = (0..SENDERS).map(|n| keep_sending(&server, n)).collect();
    let native = server.user("native").await;
    let (mut of_native, mut of_browser) = (Held::default(), Held::default());
    let random = &mut fastrand::Rng::with_seed(7);
    for _ in 0..60 {
        let mut stream = Stream::open(&native, &of_native.positions()).await;
        for _ in 0..random.usize(..60) {
            of_native.take(&stream.next().await);
        }
        let mut stream =
            RawStream::subscribe(server.address(), "browser", &of_browser.positions(), raw_stream::WIDE).await;
        for _ in 0..random.usize(..60) {
            of_browser.take(&stream.next().await.unwrap());
        }
    }
    senders.iter().for_each(tokio::task::JoinHandle::abort);
    // Whatever the senders still had under way is before these.
    let mut last = HashMap::new();
    for room in ROOMS {
        last.insert(room.to_owned(), ana.say(room, "last").await.position);
    }
    let (_, frames) = Stream::caught_up(&native, &of_native.positions()).await;
    frames.iter().for_each(|kind| of_native.take(kind));
    let mut stream = RawStream::subscribe(server.address(), "browser", &of_browser.positions(), raw_stream::WIDE).await;
    loop {
        let kind = stream.next().await.unwrap();
        of_browser.take(&kind);
        if matches!(kind, Kind::CaughtUp(_)) {
            break;
        }
    }
    for room in ROOMS {
        assert!(of_native.0[room] >= last[room] && of_browser.0[room] >= last[room]);
    }
    assert!(server.metric("relay_replayed_events_total").await > 0.0, "some of it was replayed");
}

#[tokio::test]
async fn a_reader_that_keeps_falling_behind_and_catching_up_gets_each_event_once() {
    let server = Server::with(&[("stream.queue_bytes", "4096")]);
    let mut ana = rooms_with_senders(&server, &["slow"]).await;
    let mut stream = RawStream::subscribe(server.address(), "slow", &[("one", 0), ("two", 0)], 2_048).await;
    let mut held = Held::default();
    let random = &mut fastrand::Rng::with_seed(11);
    let mut last = 0;
    for _ in 0..30 {
        let said = random.usize(1..100);
        for room in ROOMS {
            ana.say_all(room, (0..said).map(|i| format!("{i:0300}"))).await;
        }
        last += said as u64;
        // Now and then it catches up; else only a part is read before more comes.
        let enough = if random.bool() { last } else { random.u64(last / 2..=last) } + SENDERS as u64 + 2;
        while ROOMS.iter().any(|room| held.0.get(*room).is_none_or(|at| *at < enough)) {
            held.take(&stream.next().await.unwrap());
        }
    }
    let end = SENDERS as u64 + 2 + last;
    while ROOMS.iter().any(|room| held.0[*room] < end) {
        held.take(&stream.next().await.unwrap());
    }
    assert!(server.metric("relay_sessions_fell_behind_total").await > 1.0, "it fell behind again and again");
}

#[tokio::test]
async fn streams_that_are_given_up_while_they_open_are_forgotten() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    for i in 0..50 {
        ana.create_room(&format!("room-{i}"), RoomKind::Private, &["ben"]).await;
    }
    for i in 0..60 {
        let mut stream = match i % 2 {
            0 => RawStream::subscribe(server.address(), "ben", &[("room-0", 1)], raw_stream::WIDE).await,
            _ => RawStream::connect(server.address(), "ben", &[("room-0", 1)], raw_stream::WIDE).await,
        };
        if i % 3 == 0 {
            assert!(matches!(stream.next().await, Some(Kind::Hello(_))));
        }
        if i % 4 == 0 {
            stream.reset();
        }
    }
    eventually("all streams to be closed", async || server.metric("relay_sessions").await == 0.0).await;
    let before = server.metric("relay_deliveries_total").await;
    for i in 0..50 {
        ana.say(&format!("room-{i}"), "to nobody").await;
    }
    assert_eq!(server.metric("relay_deliveries_total").await, before, "nothing is delivered to streams that are gone");
}
