//! Mutes.

use std::time::Duration;

use relay_proto::chat::v1::{self as wire, MemberRole, RoomKind, room_event::Event};
use tonic::Code;

use super::{assert_waits, delete_of, direct, edit_of, field, in_millis, join_of, mute_of, next, reaction, reason};
use crate::support::{Server, Stream, eventually, message};

const MINUTE: i64 = 60_000;

#[tokio::test]
async fn a_muted_member_only_reads_and_takes_back_what_is_theirs() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &["ben", "cy"]).await;
    ben.say("r", "one").await;
    ben.say("r", "two").await;
    ben.chat.add_reaction(reaction("r", 2)).await.unwrap();
    let sent = message("r", "three");
    ben.chat.send_message(sent.clone()).await.unwrap();
    let (mut cys, _) = Stream::caught_up(&server.user("cy").await, &[]).await;

    let until = in_millis(MINUTE);
    let muted =
        ana.moderation.mute_member(mute_of("r", "ben", Some(until))).await.unwrap().into_inner().member.unwrap();
    assert_eq!((muted.user_id.as_str(), muted.muted_until), ("ben", Some(until)));
    let updated = wire::MemberUpdated { member: Some(muted.clone()) };
    assert_eq!(next(&mut cys).await, ("ana".into(), Event::MemberUpdated(updated)));

    let wait = Duration::from_secs(60);
    for n in 0..server.count() {
        let mut ben = server.node(n).user("ben").await;
        assert_waits(ben.chat.send_message(message("r", "no")).await, "MEMBER_MUTED", wait);
        assert_waits(ben.chat.edit_message(edit_of("r", 1, "no")).await, "MEMBER_MUTED", wait);
        assert_waits(ben.chat.add_reaction(reaction("r", 1)).await, "MEMBER_MUTED", wait);
        // What was acknowledged before is answered again.
        assert!(ben.chat.send_message(sent.clone()).await.unwrap().into_inner().receipt.unwrap().duplicate);
        assert_eq!(ben.history("r").await.len(), 3);
    }
    let emoji = "x".to_owned();
    let request = wire::RemoveReactionRequest { room_id: "r".into(), seq: 2, emoji };
    ben.chat.remove_reaction(request).await.unwrap();
    ben.chat.delete_message(delete_of("r", 2, "")).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(next(&mut cys).await.1, Event::ReactionRemoved(_) | Event::MessageDeleted(_)));
    }
    let request = wire::ListMembersRequest { room_id: "r".into(), ..Default::default() };
    assert!(ben.rooms.list_members(request).await.unwrap().into_inner().members.contains(&muted));

    // The same again, and twice the end, is told once.
    ana.moderation.mute_member(mute_of("r", "ben", Some(until))).await.unwrap();
    for end in [None, Some(in_millis(-MINUTE))] {
        let member = ana.moderation.mute_member(mute_of("r", "ben", end)).await.unwrap().into_inner().member.unwrap();
        assert_eq!(member.muted_until, None);
    }
    let (_, event) = next(&mut cys).await;
    assert!(matches!(&event, Event::MemberUpdated(m) if m.member.as_ref().unwrap().muted_until.is_none()), "{event:?}");
    ben.say("r", "I am back").await;
    assert!(matches!(next(&mut cys).await.1, Event::MessageCreated(_)));
}

#[tokio::test]
async fn a_mute_ends_by_itself() {
    let server = Server::start();
    let (mut ana, ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    ana.moderation.mute_member(mute_of("r", "ben", Some(in_millis(1_200)))).await.unwrap();
    let say = message("r", "hello");
    assert_waits(ben.clone().chat.send_message(say.clone()).await, "MEMBER_MUTED", Duration::from_millis(1_200));
    eventually("the end of the mute", async || ben.clone().chat.send_message(say.clone()).await.is_ok()).await;
    assert_eq!(ana.history("r").await.len(), 1);
}

#[tokio::test]
async fn a_mute_outlasts_leaving_and_coming_back() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    let until = in_millis(MINUTE);
    ana.moderation.mute_member(mute_of("r", "ben", Some(until))).await.unwrap();
    for _ in 0..2 {
        ben.rooms.leave_room(wire::LeaveRoomRequest { room_id: "r".into() }).await.unwrap();
        let joined = ben.rooms.join_room(join_of("r")).await.unwrap().into_inner().room.unwrap();
        assert_eq!(joined.membership.unwrap().muted_until, Some(until));
        assert_eq!(reason(ben.chat.send_message(message("r", "no")).await), "MEMBER_MUTED");
    }
    ana.moderation.mute_member(mute_of("r", "ben", None)).await.unwrap();
    ben.rooms.leave_room(wire::LeaveRoomRequest { room_id: "r".into() }).await.unwrap();
    ben.join("r").await;
    ben.say("r", "yes").await;
}

#[tokio::test]
async fn owners_are_not_muted_and_only_owners_and_admins_mute() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Public, &["ben", "cy"]).await;
    for (user, role) in [("bob", MemberRole::Admin), ("abe", MemberRole::Admin), ("otto", MemberRole::Owner)] {
        ana.add("r", user, role).await;
    }
    let (mut bob, mut ben) = (server.user("bob").await, server.user("ben").await);
    let until = Some(in_millis(MINUTE));
    let owner = (Code::FailedPrecondition, "MEMBER_IS_OWNER".to_owned(), vec!["user_id".to_owned()]);
    for clients in [&mut ana, &mut bob] {
        assert_eq!(field(clients.moderation.mute_member(mute_of("r", "otto", until)).await), owner);
    }
    let itself = (Code::InvalidArgument, "FIELD_INVALID".to_owned(), vec!["user_id".to_owned()]);
    assert_eq!(field(bob.moderation.mute_member(mute_of("r", "bob", None)).await), itself);
    assert_eq!(reason(ben.moderation.mute_member(mute_of("r", "cy", until)).await), "ROLE_INSUFFICIENT");
    assert_eq!(reason(bob.moderation.mute_member(mute_of("r", "nobody", until)).await), "MEMBER_NOT_FOUND");
    bob.moderation.mute_member(mute_of("r", "abe", until)).await.unwrap();
    assert_eq!(reason(server.user("abe").await.chat.send_message(message("r", "no")).await), "MEMBER_MUTED");
    let room = direct(&mut ana, "ben").await;
    assert_eq!(reason(ana.moderation.mute_member(mute_of(&room, "ben", until)).await), "ROOM_IS_DIRECT");

    // Who becomes an owner may speak.
    let request =
        wire::UpdateMemberRequest { room_id: "r".into(), user_id: "abe".into(), role: MemberRole::Owner.into() };
    let abe = ana.rooms.update_member(request).await.unwrap().into_inner().member.unwrap();
    assert_eq!(abe.muted_until, None);
    server.user("abe").await.say("r", "yes").await;
}
