//! Several nodes write to one room as fast as they can, and everybody at every node sees the same.

use futures_util::future::join_all;
use relay_proto::chat::v1::{RoomKind, SendMessagesRequest, frame::Kind, room_event::Event};

use super::Group;
use crate::support::{Stream, message};

const NODES: usize = 2;
/// Senders at each node.
const SENDERS: usize = 4;
/// Calls of a sender, one after the other.
const CALLS: usize = 80;
/// Messages in a call.
const BATCH: usize = 5;
const MESSAGES: usize = NODES * SENDERS * CALLS * BATCH;

/// All texts in the order of the room, which has no hole.
async fn read(mut stream: Stream, mut position: u64) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < MESSAGES {
        let Kind::Event(event) = stream.next().await else { panic!("no event") };
        assert_eq!((event.previous_position, event.position), (position, position + 1));
        position = event.position;
        let Some(Event::MessageCreated(created)) = event.event else { panic!("no message") };
        let message = created.message.unwrap();
        assert_eq!(message.seq, texts.len() as u64 + 1);
        texts.push(message.text);
    }
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_write_to_one_room_at_once_leave_no_hole_and_little_to_repair() {
    let group = Group::start(NODES, &[]);
    let readers: Vec<String> = (0..2 * NODES).map(|n| format!("reader-{n}")).collect();
    let senders: Vec<String> = (0..NODES * SENDERS).map(|n| format!("sender-{n}")).collect();
    let members: Vec<&str> = readers.iter().chain(&senders).map(String::as_str).collect();
    group.node(0).user("ana").await.create_room("r", RoomKind::Private, &members).await;
    let mut reading = Vec::new();
    for (n, reader) in readers.iter().enumerate() {
        let (stream, _) = Stream::caught_up(&group.node(n % NODES).user(reader).await, &[]).await;
        reading.push(tokio::spawn(read(stream, members.len() as u64 + 1)));
    }
    let mut sending = Vec::new();
    for (n, sender) in senders.iter().enumerate() {
        let (mut clients, name) = (group.node(n % NODES).user(sender).await, sender.clone());
        sending.push(tokio::spawn(async move {
            for call in 0..CALLS {
                let requests = (0..BATCH).map(|i| message("r", &format!("{name} {}", call * BATCH + i)));
                let request = SendMessagesRequest { requests: requests.collect() };
                clients.chat.send_messages(request).await.unwrap();
            }
        }));
    }
    join_all(sending).await.into_iter().for_each(Result::unwrap);
    let seen: Vec<Vec<String>> = join_all(reading).await.into_iter().map(Result::unwrap).collect();
    assert!(seen.iter().all(|texts| *texts == seen[0]), "everybody sees the same");
    for sender in &senders {
        let own = seen[0].iter().filter_map(|text| text.strip_prefix(&format!("{sender} ")));
        let own: Vec<usize> = own.map(|n| n.parse().unwrap()).collect();
        assert_eq!(own, (0..CALLS * BATCH).collect::<Vec<_>>(), "{sender} in order");
    }
    let (mut repairs, mut early, mut behind) = (0.0, 0.0, 0.0);
    for n in 0..NODES {
        repairs += group.node(n).metric("relay_repairs_total").await;
        early += group.node(n).metric("relay_early_events_total").await;
        behind += group.node(n).metric("relay_sessions_fell_behind_total").await;
    }
    println!("{MESSAGES} messages, {early} pieces too early, {repairs} repairs, {behind} times a reader fell behind");
    let few = MESSAGES as f64 / 100.0;
    assert!(repairs <= few, "{repairs} repairs for {MESSAGES} messages");
    // What comes early waits: given at once, it would send every reader to the log.
    assert!(behind <= few, "readers fell behind {behind} times in {MESSAGES} messages");
}
