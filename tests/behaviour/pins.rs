//! Pinned messages.

use relay_proto::chat::v1::{self as wire, MemberRole, RoomKind, room_event::Event};
use tonic::{Code, Response, Status};

use crate::support::{Clients, Server, Stream, error_of, message};

async fn pin(clients: &mut Clients, room: &str, seq: u64) -> Result<Response<wire::PinMessageResponse>, Status> {
    clients.chat.pin_message(wire::PinMessageRequest { room_id: room.into(), seq }).await
}

async fn unpin(clients: &mut Clients, room: &str, seq: u64) -> Result<Response<wire::UnpinMessageResponse>, Status> {
    clients.chat.unpin_message(wire::UnpinMessageRequest { room_id: room.into(), seq }).await
}

async fn pinned(clients: &mut Clients, room: &str) -> Vec<wire::PinnedMessage> {
    let request = wire::ListPinnedMessagesRequest { room_id: room.into() };
    clients.chat.list_pinned_messages(request).await.unwrap().into_inner().messages
}

fn seqs(pinned: &[wire::PinnedMessage]) -> Vec<u64> {
    pinned.iter().map(|pin| pin.message.as_ref().unwrap().seq).collect()
}

fn reason<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> String {
    error_of(&answer.unwrap_err()).1
}

#[tokio::test]
async fn the_last_pinned_comes_first_and_each_message_as_it_is_now() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ana.add("r", "bob", MemberRole::Admin).await;
    for text in ["1", "2", "3"] {
        ben.say("r", text).await;
    }
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    assert_eq!(pinned(&mut ben, "r").await, []);
    let mut bob = server.user("bob").await;
    pin(&mut ana, "r", 2).await.unwrap();
    pin(&mut bob, "r", 1).await.unwrap();
    // Again changes nothing: neither the order nor who pinned it.
    pin(&mut bob, "r", 2).await.unwrap();
    unpin(&mut bob, "r", 3).await.unwrap();
    let edit = wire::EditMessageRequest { room_id: "r".into(), seq: 2, text: "two".into(), ..Default::default() };
    let edited = ben.chat.edit_message(edit).await.unwrap().into_inner().message.unwrap();
    for n in 0..server.count() {
        let listed = pinned(&mut server.node(n).user("ben").await, "r").await;
        assert_eq!(seqs(&listed), [1, 2]);
        assert_eq!((listed[0].pinned_by.as_str(), listed[1].pinned_by.as_str()), ("bob", "ana"));
        assert_eq!(listed[1].message.as_ref(), Some(&edited));
        let at = |i: usize| listed[i].pinned_at.map(|at| (at.seconds, at.nanos)).unwrap();
        assert!(at(1) <= at(0));
    }
    unpin(&mut ana, "r", 1).await.unwrap();
    unpin(&mut ana, "r", 1).await.unwrap();
    pin(&mut ana, "r", 3).await.unwrap();
    assert_eq!(seqs(&pinned(&mut ben, "r").await), [3, 2]);

    let told: Vec<_> = stream.events(5).await.into_iter().map(|event| (event.actor_id, event.event.unwrap())).collect();
    let pin = |actor: &str, seq| (actor.to_owned(), Event::MessagePinned(wire::MessagePinned { seq }));
    let unpinned = Event::MessageUnpinned(wire::MessageUnpinned { seq: 1 });
    assert_eq!(told[..2], [pin("ana", 2), pin("bob", 1)]);
    assert!(matches!(told[2].1, Event::MessageEdited(_)));
    assert_eq!(told[3..], [("ana".to_owned(), unpinned), pin("ana", 3)]);
}

#[tokio::test]
async fn owners_and_admins_pin_and_in_direct_rooms_both() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    ben.say("r", "mine").await;
    assert_eq!(reason(pin(&mut ben, "r", 1).await), "ROLE_INSUFFICIENT");
    pin(&mut ana, "r", 1).await.unwrap();
    assert_eq!(reason(unpin(&mut ben, "r", 1).await), "ROLE_INSUFFICIENT");
    let mut eve = server.user("eve").await;
    assert_eq!(reason(pin(&mut eve, "r", 1).await), "NOT_A_MEMBER");
    let list = wire::ListPinnedMessagesRequest { room_id: "r".into() };
    assert_eq!(reason(eve.chat.list_pinned_messages(list).await), "NOT_A_MEMBER");

    let request = wire::GetDirectRoomRequest { user_id: "ben".into() };
    let room = ana.rooms.get_direct_room(request).await.unwrap().into_inner().room.unwrap().room.unwrap().room_id;
    ana.say(&room, "1").await;
    pin(&mut ben, &room, 1).await.unwrap();
    unpin(&mut ana, &room, 1).await.unwrap();
    assert_eq!(pinned(&mut ben, &room).await, []);
    assert_eq!(reason(pin(&mut eve, &room, 1).await), "ROOM_NOT_FOUND");
}

#[tokio::test]
async fn a_deleted_message_is_not_pinned_any_more_and_cannot_be() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    for text in ["1", "2"] {
        ben.say("r", text).await;
        pin(&mut ana, "r", if text == "1" { 1 } else { 2 }).await.unwrap();
    }
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    // His own, which he may delete, though he may not unpin.
    let delete = wire::DeleteMessageRequest { room_id: "r".into(), seq: 1, reason: "wrong room".into() };
    for _ in 0..2 {
        ben.chat.delete_message(delete.clone()).await.unwrap();
    }
    assert_eq!(seqs(&pinned(&mut ana, "r").await), [2]);
    let [unpinned, deleted] = <[_; 2]>::try_from(stream.events(2).await).unwrap();
    assert_eq!((unpinned.actor_id.as_str(), deleted.actor_id.as_str()), ("ben", "ben"));
    assert_eq!(unpinned.event, Some(Event::MessageUnpinned(wire::MessageUnpinned { seq: 1 })));
    let reason_given = "wrong room".to_owned();
    assert_eq!(deleted.event, Some(Event::MessageDeleted(wire::MessageDeleted { seq: 1, reason: reason_given })));
    let status = pin(&mut ana, "r", 1).await.unwrap_err();
    assert_eq!(error_of(&status), (Code::FailedPrecondition, "MESSAGE_DELETED".into(), vec![]));
    unpin(&mut ana, "r", 1).await.unwrap();
    ana.say("r", "nothing else happened").await;
    assert!(matches!(stream.event().await.event, Some(Event::MessageCreated(_))));
}

#[tokio::test]
async fn a_room_has_at_most_fifty_pinned_messages() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.say_all("r", (1..=51).map(|i| i.to_string())).await;
    for seq in 1..=50 {
        pin(&mut ana, "r", seq).await.unwrap();
    }
    let status = pin(&mut ana, "r", 51).await.unwrap_err();
    assert_eq!(error_of(&status), (Code::ResourceExhausted, "TOO_MANY_PINS".into(), vec![]));
    pin(&mut ana, "r", 50).await.unwrap();
    assert_eq!(seqs(&pinned(&mut ana, "r").await), (1..=50).rev().collect::<Vec<_>>());
    unpin(&mut ana, "r", 7).await.unwrap();
    pin(&mut ana, "r", 51).await.unwrap();
    assert_eq!(seqs(&pinned(&mut ana, "r").await)[0], 51);
}

#[tokio::test]
async fn fifty_pinned_messages_as_large_as_they_may_be_are_listed() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let users: Vec<String> = (0..50).map(|n| format!("{n:0>128}")).collect();
    ana.create_room("r", RoomKind::Private, &users.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let attachment = wire::Attachment {
        url: format!("https://{:a<2040}", ""),
        name: "n".repeat(255),
        mime_type: format!("image/{:a<121}", ""),
        size_bytes: (1 << 53) - 1,
    };
    let mention = |(n, user): (usize, &String)| {
        let target = Some(wire::mention::Target::UserId(user.clone()));
        wire::Mention { offset: 32_000 + 2 * n as u32, length: 1, target }
    };
    for seq in 1..=50 {
        let request = wire::SendMessageRequest {
            content_type: format!("text/{:a<122}", ""),
            metadata: (0..16).map(|n| (format!("{n:0>64}"), "v".repeat(512))).collect(),
            attachments: vec![attachment.clone(); 10],
            mentions: users.iter().enumerate().map(mention).collect(),
            ..message("r", &"t".repeat(32 * 1024))
        };
        ana.chat.send_message(request).await.unwrap();
        pin(&mut ana, "r", seq).await.unwrap();
    }
    let listed = pinned(&mut ana, "r").await;
    let bytes: usize = listed.iter().map(prost::Message::encoded_len).sum();
    assert_eq!(listed.len(), 50);
    assert!(bytes > 3_600_000, "it is near what clients take: {bytes}");
}
