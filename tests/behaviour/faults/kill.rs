//! kill -9 under load: every acknowledged message is there once and in order, for every subscriber.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use relay_proto::chat::v1::{
    self as wire, RoomKind, SendMessageRequest, SendReceipt, connect_request::Frame as Up, frame::Kind,
    reply::Result as Outcome, room_event::Event as WireEvent,
};
use relay_sdk::{Event, OutgoingMessage, RoomEventKind};
use tokio::task::JoinHandle;

use crate::support::{Clients, Server, Stream, Token, message};

const SENDERS: usize = 20;
const SENDS: usize = 500;
const ROOMS: usize = 4;
const SUBSCRIBERS: usize = 3;
/// Frames that a sender on a stream has under way.
const WINDOW: usize = 16;
/// How long the whole run may take.
const LIMIT: Duration = Duration::from_secs(90);

/// What a sender sent and what it was told, in the order of sending.
type Sent = Vec<(SendMessageRequest, SendReceipt)>;
/// Of each room the ids of its messages by seq, and the last position.
type Seen = BTreeMap<String, (Vec<String>, u64)>;

fn room(i: usize) -> String {
    format!("room-{}", i % ROOMS)
}

fn to_send(sender: usize) -> Vec<SendMessageRequest> {
    (0..SENDS).map(|i| message(&room(sender + i), &format!("{sender} {i}"))).collect()
}

/// Retries, as a bare client would: at a steady pace, with the same id.
async fn one_by_one(mut clients: Clients, messages: Vec<SendMessageRequest>, acknowledged: Arc<AtomicUsize>) -> Sent {
    let mut sent = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    for message in messages {
        let receipt = loop {
            match clients.chat.send_message(message.clone()).await {
                Ok(answer) => break answer.into_inner().receipt.unwrap(),
                Err(_) => drop(pace.tick().await),
            }
        };
        acknowledged.fetch_add(1, Ordering::Relaxed);
        sent.push((message, receipt));
    }
    sent
}

/// Keeps some frames under way; when the stream is lost, all without an answer go out again in the same order.
async fn by_frames(clients: Clients, messages: Vec<SendMessageRequest>, acknowledged: Arc<AtomicUsize>) -> Sent {
    let mut receipts: Vec<Option<SendReceipt>> = vec![None; messages.len()];
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while receipts.iter().any(Option::is_none) {
        pace.tick().await;
        let Ok(mut stream) = Stream::try_open(&clients, &[]).await else { continue };
        let missing: Vec<usize> = (0..messages.len()).filter(|i| receipts[*i].is_none()).collect();
        let mut waiting = missing.into_iter();
        let mut under_way = 0;
        for i in waiting.by_ref().take(WINDOW) {
            stream.try_send(&i.to_string(), Up::Send(messages[i].clone())).await;
            under_way += 1;
        }
        while under_way > 0 {
            let Ok(Some(kind)) = stream.next_or_end().await else { break };
            let Kind::Reply(reply) = kind else { continue };
            let Some(Outcome::Sent(receipt)) = reply.result else { panic!("not sent: {reply:?}") };
            receipts[reply.request_id.parse::<usize>().unwrap()] = Some(receipt);
            acknowledged.fetch_add(1, Ordering::Relaxed);
            under_way -= 1;
            if let Some(i) = waiting.next() {
                stream.try_send(&i.to_string(), Up::Send(messages[i].clone())).await;
                under_way += 1;
            }
        }
    }
    messages.into_iter().zip(receipts.into_iter().map(Option::unwrap)).collect()
}

/// Calls `send` and leaves the rest to the SDK.
async fn by_sdk(client: relay_sdk::Client, messages: Vec<SendMessageRequest>, acknowledged: Arc<AtomicUsize>) -> Sent {
    let mut sent = Vec::new();
    for message in messages {
        let outgoing =
            OutgoingMessage::text(&message.room_id, &message.text).with_client_message_id(&message.client_message_id);
        let receipt = client.send(outgoing).await.unwrap();
        acknowledged.fetch_add(1, Ordering::Relaxed);
        sent.push((message, receipt));
    }
    sent
}

/// Takes an event in, if it is the next of its room; anything else is a fault.
fn take(seen: &mut Seen, room: &str, position: u64, message: Option<&wire::Message>) {
    let (ids, held) = seen.get_mut(room).expect("a verdict comes first");
    assert_eq!(position, *held + 1, "in {room}");
    *held = position;
    if let Some(message) = message {
        ids.push(message.client_message_id.clone());
        assert_eq!(message.seq, ids.len() as u64, "in {room}");
    }
}

fn complete(seen: &Seen) -> bool {
    seen.values().map(|(ids, _)| ids.len()).sum::<usize>() == SENDERS * SENDS
}

fn nothing_seen(positions: &BTreeMap<String, u64>) -> Seen {
    positions.iter().map(|(room, position)| (room.clone(), (Vec::new(), *position))).collect()
}

async fn subscribe_raw(clients: Clients, from: BTreeMap<String, u64>) -> Seen {
    let mut seen = nothing_seen(&from);
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while !complete(&seen) {
        pace.tick().await;
        let held: Vec<(&str, u64)> = seen.iter().map(|(room, (_, at))| (room.as_str(), *at)).collect();
        let Ok(mut stream) = Stream::try_open(&clients, &held).await else { continue };
        while !complete(&seen) {
            match stream.next_or_end().await {
                Ok(Some(Kind::Event(event))) => {
                    let Some(WireEvent::MessageCreated(created)) = &event.event else { panic!("only messages") };
                    take(&mut seen, &event.room_id, event.position, created.message.as_ref());
                }
                Ok(Some(Kind::Resumed(resumed))) => {
                    assert!(resumed.rooms.iter().all(|r| r.verdict() == wire::ResumeVerdict::Complete), "{resumed:?}");
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }
    seen
}

async fn subscribe_by_sdk(client: relay_sdk::Client, from: BTreeMap<String, u64>) -> Seen {
    let mut seen = nothing_seen(&from);
    let mut events = client.events_from(from);
    while !complete(&seen) {
        match events.next().await.unwrap().unwrap() {
            Event::Room(event) => {
                let RoomEventKind::MessageCreated(message) = &event.kind else { panic!("only messages") };
                take(&mut seen, &event.room_id, event.position, Some(message));
            }
            Event::Resumed(room) => assert_eq!(room.verdict(), relay_sdk::ResumeVerdict::Complete, "{room:?}"),
            _ => {}
        }
    }
    seen
}

/// What must hold of what each sender was told, given each room's history.
fn check_senders(sent: &[Sent], history: &HashMap<String, Vec<wire::Message>>) {
    for (sender, sent) in sent.iter().enumerate() {
        let mut last: HashMap<&str, u64> = HashMap::new();
        for (message, receipt) in sent {
            let written = &history[&message.room_id][receipt.seq as usize - 1];
            assert_eq!((written.seq, written.position), (receipt.seq, receipt.position));
            assert_eq!((&written.client_message_id, &written.text), (&message.client_message_id, &message.text));
            assert_eq!(written.sender_id, format!("sender-{sender}"));
            let before = last.insert(&message.room_id, receipt.seq);
            assert!(before < Some(receipt.seq), "sent in order, written in order");
        }
    }
    let ids: HashSet<&str> = history.values().flatten().map(|m| m.client_message_id.as_str()).collect();
    assert_eq!(ids.len(), SENDERS * SENDS, "each once");
    assert_eq!(history.values().map(Vec::len).sum::<usize>(), SENDERS * SENDS, "and nothing else");
}

fn start_senders(server: &Server, acknowledged: &Arc<AtomicUsize>) -> Vec<JoinHandle<Sent>> {
    let start = |sender: usize| {
        let (user, acknowledged) = (format!("sender-{sender}"), acknowledged.clone());
        let clients = Clients::lazy(&server.url(), Token::of(&user).sign());
        match sender % 3 {
            0 => tokio::spawn(one_by_one(clients, to_send(sender), acknowledged)),
            1 => tokio::spawn(by_frames(clients, to_send(sender), acknowledged)),
            _ => tokio::spawn(by_sdk(server.sdk(&user), to_send(sender), acknowledged)),
        }
    };
    (0..SENDERS).map(start).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_message_survives_kills_once_and_in_order_for_every_subscriber() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut server = Server::start();
    let mut ana = server.user("ana").await;
    let senders: Vec<String> = (0..SENDERS).map(|n| format!("sender-{n}")).collect();
    let readers: Vec<String> = (0..2 * SUBSCRIBERS).map(|n| format!("reader-{n}")).collect();
    let members: Vec<&str> = senders.iter().chain(&readers).map(String::as_str).collect();
    let mut from = BTreeMap::new();
    for i in 0..ROOMS {
        ana.create_room(&room(i), RoomKind::Private, &members).await;
        from.insert(room(i), members.len() as u64 + 1);
    }

    let subscribers: Vec<JoinHandle<Seen>> = readers
        .iter()
        .enumerate()
        .map(|(i, reader)| match i % 2 {
            0 => tokio::spawn(subscribe_raw(Clients::lazy(&server.url(), Token::of(reader).sign()), from.clone())),
            _ => tokio::spawn(subscribe_by_sdk(server.sdk(reader), from.clone())),
        })
        .collect();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let senders = start_senders(&server, &acknowledged);
    let mut kills: Vec<usize> = (0..3).map(|_| random.usize(500..9_000)).collect();
    kills.sort_unstable();
    let mut look = tokio::time::interval(Duration::from_millis(1));
    for at in kills {
        while acknowledged.load(Ordering::Relaxed) < at {
            look.tick().await;
        }
        server.kill();
        server.restart();
    }

    let finish = async {
        let mut sent = Vec::new();
        for sender in senders {
            sent.push(sender.await.unwrap());
        }
        let mut seen = Vec::new();
        for subscriber in subscribers {
            seen.push(subscriber.await.unwrap());
        }
        (sent, seen)
    };
    let (sent, seen) = tokio::time::timeout(LIMIT, finish).await.expect("all is sent and seen in time");
    let mut ana = server.user("ana").await;
    let mut history = HashMap::new();
    for i in 0..ROOMS {
        let messages = ana.history(&room(i)).await;
        assert!(messages.iter().zip(1..).all(|(message, seq)| message.seq == seq), "without holes");
        history.insert(room(i), messages);
    }
    check_senders(&sent, &history);
    for seen in seen {
        for (room, (ids, _)) in seen {
            let written: Vec<&String> = history[&room].iter().map(|m| &m.client_message_id).collect();
            assert_eq!(ids.iter().collect::<Vec<_>>(), written, "in {room}");
        }
    }
    // Long after the fact, and across restarts, the same id still gives the same answer.
    for (sender, sent) in sent.iter().enumerate().step_by(7) {
        let mut clients = server.user(&format!("sender-{sender}")).await;
        for (message, receipt) in sent.iter().step_by(50) {
            let again = clients.chat.send_message(message.clone()).await.unwrap().into_inner().receipt.unwrap();
            assert_eq!(again, SendReceipt { duplicate: true, ..receipt.clone() });
        }
    }
}
