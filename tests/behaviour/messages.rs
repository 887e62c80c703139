//! Messages: sending, editing, deleting, reading.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use relay_proto::chat::v1::{
    self as wire, Attachment, DeleteMessageRequest, EditMessageRequest, GetMessageRequest, ListDirection,
    ListMessagesRequest, Message, RoomKind, SendMessageRequest, SendMessagesRequest, frame::Kind, room_event::Event,
    send_result::Result as Sent,
};
use tonic::{Code, Status};

use crate::support::{Clients, Server, Stream, error_of, message};

async fn get(clients: &mut Clients, room: &str, seq: u64) -> Result<Message, Status> {
    let got = clients.chat.get_message(GetMessageRequest { room_id: room.into(), seq }).await?;
    let mut message = got.into_inner().message.unwrap();
    // How far it has come has tests of its own.
    assert!(message.status.take().is_some());
    Ok(message)
}

async fn edit(clients: &mut Clients, room: &str, seq: u64, text: &str) -> Result<Message, Status> {
    let request = EditMessageRequest { room_id: room.into(), seq, text: text.into(), ..EditMessageRequest::default() };
    Ok(clients.chat.edit_message(request).await?.into_inner().message.unwrap())
}

async fn delete(clients: &mut Clients, room: &str, seq: u64) -> Result<(), Status> {
    clients
        .chat
        .delete_message(DeleteMessageRequest { room_id: room.into(), seq, reason: String::new() })
        .await
        .map(drop)
}

fn full(room: &str) -> SendMessageRequest {
    let file = |url: &str, size_bytes| Attachment {
        url: url.into(),
        name: "Bild ä.png".into(),
        mime_type: "image/png".into(),
        size_bytes,
    };
    SendMessageRequest {
        content_type: "text/markdown; charset=utf-8".into(),
        reply_to_seq: 1,
        metadata: HashMap::from([("k".into(), String::new()), ("ключ".into(), "значение".into())]),
        attachments: vec![file("https://a.example/x.png?a=b#c", (1 << 53) - 1), file("http://[::1]:80/", 0)],
        ..message(room, "*hi*\n\t\u{1} 🎉")
    }
}

#[tokio::test]
async fn a_message_comes_back_as_it_was_sent_however_it_is_read() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ana.say("r", "first").await;
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    let sent = full("r");
    let receipt = ana.chat.send_message(sent.clone()).await.unwrap().into_inner().receipt.unwrap();
    assert_eq!((receipt.room_id.as_str(), receipt.seq, receipt.position, receipt.duplicate), ("r", 2, 4, false));
    assert_eq!(receipt.client_message_id, sent.client_message_id);

    let expected = Message {
        room_id: "r".into(),
        seq: 2,
        position: 4,
        sender_id: "ana".into(),
        client_message_id: sent.client_message_id,
        text: sent.text,
        content_type: sent.content_type,
        reply_to_seq: 1,
        metadata: sent.metadata,
        attachments: sent.attachments,
        created_at: receipt.created_at,
        ..Message::default()
    };
    let event = stream.event().await;
    assert_eq!((event.occurred_at, event.actor_id.as_str()), (receipt.created_at, "ana"));
    let Some(Event::MessageCreated(created)) = event.event else { panic!("no message") };
    assert_eq!(created.message.unwrap(), expected);
    assert_eq!(get(&mut ben, "r", 2).await.unwrap(), expected);
    assert_eq!(ben.history("r").await[1], expected);
    let (_, replayed) = Stream::caught_up(&ben, &[("r", 3)]).await;
    let messages = replayed.into_iter().filter_map(|kind| match kind {
        Kind::Event(wire::RoomEvent { event: Some(Event::MessageCreated(created)), .. }) => created.message,
        _ => None,
    });
    assert_eq!(messages.collect::<Vec<_>>(), [expected]);
}

#[tokio::test]
async fn limits_can_be_filled_to_the_brim() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let brimful = SendMessageRequest {
        content_type: format!("a/{}", "b".repeat(125)),
        metadata: (0..16).map(|i| (format!("{i:064}"), "v".repeat(512))).collect(),
        attachments: vec![
            Attachment {
                url: format!("https://a.example/{}", "x".repeat(2_048 - 18)),
                name: "n".repeat(255),
                mime_type: "a/b".into(),
                size_bytes: (1 << 53) - 1,
            };
            10
        ],
        ..message("r", &"ä".repeat(16_384))
    };
    ana.chat.send_message(brimful.clone()).await.unwrap();
    let got = get(&mut ana, "r", 1).await.unwrap();
    assert_eq!((got.text, got.metadata, got.attachments), (brimful.text, brimful.metadata, brimful.attachments));
    let without_text = SendMessageRequest { attachments: full("r").attachments, ..message("r", "") };
    ana.chat.send_message(without_text).await.unwrap();
}

#[tokio::test]
async fn seqs_and_positions_have_no_holes_however_many_send_at_once() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Public, &[]).await;
    let senders = (0..10).map(|i| {
        let server = &server;
        async move {
            let mut user = server.user(&format!("u{i}")).await;
            user.join("r").await;
            let mut receipts = Vec::new();
            for n in 0..20 {
                receipts.push(user.say("r", &n.to_string()).await);
            }
            assert!(receipts.is_sorted_by(|a, b| a.seq < b.seq && a.position < b.position));
            receipts
        }
    });
    let receipts: Vec<_> = join_all(senders).await.into_iter().flatten().collect();
    let seqs: HashSet<u64> = receipts.iter().map(|r| r.seq).collect();
    assert_eq!(seqs, (1..=200).collect());
    let listed = ana.history("r").await;
    assert_eq!(listed.iter().map(|m| m.seq).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
    let (_, frames) = Stream::caught_up(&ana, &[("r", 0)]).await;
    let positions = frames.iter().filter_map(|kind| if let Kind::Event(e) = kind { Some(e.position) } else { None });
    assert_eq!(positions.collect::<Vec<_>>(), (1..=211).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_has_a_result_for_each_message_in_order() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let twice = message("r", "twice");
    let requests = vec![
        message("r", "one"),
        message("nowhere", "two"),
        message("r", ""),
        twice.clone(),
        twice.clone(),
        SendMessageRequest { text: "other".into(), ..twice },
        SendMessageRequest { reply_to_seq: 2, ..message("r", "six") },
        SendMessageRequest { client_message_id: "x".into(), ..message("r", "seven") },
    ];
    let results = ana.chat.send_messages(SendMessagesRequest { requests }).await.unwrap().into_inner().results;
    let told: Vec<_> = results
        .into_iter()
        .map(|result| match result.result.unwrap() {
            Sent::Receipt(receipt) => format!("{} {}", receipt.seq, receipt.duplicate),
            Sent::Error(error) => {
                let fields: Vec<_> = error.field_violations.iter().map(|v| v.field.as_str()).collect();
                format!("{} {} {}", error.code, error.reason().as_str_name(), fields.join(","))
            }
        })
        .collect();
    assert_eq!(
        told,
        [
            "1 false",
            "5 ERROR_REASON_ROOM_NOT_FOUND ",
            "3 ERROR_REASON_FIELD_INVALID requests[2].text",
            "2 false",
            "2 true",
            "6 ERROR_REASON_CLIENT_MESSAGE_ID_REUSED ",
            "3 false",
            "3 ERROR_REASON_FIELD_INVALID requests[7].client_message_id",
        ]
    );
    let texts: Vec<_> = ana.history("r").await.into_iter().map(|m| m.text).collect();
    assert_eq!(texts, ["one", "twice", "six"]);
    let hundred = (0..100).map(|i| message("r", &i.to_string())).collect();
    let results = ana.chat.send_messages(SendMessagesRequest { requests: hundred }).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 100);
    let texts: Vec<_> = ana.history("r").await.into_iter().skip(3).map(|m| m.text).collect();
    assert_eq!(texts, (0..100).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_edit_replaces_the_content_and_the_same_content_makes_no_event() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.say("r", "first").await;
    ana.chat.send_message(full("r")).await.unwrap();
    let before = get(&mut ana, "r", 2).await.unwrap();
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    let edited = edit(&mut ana, "r", 2, "new").await.unwrap();
    let edited_at = edited.edited_at;
    assert!(edited_at.is_some());
    let expected = Message {
        text: "new".into(),
        content_type: "text/plain".into(),
        metadata: HashMap::new(),
        attachments: vec![],
        edited_at,
        ..before
    };
    assert_eq!(edited, expected);
    assert_eq!(edit(&mut ana, "r", 2, "new").await.unwrap(), expected);
    assert_eq!(get(&mut ana, "r", 2).await.unwrap(), expected);
    ana.say("r", "next").await;
    let event = stream.event().await;
    assert_eq!(event.position, 4);
    let Some(Event::MessageEdited(seen)) = event.event else { panic!("no edit") };
    assert_eq!(seen.message.unwrap(), expected);
    assert_eq!(stream.event().await.position, 5, "the second edit made no event");
}

#[tokio::test]
async fn a_deleted_message_leaves_a_tombstone_and_nothing_else() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ben.say("r", "zero").await;
    let sent = ben.chat.send_message(full("r")).await.unwrap().into_inner().receipt.unwrap();
    edit(&mut ben, "r", 2, "edited secret").await.unwrap();
    ben.chat.add_reaction(wire::AddReactionRequest { room_id: "r".into(), seq: 2, emoji: "👍".into() }).await.unwrap();
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    delete(&mut ana, "r", 2).await.unwrap();
    delete(&mut ben, "r", 2).await.unwrap();
    let event = stream.event().await;
    assert_eq!((event.position, event.actor_id.as_str()), (7, "ana"));
    assert_eq!(event.event, Some(Event::MessageDeleted(wire::MessageDeleted { seq: 2, reason: String::new() })));

    let tombstone = get(&mut ben, "r", 2).await.unwrap();
    assert!(tombstone.deleted_at.is_some());
    let expected = Message {
        room_id: "r".into(),
        seq: 2,
        position: sent.position,
        sender_id: "ben".into(),
        client_message_id: sent.client_message_id,
        reply_to_seq: 1,
        created_at: sent.created_at,
        edited_at: tombstone.edited_at,
        deleted_at: tombstone.deleted_at,
        deleted_by: "ana".into(),
        ..Message::default()
    };
    assert_eq!(tombstone, expected);
    assert_eq!(ben.history("r").await[1], expected);
    // A replay of everything has no trace of the text either.
    let (_, frames) = Stream::caught_up(&ben, &[("r", 0)]).await;
    assert_eq!(frames.iter().filter(|kind| matches!(kind, Kind::Event(_))).count(), 7);
    assert!(!format!("{frames:?}").contains("secret"));
    assert!(!format!("{frames:?}").contains("значение"));
    for refused in [
        edit(&mut ben, "r", 2, "x").await.map(drop),
        ben.chat
            .add_reaction(wire::AddReactionRequest { room_id: "r".into(), seq: 2, emoji: "👍".into() })
            .await
            .map(drop),
    ] {
        assert_eq!(error_of(&refused.unwrap_err()), (Code::FailedPrecondition, "MESSAGE_DELETED".into(), vec![]));
    }
}

#[tokio::test]
async fn a_replay_shows_an_edited_message_as_it_is_now() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.say("r", "typo").await;
    for text in ["typo 2", "right"] {
        edit(&mut ana, "r", 1, text).await.unwrap();
    }
    let (_, frames) = Stream::caught_up(&ana, &[("r", 1)]).await;
    let texts: Vec<_> = frames
        .iter()
        .filter_map(|kind| match kind {
            Kind::Event(wire::RoomEvent { event: Some(Event::MessageCreated(e)), .. }) => e.message.as_ref(),
            Kind::Event(wire::RoomEvent { event: Some(Event::MessageEdited(e)), .. }) => e.message.as_ref(),
            _ => None,
        })
        .map(|message| message.text.as_str())
        .collect();
    assert_eq!(texts, ["right"; 3]);
}

#[tokio::test]
async fn messages_are_listed_in_both_directions_from_anywhere() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    for i in 1..=60 {
        ana.say("r", &i.to_string()).await;
    }
    let mut list = async |direction: ListDirection, start_seq, page_size| {
        let (mut all, mut pages, mut page_token) = (Vec::new(), 0, String::new());
        loop {
            let room_id = "r".into();
            let request =
                ListMessagesRequest { room_id, direction: direction.into(), start_seq, page_size, page_token };
            let page = ana.chat.list_messages(request).await.unwrap().into_inner();
            assert_eq!(page.position, 61);
            all.extend(page.messages.iter().map(|m| m.seq));
            (pages, page_token) = (pages + 1, page.next_page_token);
            if page_token.is_empty() {
                return (all, pages);
            }
        }
    };
    let down: Vec<u64> = (1..=60).rev().collect();
    let up: Vec<u64> = (1..=60).collect();
    let (older, newer) = (ListDirection::Older, ListDirection::Newer);
    assert_eq!(list(ListDirection::Unspecified, 0, 0).await, (down.clone(), 2));
    assert_eq!(list(older, 0, 60).await, (down.clone(), 1));
    assert_eq!(list(newer, 0, 7).await, (up.clone(), 9));
    assert_eq!(list(older, 5, 2).await, (vec![5, 4, 3, 2, 1], 3));
    assert_eq!(list(newer, 58, 200).await, (vec![58, 59, 60], 1));
    assert_eq!(list(older, 1_000, 200).await, (down, 1));
    assert_eq!(list(newer, 1_000, 200).await, (vec![], 1));
}

#[tokio::test]
async fn an_empty_room_lists_nothing() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let request = ListMessagesRequest { room_id: "r".into(), ..ListMessagesRequest::default() };
    let page = ana.chat.list_messages(request).await.unwrap().into_inner();
    assert_eq!((page.messages.len(), page.next_page_token.as_str(), page.position), (0, "", 1));
}

#[tokio::test]
async fn a_page_of_large_messages_ends_early() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let text = "x".repeat(32_768);
    for _ in 0..40 {
        ana.say("r", &text).await;
    }
    let request = ListMessagesRequest { room_id: "r".into(), page_size: 200, ..ListMessagesRequest::default() };
    let page = ana.chat.list_messages(request).await.unwrap().into_inner();
    assert_eq!(page.messages.len(), 32, "1 MiB of content");
    assert!(!page.next_page_token.is_empty());
    assert_eq!(ana.history("r").await.len(), 40);
}
