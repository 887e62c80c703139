//! Every call of the SDK once, against the real server.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use relay_sdk::{
    Attachment, ErrorKind, ErrorReason, History, MemberRole, NewContent, NewRoom, OutgoingMessage, RoomChanges,
    RoomKind, RoomScope,
};

use crate::support::Server;

#[tokio::test]
async fn rooms_and_members_through_the_sdk() {
    let server = Server::start();
    let (ana, ben) = (server.sdk("ana"), server.sdk("ben"));
    assert!(!ana.ping().await.unwrap().version.is_empty());

    let new = NewRoom::public("general").title("General").description("All").metadata("k", "v").member("cleo");
    let room = ana.create_room(new.clone()).await.unwrap();
    assert_eq!((room.room_id.as_str(), room.kind(), room.member_count), ("general", RoomKind::Public, 2));
    assert_eq!(room.metadata["k"], "v");
    let taken = ana.create_room(new).await.unwrap_err();
    assert_eq!((taken.kind(), taken.reason()), (ErrorKind::AlreadyExists, Some(ErrorReason::RoomExists)));
    let unnamed = ana.create_room(NewRoom::private_unnamed()).await.unwrap().room_id;
    uuid::Uuid::parse_str(&unnamed).unwrap();
    let hidden = ben.get_room(&unnamed).await.unwrap_err();
    assert_eq!((hidden.kind(), hidden.reason()), (ErrorKind::NotFound, Some(ErrorReason::RoomNotFound)));

    let joined = ben.join_room("general").await.unwrap();
    assert_eq!(joined.membership.unwrap().role(), MemberRole::Member);
    let added =
        ana.add_members("general", [("dora", MemberRole::ReadOnly), ("emil", MemberRole::Admin)]).await.unwrap();
    assert_eq!(
        added.iter().map(|m| (m.user_id.as_str(), m.role())).collect::<Vec<_>>()[1],
        ("emil", MemberRole::Admin)
    );
    let updated = ana.update_member("general", "dora", MemberRole::Member).await.unwrap();
    assert_eq!(updated.role(), MemberRole::Member);
    let refused = ben.remove_member("general", "cleo").await.unwrap_err();
    assert_eq!((refused.kind(), refused.reason()), (ErrorKind::PermissionDenied, Some(ErrorReason::RoleInsufficient)));
    ana.remove_member("general", "cleo").await.unwrap();
    ben.leave_room("general").await.unwrap();
    let first = ana.list_members("general", 2, None).await.unwrap();
    assert_eq!(first.items.len(), 2);
    let second = ana.list_members("general", 2, first.next).await.unwrap();
    assert_eq!((second.items[0].user_id.as_str(), second.next), ("emil", None));
    let all: Vec<_> = ana.list_members_all("general").try_collect().await.unwrap();
    assert_eq!(all.iter().map(|m| m.user_id.as_str()).collect::<Vec<_>>(), ["ana", "dora", "emil"]);

    let changes = RoomChanges::new().title("Everyone").metadata(HashMap::from([("a".into(), "b".into())]));
    let changed = ana.update_room("general", changes).await.unwrap();
    assert_eq!((changed.title.as_str(), changed.description.as_str()), ("Everyone", "All"));
    assert_eq!(changed.metadata, HashMap::from([("a".into(), "b".into())]));

    let direct = ana.get_direct_room("ben").await.unwrap();
    assert_eq!(direct.direct_user_id, "ben");
    assert_eq!(ben.get_direct_room("ana").await.unwrap().room.unwrap().room_id, direct.room.unwrap().room_id);
    for i in 0..60 {
        ana.create_room(NewRoom::public(format!("many-{i}"))).await.unwrap();
    }
    let page = ana.list_rooms(RoomScope::Joined, 10, None).await.unwrap();
    assert!(page.items.len() == 10 && page.next.is_some());
    let joined: Vec<_> = ana.list_rooms_all(RoomScope::Joined).try_collect().await.unwrap();
    assert_eq!(joined.len(), 63);
    let public: Vec<_> = ben.list_rooms_all(RoomScope::Public).try_collect().await.unwrap();
    assert_eq!(public.len(), 61);
    ana.delete_room("general").await.unwrap();
    assert_eq!(ana.get_room("general").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn messages_through_the_sdk() {
    let server = Server::start();
    let ana = server.sdk("ana");
    ana.create_room(NewRoom::private("general").member("ben")).await.unwrap();
    let file = Attachment {
        url: "https://example.com/a.png".into(),
        name: "a.png".into(),
        mime_type: "image/png".into(),
        size_bytes: 12,
    };
    let first = OutgoingMessage::text("general", "*hi*").content_type("text/markdown").metadata("k", "v");
    let first = first.attachment(file.clone());
    let receipt = ana.send(first.clone()).await.unwrap();
    assert_eq!((receipt.seq, receipt.duplicate), (1, false));
    assert!(ana.send(first.clone()).await.unwrap().duplicate);
    let other = OutgoingMessage::text("general", "other").with_client_message_id(first.client_message_id());
    let reused = ana.send(other).await.unwrap_err();
    assert_eq!((reused.kind(), reused.reason()), (ErrorKind::AlreadyExists, Some(ErrorReason::ClientMessageIdReused)));
    let empty = ana.send(OutgoingMessage::text("general", "")).await.unwrap_err();
    assert_eq!((empty.kind(), empty.field_violations()[0].field.as_str()), (ErrorKind::InvalidArgument, "text"));

    let batch = (2..=120).map(|i| OutgoingMessage::text("general", i.to_string()).reply_to(1));
    let batch: Vec<_> = batch.collect();
    for some in batch.chunks(100) {
        let results = ana.send_batch(some.to_vec()).await.unwrap();
        assert!(results.iter().all(Result::is_ok));
    }
    let mixed = [OutgoingMessage::text("nowhere", "a"), OutgoingMessage::text("general", "121")];
    let results = ana.send_batch(mixed).await.unwrap();
    assert_eq!(results[0].as_ref().unwrap_err().reason(), Some(ErrorReason::RoomNotFound));
    assert_eq!(results[1].as_ref().unwrap().seq, 121);

    let read = ana.get_message(("general", 1)).await.unwrap();
    assert_eq!((read.text.as_str(), read.content_type.as_str()), ("*hi*", "text/markdown"));
    assert_eq!((&read.attachments[0], read.metadata["k"].as_str()), (&file, "v"));
    let edited = ana.edit(&read, NewContent::text("hello").metadata("n", "m")).await.unwrap();
    assert!(edited.edited_at.is_some() && edited.attachments.is_empty());
    ana.react(&read, "👍").await.unwrap();
    ana.react(&read, "🎉").await.unwrap();
    ana.unreact(&read, "👍").await.unwrap();
    ana.delete(("general", 2)).await.unwrap();
    let read = ana.get_message(&edited).await.unwrap();
    assert_eq!(read.reactions.iter().map(|r| (r.emoji.as_str(), r.count)).collect::<Vec<_>>(), [("🎉", 1)]);

    let newest = ana.history(History::older("general").page_size(5)).await.unwrap();
    assert_eq!(newest.messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [121, 120, 119, 118, 117]);
    let next = ana.history(History::older("general").page_size(5).page(newest.next.unwrap())).await.unwrap();
    assert_eq!(next.messages[0].seq, 116);
    assert_eq!(newest.position, 128);
    let older: Vec<_> = ana.history_all(History::older("general")).try_collect().await.unwrap();
    assert_eq!(older.iter().map(|m| m.seq).collect::<Vec<_>>(), (1..=121).rev().collect::<Vec<_>>());
    let newer: Vec<_> = ana.history_all(History::newer("general").start(100).page_size(7)).try_collect().await.unwrap();
    assert_eq!(newer.iter().map(|m| m.seq).collect::<Vec<_>>(), (100..=121).collect::<Vec<_>>());
    let tombstone = &older[119];
    assert!(tombstone.seq == 2 && tombstone.deleted_at.is_some() && tombstone.text.is_empty());
}
