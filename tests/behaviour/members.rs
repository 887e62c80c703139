//! Members: who comes and goes, and what a role is worth.

use relay_proto::chat::v1::{
    self as wire, AddMembersRequest, LeaveRoomRequest, ListMembersRequest, MemberRole, NewMember, RemoveMemberRequest,
    ResumeVerdict, RoomKind, UpdateMemberRequest, frame::Kind, room_event::Event,
};
use tonic::{Code, Status};

use crate::support::{Clients, Server, Stream, error_of, message};

async fn members(clients: &mut Clients, room: &str, page_size: i32) -> Vec<(String, MemberRole)> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListMembersRequest { room_id: room.into(), page_size, page_token };
        let page = clients.rooms.list_members(request).await.unwrap().into_inner();
        all.extend(page.members.into_iter().map(|m| (m.user_id.clone(), m.role())));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

async fn add(clients: &mut Clients, room: &str, users: &[(&str, MemberRole)]) -> Result<Vec<wire::Member>, Status> {
    let members = users.iter().map(|(user, role)| NewMember { user_id: (*user).into(), role: (*role).into() });
    let request = AddMembersRequest { room_id: room.into(), members: members.collect() };
    Ok(clients.rooms.add_members(request).await?.into_inner().members)
}

async fn promote(clients: &mut Clients, room: &str, user: &str, role: MemberRole) -> Result<wire::Member, Status> {
    let request = UpdateMemberRequest { room_id: room.into(), user_id: user.into(), role: role.into() };
    Ok(clients.rooms.update_member(request).await?.into_inner().member.unwrap())
}

async fn remove(clients: &mut Clients, room: &str, user: &str) -> Result<(), Status> {
    let request = RemoveMemberRequest { room_id: room.into(), user_id: user.into() };
    clients.rooms.remove_member(request).await.map(drop)
}

#[tokio::test]
async fn users_are_added_all_or_none() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let refused = add(&mut ben, "r", &[("cy", MemberRole::Member), ("di", MemberRole::Admin)]).await.unwrap_err();
    assert_eq!(error_of(&refused), (Code::PermissionDenied, "ROLE_INSUFFICIENT".into(), vec![]));
    assert_eq!(members(&mut ana, "r", 0).await.len(), 2);

    // Who is in keeps their role, and the answer is in the order of the request.
    let users = [("di", MemberRole::ReadOnly), ("ana", MemberRole::ReadOnly), ("cy", MemberRole::Unspecified)];
    let added = add(&mut ben, "r", &users).await.unwrap();
    let roles: Vec<_> = added.iter().map(|m| (m.user_id.as_str(), m.role())).collect();
    assert_eq!(roles, [("di", MemberRole::ReadOnly), ("ana", MemberRole::Owner), ("cy", MemberRole::Member)]);
    let again = add(&mut ben, "r", &users).await.unwrap();
    assert_eq!(again, added);
    let event = Stream::caught_up(&ana, &[("r", 2)]).await.1;
    assert_eq!(event.iter().filter(|kind| matches!(kind, Kind::Event(_))).count(), 2, "an event for each who is new");
}

#[tokio::test]
async fn members_are_listed_by_user_id_in_pages() {
    let server = Server::start();
    let mut ana = server.user("m").await;
    ana.create_room("r", RoomKind::Private, &["z", "a", "q|1", "B", "b@c"]).await;
    let all: Vec<String> = members(&mut ana, "r", 0).await.into_iter().map(|(user, _)| user).collect();
    assert_eq!(all, ["B", "a", "b@c", "m", "q|1", "z"]);
    for size in [1, 4, 500] {
        let paged: Vec<String> = members(&mut ana, "r", size).await.into_iter().map(|(user, _)| user).collect();
        assert_eq!(paged, all, "pages of {size}");
    }
}

#[tokio::test]
async fn a_removed_member_is_told_and_reads_no_more() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben", "cy"]).await;
    let (mut of_ben, _) = Stream::caught_up(&ben, &[]).await;
    let (mut of_cy, _) = Stream::caught_up(&server.user("cy").await, &[]).await;
    remove(&mut ana, "r", "ben").await.unwrap();
    remove(&mut ana, "r", "ben").await.unwrap();
    ana.say("r", "without ben").await;

    for stream in [&mut of_ben, &mut of_cy] {
        let event = stream.event().await;
        let Some(Event::MemberLeft(left)) = event.event else { panic!("{event:?}") };
        assert_eq!((left.user_id.as_str(), event.actor_id.as_str(), event.position), ("ben", "ana", 4));
    }
    assert_eq!(of_cy.event().await.position, 5);
    let Kind::Resumed(resumed) = of_ben.next().await else { panic!("no verdict") };
    assert_eq!(resumed.rooms[0].verdict(), ResumeVerdict::Left);
    let read = ben.chat.list_messages(wire::ListMessagesRequest { room_id: "r".into(), ..Default::default() }).await;
    assert_eq!(error_of(&read.unwrap_err()).1, "ROOM_NOT_FOUND");
    let (_, frames) = Stream::caught_up(&ben, &[("r", 3)]).await;
    assert!(!frames.iter().any(|kind| matches!(kind, Kind::Event(_))), "{frames:?}");
    // Added again, it reads what was said meanwhile.
    ana.add("r", "ben", MemberRole::Member).await;
    assert_eq!(ben.history("r").await[0].text, "without ben");
}

#[tokio::test]
async fn a_room_that_is_joined_while_connected_starts_on_the_open_stream() {
    let server = Server::start();
    let (mut ana, ben) = (server.user("ana").await, server.user("ben").await);
    let (mut of_ben, _) = Stream::caught_up(&ben, &[]).await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.say("r", "before").await;
    ana.add("r", "ben", MemberRole::Member).await;
    ana.say("r", "after").await;
    let Kind::Resumed(resumed) = of_ben.next().await else { panic!("no verdict") };
    assert_eq!(resumed.rooms[0].verdict(), ResumeVerdict::Joined);
    let mut at = resumed.rooms[0].position;
    let mut texts = Vec::new();
    while at < 4 {
        let event = of_ben.event().await;
        assert_eq!(event.previous_position, at, "no hole after the verdict");
        at = event.position;
        if let Some(Event::MessageCreated(created)) = event.event {
            texts.push(created.message.unwrap().text);
        }
    }
    assert_eq!(texts, ["after"]);
}

#[tokio::test]
async fn the_last_owner_stays_while_others_are_in_the_room() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let leave = LeaveRoomRequest { room_id: "r".into() };
    let last_owner = (Code::FailedPrecondition, "LAST_OWNER".to_owned(), vec![]);
    assert_eq!(error_of(&ana.rooms.leave_room(leave.clone()).await.unwrap_err()), last_owner);
    assert_eq!(error_of(&promote(&mut ana, "r", "ana", MemberRole::Admin).await.unwrap_err()), last_owner);
    promote(&mut ana, "r", "ben", MemberRole::Owner).await.unwrap();
    ana.rooms.leave_room(leave.clone()).await.unwrap();
    assert_eq!(error_of(&ana.rooms.leave_room(leave.clone()).await.unwrap_err()).1, "ROOM_NOT_FOUND");
    // Alone, the owner may go.
    ben.rooms.leave_room(leave).await.unwrap();
}

#[tokio::test]
async fn two_owners_who_unmake_each_other_at_once_leave_one() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    for i in 0..10 {
        let room = format!("r{i}");
        ana.create_room(&room, RoomKind::Private, &["ben"]).await;
        promote(&mut ana, &room, "ben", MemberRole::Owner).await.unwrap();
        let (a, b) = tokio::join!(
            promote(&mut ana, &room, "ben", MemberRole::Member),
            promote(&mut ben, &room, "ana", MemberRole::Member)
        );
        assert!(a.is_ok() != b.is_ok(), "exactly one wins: {a:?} {b:?}");
    }
}

#[tokio::test]
async fn a_new_role_holds_at_once_and_everyone_sees_it() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    let joined_at = promote(&mut ana, "r", "ben", MemberRole::Member).await.unwrap().joined_at;
    for role in [MemberRole::ReadOnly, MemberRole::Admin] {
        let member = promote(&mut ana, "r", "ben", role).await.unwrap();
        assert_eq!((member.role(), member.joined_at), (role, joined_at));
        let event = stream.event().await;
        let Some(Event::MemberUpdated(updated)) = event.event else { panic!("{event:?}") };
        assert_eq!(updated.member.unwrap(), member);
        let sent = ben.chat.send_message(message("r", "x")).await;
        assert_eq!(sent.is_ok(), role == MemberRole::Admin);
    }
    assert_eq!(error_of(&remove(&mut ben, "r", "ana").await.unwrap_err()).1, "ROLE_INSUFFICIENT");
    let unknown = promote(&mut ana, "r", "nobody", MemberRole::Admin).await.unwrap_err();
    assert_eq!(error_of(&unknown), (Code::NotFound, "MEMBER_NOT_FOUND".into(), vec![]));
}
