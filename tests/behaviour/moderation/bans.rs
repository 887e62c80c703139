//! Bans.

use relay_proto::chat::v1::{self as wire, MemberRole, RoomKind, frame::Kind, room_event::Event};
use tonic::Code;

use super::{add_of, ban_of, direct, field, in_millis, join_of, reason, unban_of};
use crate::support::{Clients, Server, Stream, eventually};

async fn bans(clients: &mut Clients, room: &str) -> Vec<wire::Ban> {
    let request = wire::ListBansRequest { room_id: room.into(), ..Default::default() };
    clients.moderation.list_bans(request).await.unwrap().into_inner().bans
}

#[tokio::test]
async fn who_is_banned_is_removed_and_kept_out_at_every_node() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &["ben", "cy"]).await;
    let (mut bens, _) = Stream::caught_up(&ben, &[]).await;
    let (mut cys, _) = Stream::caught_up(&server.user("cy").await, &[]).await;
    let request = wire::BanMemberRequest { reason: "advertising".into(), ..ban_of("r", "ben") };
    let ban = ana.moderation.ban_member(request).await.unwrap().into_inner().ban.unwrap();
    assert_eq!((ban.user_id.as_str(), ban.banned_by.as_str(), ban.reason.as_str()), ("ben", "ana", "advertising"));
    assert!(ban.banned_at.is_some() && ban.expires_at.is_none());

    for stream in [&mut bens, &mut cys] {
        let event = stream.event().await;
        assert_eq!(event.actor_id, "ana");
        let left = wire::MemberLeft { user_id: "ben".into(), banned: true };
        assert_eq!(event.event, Some(Event::MemberLeft(left)));
    }
    let verdict = bens.next().await;
    assert!(matches!(&verdict, Kind::Resumed(r) if r.rooms[0].verdict() == wire::ResumeVerdict::Left), "{verdict:?}");
    let read = wire::ListMessagesRequest { room_id: "r".into(), ..Default::default() };
    assert_eq!(reason(ben.chat.list_messages(read).await), "NOT_A_MEMBER");
    for n in 0..server.count() {
        let mut ben = server.node(n).user("ben").await;
        assert_eq!(reason(ben.rooms.join_room(join_of("r")).await), "USER_BANNED");
        let mut ana = server.node(n).user("ana").await;
        let expected = (Code::PermissionDenied, "USER_BANNED".to_owned(), vec!["members[1].user_id".to_owned()]);
        assert_eq!(field(ana.rooms.add_members(add_of("r", &["dan", "ben"])).await), expected);
        assert_eq!(bans(&mut ana, "r").await, std::slice::from_ref(&ban));
    }
    let request = wire::ListMembersRequest { room_id: "r".into(), ..Default::default() };
    let members = ana.rooms.list_members(request).await.unwrap().into_inner().members;
    assert_eq!(members.iter().map(|m| m.user_id.as_str()).collect::<Vec<_>>(), ["ana", "cy"], "none was added");

    for _ in 0..2 {
        ana.moderation.unban_member(unban_of("r", "ben")).await.unwrap();
    }
    assert_eq!(bans(&mut ana, "r").await, []);
    let read = wire::ListMessagesRequest { room_id: "r".into(), ..Default::default() };
    assert_eq!(reason(ben.chat.list_messages(read).await), "NOT_A_MEMBER");
    ben.join("r").await;
}

#[tokio::test]
async fn a_user_can_be_banned_before_they_come() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.moderation.ban_member(ban_of("r", "ben")).await.unwrap();
    assert_eq!(reason(ana.rooms.add_members(add_of("r", &["ben"])).await), "USER_BANNED");
    // It is private: he does not learn of it by his ban.
    assert_eq!(reason(ben.rooms.join_room(join_of("r")).await), "ROOM_NOT_FOUND");
    let got = ana.rooms.get_room(wire::GetRoomRequest { room_id: "r".into() }).await.unwrap().into_inner();
    assert_eq!(got.room.unwrap().room.unwrap().last_position, 1, "nobody left, so nothing happened");
    // It holds for this room only.
    ana.create_room("s", RoomKind::Private, &["ben"]).await;
}

#[tokio::test]
async fn a_ban_ends_by_itself() {
    let server = Server::start();
    let (mut ana, ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    let request = wire::BanMemberRequest { expires_at: Some(in_millis(1_500)), ..ban_of("r", "ben") };
    let ban = ana.moderation.ban_member(request.clone()).await.unwrap().into_inner().ban.unwrap();
    assert_eq!(ban.expires_at, request.expires_at);
    assert_eq!(reason(ben.clone().rooms.join_room(join_of("r")).await), "USER_BANNED");
    assert_eq!(bans(&mut ana, "r").await.len(), 1);
    eventually("the end of the ban", async || ben.clone().rooms.join_room(join_of("r")).await.is_ok()).await;
    assert_eq!(bans(&mut ana, "r").await, []);
    ana.moderation.ban_member(ban_of("r", "ben")).await.unwrap();
    assert_eq!(bans(&mut ana, "r").await.len(), 1, "a new ban takes the place of the old");
}

#[tokio::test]
async fn banning_again_changes_the_reason_and_the_time() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    ana.add("r", "bob", MemberRole::Admin).await;
    ana.moderation.ban_member(ban_of("r", "ben")).await.unwrap();
    let mut bob = server.user("bob").await;
    let expires_at = Some(in_millis(60_000));
    let request = wire::BanMemberRequest { reason: "again".into(), expires_at, ..ban_of("r", "ben") };
    bob.moderation.ban_member(request).await.unwrap();
    let [ban] = <[wire::Ban; 1]>::try_from(bans(&mut ana, "r").await).unwrap();
    assert_eq!((ban.banned_by.as_str(), ban.reason.as_str(), ban.expires_at), ("bob", "again", expires_at));
}

#[tokio::test]
async fn owners_are_not_banned_and_only_owners_and_admins_ban() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Public, &["ben", "cy"]).await;
    for (user, role) in [("bob", MemberRole::Admin), ("abe", MemberRole::Admin), ("otto", MemberRole::Owner)] {
        ana.add("r", user, role).await;
    }
    let owner = (Code::FailedPrecondition, "MEMBER_IS_OWNER".to_owned(), vec!["user_id".to_owned()]);
    let (mut bob, mut ben) = (server.user("bob").await, server.user("ben").await);
    for clients in [&mut ana, &mut bob] {
        assert_eq!(field(clients.moderation.ban_member(ban_of("r", "otto")).await), owner);
    }
    let itself = (Code::InvalidArgument, "FIELD_INVALID".to_owned(), vec!["user_id".to_owned()]);
    assert_eq!(field(bob.moderation.ban_member(ban_of("r", "bob")).await), itself);
    assert_eq!(reason(ben.moderation.ban_member(ban_of("r", "cy")).await), "ROLE_INSUFFICIENT");
    assert_eq!(reason(ben.moderation.unban_member(unban_of("r", "cy")).await), "ROLE_INSUFFICIENT");
    let list = wire::ListBansRequest { room_id: "r".into(), ..Default::default() };
    assert_eq!(reason(ben.moderation.list_bans(list.clone()).await), "ROLE_INSUFFICIENT");
    bob.moderation.ban_member(ban_of("r", "abe")).await.unwrap();
    bob.moderation.ban_member(ban_of("r", "cy")).await.unwrap();
    assert_eq!(bans(&mut ana, "r").await.len(), 2);

    let room = direct(&mut ana, "ben").await;
    assert_eq!(reason(ana.moderation.ban_member(ban_of(&room, "ben")).await), "ROOM_IS_DIRECT");
    assert_eq!(reason(ana.moderation.unban_member(unban_of(&room, "ben")).await), "ROOM_IS_DIRECT");
    let list = wire::ListBansRequest { room_id: room, ..list };
    assert_eq!(reason(ana.moderation.list_bans(list).await), "ROOM_IS_DIRECT");
}

#[tokio::test]
async fn a_room_has_at_most_ten_thousand_bans_those_that_ended_do_not_count() {
    let mut server = Server::start();
    server.user("ana").await.create_room("r", RoomKind::Public, &[]).await;
    let insert = |i: &str, time: &str| {
        format!(
            "WITH RECURSIVE n (i) AS ({i}) INSERT INTO bans (project_id, room_id, user_id, banned_by, banned_at, reason, \
             expires_at) SELECT 'default', 'r', 'user-' || CAST(i AS TEXT), 'ana', {time}, '', NULL FROM n"
        )
    };
    let (now, past) = (server.sql("1", "now()"), server.sql("1", "now() - interval '1 day'"));
    let numbers = "VALUES (10001) UNION ALL SELECT i + 1 FROM n WHERE i < 20000";
    server.amend(&insert(numbers, now)).await;
    let mut ana = server.user("ana").await;
    assert_eq!(reason(ana.moderation.ban_member(ban_of("r", "ben")).await), "TOO_MANY_BANS");
    ana.moderation.ban_member(ban_of("r", "user-15000")).await.unwrap();

    // By user id, page by page.
    let (mut page_token, mut listed) = (String::new(), Vec::new());
    loop {
        let request = wire::ListBansRequest { room_id: "r".into(), page_size: 500, page_token };
        let page = ana.moderation.list_bans(request).await.unwrap().into_inner();
        listed.extend(page.bans.into_iter().map(|ban| ban.user_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(listed.len() == 10_000 && listed.is_sorted());

    server.amend(&format!("UPDATE bans SET expires_at = {past} WHERE user_id = 'user-12345'")).await;
    let mut ana = server.user("ana").await;
    ana.moderation.ban_member(ban_of("r", "ben")).await.unwrap();
    assert_eq!(reason(ana.moderation.ban_member(ban_of("r", "cy")).await), "TOO_MANY_BANS");
}
