//! Users who send and users who read while something goes wrong, and what must hold of it afterwards: every acknowledged
//! message is there once and in order, for every reader, at every node.

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

/// Frames that a sender on a stream has under way.
const WINDOW: usize = 16;
/// How long all of it may take to be sent and seen.
const LIMIT: Duration = Duration::from_secs(90);
/// How soon a client tries again.
const AGAIN: Duration = Duration::from_millis(5);

/// What a sender sent and what it was told, in the order of sending.
type Sent = Vec<(SendMessageRequest, SendReceipt)>;
/// Of each room the ids of its messages by seq, and the last position.
type Seen = BTreeMap<String, (Vec<String>, u64)>;

/// Who sends and reads how much.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) senders: usize,
    /// Messages of each sender.
    pub(super) sends: usize,
    /// The time between a sender's messages, if the server keeps up with it.
    pub(super) pace: Duration,
    /// Ways of sending: the first of one by one, by the SDK, and by frames with several under way. The last keeps its order
    /// only if no frame is answered with an error.
    pub(super) ways: usize,
    pub(super) readers: usize,
    pub(super) rooms: usize,
}

impl Plan {
    /// All there is to send.
    pub(super) fn total(&self) -> usize {
        self.senders * self.sends
    }
}

/// It on its way.
pub(super) struct Traffic {
    plan: Plan,
    acknowledged: Arc<AtomicUsize>,
    senders: Vec<JoinHandle<Sent>>,
    readers: Vec<JoinHandle<Seen>>,
}

fn room(i: usize) -> String {
    format!("room-{i}")
}

impl Traffic {
    /// Makes the rooms, and has everybody begin, each at the next node.
    pub(super) async fn start(server: &Server, plan: Plan) -> Self {
        let senders: Vec<String> = (0..plan.senders).map(|n| format!("sender-{n}")).collect();
        let readers: Vec<String> = (0..plan.readers).map(|n| format!("reader-{n}")).collect();
        let members: Vec<&str> = senders.iter().chain(&readers).map(String::as_str).collect();
        let mut ana = server.user("ana").await;
        let mut from = BTreeMap::new();
        for i in 0..plan.rooms {
            ana.create_room(&room(i), RoomKind::Private, &members).await;
            from.insert(room(i), members.len() as u64 + 1);
        }
        // One after another is at the next node: so every kind is at every node.
        let nodes = server.count();
        let read = |(i, reader): (usize, &String)| match i / nodes % 2 {
            0 => tokio::spawn(subscribe_raw(lazy(server, reader), from.clone(), plan.total())),
            _ => tokio::spawn(subscribe_by_sdk(server.sdk(reader), from.clone(), plan.total())),
        };
        let readers = readers.iter().enumerate().map(read).collect();
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let send = |(i, sender): (usize, &String)| {
            let sending = Sending { sender: i, plan, acknowledged: acknowledged.clone() };
            match i / nodes % plan.ways {
                0 => tokio::spawn(sending.one_by_one(lazy(server, sender))),
                1 => tokio::spawn(sending.by_sdk(server.sdk(sender))),
                _ => tokio::spawn(sending.by_frames(lazy(server, sender))),
            }
        };
        let senders = senders.iter().enumerate().map(send).collect();
        Self { plan, acknowledged, senders, readers }
    }

    /// Waits until so many messages are acknowledged.
    pub(super) async fn acknowledged(&self, count: usize) {
        let mut look = tokio::time::interval(Duration::from_millis(1));
        let wait = async {
            while self.acknowledged.load(Ordering::Relaxed) < count {
                look.tick().await;
            }
        };
        tokio::time::timeout(LIMIT, wait).await.expect("messages are acknowledged");
    }

    /// Waits for the end of it, and checks everything.
    pub(super) async fn finish(self, server: &Server) {
        let (senders, readers) = (self.senders, self.readers);
        let all = async {
            let sent = futures_util::future::try_join_all(senders).await.unwrap();
            (sent, futures_util::future::try_join_all(readers).await.unwrap())
        };
        let (sent, seen) = tokio::time::timeout(LIMIT, all).await.expect("all is sent and seen in time");
        let history = same_history_everywhere(server, self.plan.rooms).await;
        check_senders(&sent, &history, self.plan.total());
        for (room, (ids, _)) in seen.into_iter().flatten() {
            let written: Vec<&String> = history[&room].iter().map(|m| &m.client_message_id).collect();
            assert_eq!(ids.iter().collect::<Vec<_>>(), written, "in {room}");
        }
        // Long after the fact, and whatever happened, the same id still gives the same answer, anywhere.
        for (sender, sent) in sent.iter().enumerate().step_by(7) {
            let mut clients = server.user(&format!("sender-{sender}")).await;
            for (message, receipt) in sent.iter().step_by(50) {
                let again = clients.chat.send_message(message.clone()).await.unwrap().into_inner().receipt.unwrap();
                assert_eq!(again, SendReceipt { duplicate: true, ..receipt.clone() });
            }
        }
    }
}

fn lazy(server: &Server, user: &str) -> Clients {
    Clients::lazy(&server.url(), Token::of(user).sign())
}

/// One sender.
struct Sending {
    sender: usize,
    plan: Plan,
    acknowledged: Arc<AtomicUsize>,
}

impl Sending {
    fn messages(&self) -> Vec<SendMessageRequest> {
        let message = |i| message(&room((self.sender + i) % self.plan.rooms), &format!("{} {i}", self.sender));
        (0..self.plan.sends).map(message).collect()
    }

    /// Retries, as a bare client would: at a steady pace, with the same id.
    async fn one_by_one(self, mut clients: Clients) -> Sent {
        let mut sent = Vec::new();
        let (mut pace, mut again) = (tokio::time::interval(self.plan.pace), tokio::time::interval(AGAIN));
        for message in self.messages() {
            pace.tick().await;
            let receipt = loop {
                match clients.chat.send_message(message.clone()).await {
                    Ok(answer) => break answer.into_inner().receipt.unwrap(),
                    Err(_) => drop(again.tick().await),
                }
            };
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            sent.push((message, receipt));
        }
        sent
    }

    /// Calls `send` and leaves the rest to the SDK.
    async fn by_sdk(self, client: relay_sdk::Client) -> Sent {
        let mut sent = Vec::new();
        let mut pace = tokio::time::interval(self.plan.pace);
        for message in self.messages() {
            pace.tick().await;
            let outgoing = OutgoingMessage::text(&message.room_id, &message.text);
            let receipt = client.send(outgoing.with_client_message_id(&message.client_message_id)).await.unwrap();
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            sent.push((message, receipt));
        }
        sent
    }

    /// Keeps some frames under way; when the stream is lost, all without an answer go out again in the same order.
    async fn by_frames(self, clients: Clients) -> Sent {
        let messages = self.messages();
        let mut receipts: Vec<Option<SendReceipt>> = vec![None; messages.len()];
        let (mut pace, mut again) = (tokio::time::interval(self.plan.pace), tokio::time::interval(AGAIN));
        while receipts.iter().any(Option::is_none) {
            again.tick().await;
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
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                under_way -= 1;
                if let Some(i) = waiting.next() {
                    pace.tick().await;
                    stream.try_send(&i.to_string(), Up::Send(messages[i].clone())).await;
                    under_way += 1;
                }
            }
        }
        messages.into_iter().zip(receipts.into_iter().map(Option::unwrap)).collect()
    }
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

fn messages_in(seen: &Seen) -> usize {
    seen.values().map(|(ids, _)| ids.len()).sum()
}

fn nothing_seen(positions: &BTreeMap<String, u64>) -> Seen {
    positions.iter().map(|(room, position)| (room.clone(), (Vec::new(), *position))).collect()
}

async fn subscribe_raw(clients: Clients, from: BTreeMap<String, u64>, total: usize) -> Seen {
    let mut seen = nothing_seen(&from);
    let mut again = tokio::time::interval(AGAIN);
    while messages_in(&seen) < total {
        again.tick().await;
        let held: Vec<(&str, u64)> = seen.iter().map(|(room, (_, at))| (room.as_str(), *at)).collect();
        let Ok(mut stream) = Stream::try_open(&clients, &held).await else { continue };
        while messages_in(&seen) < total {
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

async fn subscribe_by_sdk(client: relay_sdk::Client, from: BTreeMap<String, u64>, total: usize) -> Seen {
    let mut seen = nothing_seen(&from);
    let mut events = client.events_from(from);
    while messages_in(&seen) < total {
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

/// What every node says was written, without holes.
async fn same_history_everywhere(server: &Server, rooms: usize) -> HashMap<String, Vec<wire::Message>> {
    let mut history = HashMap::new();
    for n in 0..server.count() {
        let mut ana = server.node(n).user("ana").await;
        for room in (0..rooms).map(room) {
            let messages = ana.history(&room).await;
            assert!(messages.iter().zip(1..).all(|(message, seq)| message.seq == seq), "without holes");
            let first = history.entry(room).or_insert_with(|| messages.clone());
            assert_eq!(*first, messages, "node {n} says the same");
        }
    }
    history
}

/// What must hold of what each sender was told, given each room's history.
fn check_senders(sent: &[Sent], history: &HashMap<String, Vec<wire::Message>>, total: usize) {
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
    assert_eq!(ids.len(), total, "each once");
    assert_eq!(history.values().map(Vec::len).sum::<usize>(), total, "and nothing else");
}
