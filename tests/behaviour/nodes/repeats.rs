//! What is asked of several nodes at once happens once.

use futures_util::future::join_all;
use relay_proto::chat::v1::{
    AddReactionRequest, DeleteMessageRequest, EditMessageRequest, JoinRoomRequest, LeaveRoomRequest,
    RemoveReactionRequest, RoomKind, SendReceipt, frame::Kind, room_event::Event,
};

use super::Group;
use crate::support::{Clients, Stream, message};

/// A user at each of three nodes.
async fn everywhere(group: &Group, user: &str) -> Vec<Clients> {
    let mut clients = Vec::new();
    for n in 0..group.server.count() {
        clients.push(group.node(n).user(user).await);
    }
    clients
}

/// All events of the room "r", from the log.
async fn log(clients: &Clients) -> Vec<Event> {
    let (_, frames) = Stream::caught_up(clients, &[("r", 0)]).await;
    let events = frames.into_iter().filter_map(|kind| match kind {
        Kind::Event(event) => event.event,
        _ => None,
    });
    events.collect()
}

#[tokio::test]
async fn an_id_that_goes_to_several_nodes_at_once_is_one_message() {
    const ROUNDS: usize = 60;
    let group = Group::start(3, &[]);
    let mut ana = everywhere(&group, "ana").await;
    ana[0].create_room("r", RoomKind::Private, &[]).await;
    for round in 0..ROUNDS {
        // To two and to three of them, some of them twice.
        let nodes = [&[0, 1][..], &[1, 2], &[0, 1, 2], &[2, 0, 2, 0], &[0, 0, 1, 1, 2, 2]][round % 5];
        let request = message("r", &round.to_string());
        let sends = nodes.iter().map(|n| {
            let (mut ana, request) = (ana[*n].clone(), request.clone());
            async move { ana.chat.send_message(request).await.unwrap().into_inner().receipt.unwrap() }
        });
        let receipts: Vec<SendReceipt> = join_all(sends).await;
        assert_eq!(receipts.iter().filter(|receipt| !receipt.duplicate).count(), 1, "{receipts:?}");
        let first = SendReceipt { duplicate: false, ..receipts[0].clone() };
        assert_eq!(first.seq, round as u64 + 1);
        for receipt in receipts {
            assert_eq!(SendReceipt { duplicate: false, ..receipt }, first);
        }
    }
    assert_eq!(log(&ana[1]).await.len(), ROUNDS + 1);
    assert_eq!(ana[2].history("r").await.len(), ROUNDS);
}

/// Has every node asked the same at once, twice.
async fn at_once<F: Future<Output = ()>>(clients: &[Clients], ask: impl Fn(Clients) -> F) {
    join_all(clients.iter().chain(clients).map(|clients| ask(clients.clone()))).await;
}

#[tokio::test]
async fn edits_reactions_deletions_and_joinings_that_are_repeated_at_once_change_nothing_twice() {
    const ROUNDS: u64 = 15;
    let group = Group::start(3, &[]);
    let mut ana = everywhere(&group, "ana").await;
    let ben = everywhere(&group, "ben").await;
    ana[0].create_room("r", RoomKind::Public, &[]).await;
    for seq in 1..=ROUNDS {
        ana[0].say("r", "first").await;
        at_once(&ben, async |mut ben| {
            drop(ben.rooms.join_room(JoinRoomRequest { room_id: "r".into() }).await.unwrap())
        })
        .await;
        let edit = EditMessageRequest { room_id: "r".into(), seq, text: "second".into(), ..Default::default() };
        at_once(&ana, async |mut ana| drop(ana.chat.edit_message(edit.clone()).await.unwrap())).await;
        let emoji = || "👍".to_owned();
        at_once(&ben, async |mut ben| {
            let react = AddReactionRequest { room_id: "r".into(), seq, emoji: emoji() };
            drop(ben.chat.add_reaction(react).await.unwrap());
        })
        .await;
        at_once(&ben, async |mut ben| {
            let unreact = RemoveReactionRequest { room_id: "r".into(), seq, emoji: emoji() };
            drop(ben.chat.remove_reaction(unreact).await.unwrap());
        })
        .await;
        at_once(&ana, async |mut ana| {
            let delete = DeleteMessageRequest { room_id: "r".into(), seq, reason: String::new() };
            drop(ana.chat.delete_message(delete).await.unwrap());
        })
        .await;
        ben[0].clone().rooms.leave_room(LeaveRoomRequest { room_id: "r".into() }).await.unwrap();
    }
    for (n, ana) in ana.iter().enumerate() {
        let log = log(ana).await;
        let count = |of: fn(&Event) -> bool| log.iter().filter(|event| of(event)).count() as u64;
        assert_eq!(log.len() as u64, 1 + 7 * ROUNDS, "at node {n}: {log:?}");
        assert_eq!(count(|event| matches!(event, Event::MemberJoined(_))), 1 + ROUNDS);
        assert_eq!(count(|event| matches!(event, Event::MessageEdited(_))), ROUNDS);
        assert_eq!(count(|event| matches!(event, Event::ReactionAdded(_))), ROUNDS);
        assert_eq!(count(|event| matches!(event, Event::ReactionRemoved(_))), ROUNDS);
        assert_eq!(count(|event| matches!(event, Event::MessageDeleted(_))), ROUNDS);
        assert_eq!(count(|event| matches!(event, Event::MemberLeft(_))), ROUNDS);
    }
}
