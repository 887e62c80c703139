//! What happened while a client was away.

use relay_proto::chat::v1::{
    self as wire, AddReactionRequest, DeleteMessageRequest, EditMessageRequest, MemberRole, RemoveReactionRequest,
    RoomKind, UpdateMemberRequest, UpdateRoomRequest, frame::Kind, room_event::Event,
};

use crate::support::{Clients, Server, Stream, raw_stream};

async fn edit(clients: &mut Clients, room: &str, seq: u64, text: &str) {
    let request = EditMessageRequest { room_id: room.into(), seq, text: text.into(), ..EditMessageRequest::default() };
    clients.chat.edit_message(request).await.unwrap();
}

async fn delete(clients: &mut Clients, room: &str, seq: u64) {
    clients
        .chat
        .delete_message(DeleteMessageRequest { room_id: room.into(), seq, reason: String::new() })
        .await
        .unwrap();
}

/// An event in one word and its numbers.
fn brief(event: &wire::RoomEvent) -> String {
    match event.event.as_ref().unwrap() {
        Event::MessageCreated(created) => {
            let message = created.message.as_ref().unwrap();
            let gone = if message.deleted_at.is_some() { " gone" } else { "" };
            format!("created {} {:?}{gone}", message.seq, message.text)
        }
        Event::MessageEdited(edited) => {
            let message = edited.message.as_ref().unwrap();
            let gone = if message.deleted_at.is_some() { " gone" } else { "" };
            format!("edited {} {:?}{gone}", message.seq, message.text)
        }
        Event::MessageDeleted(deleted) => format!("deleted {}", deleted.seq),
        Event::ReactionAdded(added) => format!("+{} {} {}", added.emoji, added.seq, event.actor_id),
        Event::ReactionRemoved(removed) => format!("-{} {} {}", removed.emoji, removed.seq, event.actor_id),
        Event::MemberJoined(joined) => format!("joined {}", joined.member.as_ref().unwrap().user_id),
        Event::MemberLeft(left) => format!("left {}", left.user_id),
        Event::MemberUpdated(updated) => {
            let member = updated.member.as_ref().unwrap();
            format!("{} is {:?}", member.user_id, member.role())
        }
        Event::RoomUpdated(updated) => format!("titled {:?}", updated.room.as_ref().unwrap().title),
        Event::RoomDeleted(_) => "room deleted".into(),
        Event::MessagePinned(pinned) => format!("pinned {}", pinned.seq),
        Event::MessageUnpinned(unpinned) => format!("unpinned {}", unpinned.seq),
    }
}

/// Does one of everything to the room `general`, which has one message. Leaves it with two edits, a deletion and more.
async fn one_of_everything(ana: &mut Clients, ben: &mut Clients) {
    ana.say("general", "secret").await;
    ben.say("general", "typo").await;
    edit(ben, "general", 3, "better").await;
    let emoji = "👍".to_owned();
    let reaction = AddReactionRequest { room_id: "general".into(), seq: 3, emoji: emoji.clone() };
    ana.chat.add_reaction(reaction).await.unwrap();
    let reaction = RemoveReactionRequest { room_id: "general".into(), seq: 3, emoji };
    ana.chat.remove_reaction(reaction).await.unwrap();
    edit(ana, "general", 2, "more secret").await;
    delete(ana, "general", 2).await;
    ana.add("general", "cleo", MemberRole::Member).await;
    let admin = MemberRole::Admin.into();
    let role = UpdateMemberRequest { room_id: "general".into(), user_id: "cleo".into(), role: admin };
    ana.rooms.update_member(role).await.unwrap();
    let kick = wire::RemoveMemberRequest { room_id: "general".into(), user_id: "cleo".into() };
    ana.rooms.remove_member(kick).await.unwrap();
    let title = UpdateRoomRequest {
        room_id: "general".into(),
        title: "All of us".into(),
        update_mask: Some(prost_types::FieldMask { paths: vec!["title".into()] }),
        ..UpdateRoomRequest::default()
    };
    ana.rooms.update_room(title).await.unwrap();
    edit(ben, "general", 3, "best").await;
}

#[tokio::test]
async fn what_was_done_while_away_is_replayed_in_order_as_it_is_now() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("general", RoomKind::Private, &["ben"]).await;
    ana.say("general", "first").await;
    let (mut live, _) = Stream::caught_up(&ben, &[]).await;
    one_of_everything(&mut ana, &mut ben).await;

    let (_, frames) = Stream::caught_up(&ben, &[("general", 3)]).await;
    let events: Vec<_> =
        frames.into_iter().filter_map(|kind| if let Kind::Event(e) = kind { Some(e) } else { None }).collect();
    let told: Vec<String> = events.iter().map(brief).collect();
    let now = [
        "created 2 \"\" gone",
        "created 3 \"best\"",
        "edited 3 \"best\"",
        "+👍 3 ana",
        "-👍 3 ana",
        "edited 2 \"\" gone",
        "deleted 2",
        "joined cleo",
        "cleo is Admin",
        "left cleo",
        "titled \"All of us\"",
        "edited 3 \"best\"",
    ];
    assert_eq!(told, now);
    for (event, position) in events.iter().zip(4..) {
        assert_eq!((event.position, event.previous_position), (position, position - 1));
    }
    // Who was there saw the same events, each as it was at its time.
    let seen: Vec<_> = live.events(events.len()).await;
    assert_eq!(seen.iter().map(|e| e.position).collect::<Vec<_>>(), (4..=15).collect::<Vec<_>>());
    assert_eq!(brief(&seen[0]), "created 2 \"secret\"");
    for (live, replayed) in seen.iter().zip(&events) {
        assert_eq!((&live.actor_id, live.occurred_at), (&replayed.actor_id, replayed.occurred_at));
    }
}

#[tokio::test]
async fn the_text_of_a_deleted_message_is_in_no_byte_of_a_replay() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("general", RoomKind::Private, &["ben"]).await;
    ana.say("general", "first").await;
    one_of_everything(&mut ana, &mut ben).await;
    let mut stream =
        raw_stream::RawStream::subscribe(server.address(), "ben", &[("general", 0)], raw_stream::WIDE).await;
    loop {
        let bytes = stream.next_bytes().await.unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
        if matches!(raw_stream::kind(&bytes), Kind::CaughtUp(_)) {
            break;
        }
    }
}

#[tokio::test]
async fn live_events_of_other_rooms_arrive_in_the_middle_of_a_long_replay() {
    const MESSAGES: usize = 3_000;
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("long", RoomKind::Private, &[]).await;
    ana.create_room("live", RoomKind::Private, &[]).await;
    ana.say_all("long", (0..MESSAGES).map(|i| format!("{i:02048}"))).await;

    let mut stream = Stream::open(&ana, &[("long", 1)]).await;
    assert_eq!(stream.event().await.room_id, "long");
    ana.say("live", "now").await;
    let mut positions = vec![2];
    let mut live_after = None;
    while positions.len() < MESSAGES {
        let event = stream.event().await;
        match event.room_id.as_str() {
            "long" => positions.push(event.position),
            _ => live_after = Some(positions.len()),
        }
    }
    assert_eq!(positions, (2..MESSAGES as u64 + 2).collect::<Vec<_>>());
    let live_after = live_after.expect("the live event came before the replay was over");
    assert!(live_after < MESSAGES / 2, "after {live_after} of {MESSAGES}");
}

#[tokio::test]
async fn all_rooms_are_replayed_in_turns_and_each_in_order() {
    const ROOMS: usize = 5;
    const MESSAGES: usize = 600;
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let rooms: Vec<String> = (0..ROOMS).map(|i| format!("room-{i}")).collect();
    for room in &rooms {
        ana.create_room(room, RoomKind::Private, &[]).await;
        ana.say_all(room, (0..MESSAGES).map(|i| i.to_string())).await;
    }
    let held: Vec<(&str, u64)> = rooms.iter().map(|room| (room.as_str(), 1)).collect();
    let (_, frames) = Stream::caught_up(&ana, &held).await;
    let order: Vec<_> = frames.iter().filter_map(|k| if let Kind::Event(e) = k { Some(e) } else { None }).collect();
    for room in &rooms {
        let positions: Vec<u64> = order.iter().filter(|e| e.room_id == *room).map(|e| e.position).collect();
        assert_eq!(positions, (2..MESSAGES as u64 + 2).collect::<Vec<_>>());
    }
    // No room waits until another is through.
    let first_end = order.iter().position(|e| e.position == MESSAGES as u64 + 1).unwrap();
    for room in &rooms {
        assert!(order[..first_end].iter().any(|event| event.room_id == *room));
    }
}
