//! The newest pages of a room are listed from memory or Redis, and are what the database says.

use relay_proto::chat::v1::{
    AddReactionRequest, DeleteMessageRequest, EditMessageRequest, ListDirection, ListMessagesRequest, Message,
    RemoveReactionRequest, RoomKind,
};

use super::{Group, Reads};
use crate::support::{Clients, Stream, redis_run};

/// A page downwards, and the token of the next.
async fn page(clients: &Clients, page_size: i32, start_seq: u64, page_token: &str) -> (Vec<Message>, String) {
    let direction = ListDirection::Older.into();
    let page_token = page_token.to_owned();
    let request = ListMessagesRequest { room_id: "r".into(), direction, start_seq, page_size, page_token };
    let page = clients.chat.clone().list_messages(request).await.unwrap().into_inner();
    (page.messages, page.next_page_token)
}

/// What the database says: lists upwards are read there.
async fn all(clients: &Clients) -> Vec<Message> {
    clients.clone().history("r").await
}

/// The newest page is the same as in the database; answers where it was read, from memory, from Redis, from the database.
async fn assert_newest(group: &Group, node: usize, reader: &Clients, page_size: i32) -> [f64; 3] {
    let mut expected = all(reader).await;
    expected.reverse();
    let before = Reads::of(group.node(node)).await;
    let (messages, token) = page(reader, page_size, 0, "").await;
    let reads = Reads::since(before, group.node(node)).await;
    let size = expected.len().min(usize::try_from(page_size).unwrap());
    assert_eq!(messages, expected[..size], "page size {page_size} at {node}");
    assert_eq!(token.is_empty(), size == expected.len());
    reads
}

const HOT: [f64; 3] = [1.0, 0.0, 0.0];
const FETCHED: [f64; 3] = [1.0, 1.0, 0.0];
const COLD: [f64; 3] = [0.0, 0.0, 1.0];

/// A group, and Ana and Ben at each of its nodes.
async fn start(nodes: usize, settings: &[(&str, &str)]) -> (Group, Vec<(Clients, Clients)>) {
    let group = Group::start(nodes, settings);
    let mut users = Vec::new();
    for n in 0..nodes {
        users.push((group.node(n).user("ana").await, group.node(n).user("ben").await));
    }
    users[0].0.create_room("r", RoomKind::Private, &["ben"]).await;
    (group, users)
}

async fn say(clients: &mut Clients, from: usize, to: usize) {
    for n in from..to {
        clients.say("r", &format!("text {n}")).await;
    }
}

#[tokio::test]
async fn the_newest_page_is_read_hot_and_is_what_the_database_says() {
    let (group, mut users) = start(2, &[]).await;
    say(&mut users[0].0, 0, 30).await;
    group.until_kept("r", 31).await;
    for page_size in [1, 2, 29, 30, 31, 200] {
        assert_eq!(assert_newest(&group, 0, &users[0].1, page_size).await, HOT, "{page_size}");
    }
    // Nobody at the other node follows the room: it asks Redis once, and again when there is more.
    assert_eq!(assert_newest(&group, 1, &users[1].1, 30).await, FETCHED);
    for page_size in [1, 30] {
        assert_eq!(assert_newest(&group, 1, &users[1].1, page_size).await, HOT, "{page_size}");
    }
    say(&mut users[0].0, 30, 200).await;
    group.until_kept("r", 201).await;
    assert_eq!(assert_newest(&group, 1, &users[1].1, 200).await, FETCHED);
    // One that follows has them without asking.
    let (mut stream, _) = Stream::caught_up(&users[1].1, &[]).await;
    say(&mut users[0].0, 200, 205).await;
    assert_eq!(stream.events(5).await.len(), 5);
    assert_eq!(assert_newest(&group, 1, &users[1].1, 200).await, HOT);
}

#[tokio::test]
async fn a_reaction_shows_at_once_as_each_callers_own_and_what_is_newer_stays_hot() {
    let (group, mut users) = start(3, &[]).await;
    let (mut stream, _) = Stream::caught_up(&users[1].1, &[]).await;
    say(&mut users[0].0, 0, 20).await;
    stream.events(20).await;
    group.until_kept("r", 21).await;
    for (node, expected) in [HOT, HOT, FETCHED].into_iter().enumerate() {
        assert_eq!(assert_newest(&group, node, &users[node].1, 10).await, expected, "at {node}");
    }
    let react = AddReactionRequest { room_id: "r".into(), seq: 15, emoji: "👍".into() };
    users[0].0.chat.add_reaction(react).await.unwrap();
    stream.event().await;
    group.until_kept("r", 22).await;
    for (node, (ana, ben)) in users.iter().enumerate() {
        for (reader, own) in [(ana, true), (ben, false)] {
            let [memory, _, primary] = assert_newest(&group, node, reader, 10).await;
            assert_eq!((memory, primary), (0.0, 1.0), "at {node}");
            let reactions = &page(reader, 6, 0, "").await.0[5].reactions;
            assert_eq!((reactions.len(), reactions[0].reacted_by_caller), (1, own), "at {node}");
            assert_eq!(assert_newest(&group, node, reader, 5).await[0], 1.0, "at {node}");
        }
    }
    let unreact = RemoveReactionRequest { room_id: "r".into(), seq: 15, emoji: "👍".into() };
    users[2].0.chat.remove_reaction(unreact).await.unwrap();
    for (node, (ana, _)) in users.iter().enumerate() {
        assert_newest(&group, node, ana, 10).await;
    }
}

#[tokio::test]
async fn what_was_done_to_messages_shows_at_once_on_every_node() {
    let (group, mut users) = start(3, &[]).await;
    // The second node follows the room, the third does not.
    let (mut stream, _) = Stream::caught_up(&users[1].1, &[]).await;
    say(&mut users[0].0, 0, 20).await;
    let mut events = 20;
    for round in 0..4 {
        for change in 0..4 {
            let by = (round + change) % 3;
            let clients = &mut users[by].0;
            let (room_id, seq) = ("r".to_owned(), 1 + u64::try_from(4 * round + change).unwrap());
            let emoji = "👍".to_owned();
            match change {
                0 => {
                    let text = format!("edited {round}");
                    let edit = EditMessageRequest { room_id, seq, text, ..Default::default() };
                    drop(clients.chat.edit_message(edit).await.unwrap());
                }
                1 => drop(
                    clients
                        .chat
                        .delete_message(DeleteMessageRequest { room_id, seq, reason: String::new() })
                        .await
                        .unwrap(),
                ),
                2 => drop(clients.chat.add_reaction(AddReactionRequest { room_id, seq, emoji }).await.unwrap()),
                _ => {
                    let react = AddReactionRequest { room_id: room_id.clone(), seq, emoji: emoji.clone() };
                    clients.chat.add_reaction(react).await.unwrap();
                    events += 1;
                    let unreact = RemoveReactionRequest { room_id, seq, emoji };
                    clients.chat.remove_reaction(unreact).await.unwrap();
                }
            }
            events += 1;
            for (node, (ana, ben)) in users.iter().enumerate() {
                for reader in [ana, ben] {
                    for page_size in [3, 10, 20] {
                        assert_newest(&group, node, reader, page_size).await;
                    }
                }
            }
        }
    }
    assert_eq!(stream.events(events).await.len(), events);
    // Who reacted is told apart: by a page that both read.
    let seq = 3;
    let shown = |messages: &[Message]| {
        let message = messages.iter().find(|message| message.seq == seq).unwrap();
        message.reactions[0].reacted_by_caller
    };
    for (ana, ben) in &users {
        let (of_ana, of_ben) = (page(ana, 20, 0, "").await.0, page(ben, 20, 0, "").await.0);
        assert_eq!((shown(&of_ana), shown(&of_ben)), (true, false));
    }
    // What came after all that is read hot again.
    say(&mut users[0].0, 20, 25).await;
    stream.events(5).await;
    for (node, expected) in [HOT, HOT, FETCHED].into_iter().enumerate() {
        assert_eq!(assert_newest(&group, node, &users[node].1, 5).await, expected);
    }
}

#[tokio::test]
async fn page_tokens_go_on_below_what_is_hot() {
    let (group, mut users) = start(2, &[("chat.hot_events", "20")]).await;
    say(&mut users[0].0, 0, 60).await;
    group.until_kept("r", 20).await;
    for (node, (_, reader)) in users.iter().enumerate() {
        for page_size in [1, 7, 20, 50] {
            let mut expected = all(reader).await;
            expected.reverse();
            let before = Reads::of(group.node(node)).await;
            let (mut listed, mut token) = page(reader, page_size, 0, "").await;
            while !token.is_empty() {
                let (more, next) = page(reader, page_size, 0, &token).await;
                listed.extend(more);
                token = next;
            }
            assert_eq!(listed, expected, "page size {page_size} at {node}");
            let [memory, _, primary] = Reads::since(before, group.node(node)).await;
            let pages = f64::from(60_u32.div_ceil(page_size.unsigned_abs()));
            assert_eq!(memory + primary, pages, "page size {page_size} at {node}");
            let hot = if page_size > 20 { 0.0 } else { f64::from(20 / page_size) };
            assert_eq!(memory, hot, "page size {page_size} at {node}");
        }
        // From a place in the middle, too.
        for (start, expected) in [(55, (1.0, 0.0)), (30, (0.0, 1.0))] {
            let before = Reads::of(group.node(node)).await;
            let (messages, _) = page(reader, 5, start, "").await;
            assert_eq!(
                messages.iter().map(|m| m.seq).collect::<Vec<_>>(),
                (start - 4..=start).rev().collect::<Vec<_>>()
            );
            // It may have looked in vain whether Redis has more than memory.
            let [memory, _, primary] = Reads::since(before, group.node(node)).await;
            assert_eq!((memory, primary), expected, "from {start} at {node}");
        }
    }
}

#[tokio::test]
async fn what_redis_has_lost_is_read_from_the_database() {
    let (mut group, mut users) = start(2, &[]).await;
    say(&mut users[0].0, 0, 10).await;
    group.until_kept("r", 11).await;
    redis_run(&group.redis, &["LTRIM", &group.kept("r"), "-5", "-1"]);
    group.renew(1);
    let ben = group.node(1).user("ben").await;
    assert_eq!(assert_newest(&group, 1, &ben, 5).await, FETCHED);
    let [memory, _, primary] = assert_newest(&group, 1, &ben, 6).await;
    assert_eq!((memory, primary), (0.0, 1.0), "the list is too short");
    redis_run(&group.redis, &["DEL", &group.kept("r")]);
    group.renew(1);
    let ben = group.node(1).user("ben").await;
    assert_eq!(assert_newest(&group, 1, &ben, 5).await, COLD);
}

#[tokio::test]
async fn nothing_is_kept_where_nothing_may_be() {
    let (group, mut users) = start(2, &[("chat.hot_events", "0")]).await;
    say(&mut users[0].0, 0, 10).await;
    for node in 0..2 {
        let (mut stream, _) = Stream::caught_up(&users[node].1, &[("r", 2)]).await;
        users[0].0.say("r", "more").await;
        stream.event().await;
        for page_size in [1, 200] {
            assert_eq!(assert_newest(&group, node, &users[node].1, page_size).await, COLD);
        }
    }
    assert_eq!(group.length("r"), 0);
}
