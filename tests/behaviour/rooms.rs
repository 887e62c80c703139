//! Rooms: making, finding, listing, changing and deleting them; direct rooms.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use prost_types::FieldMask;
use relay_proto::chat::v1::{
    self as wire, CreateRoomRequest, DeleteRoomRequest, GetDirectRoomRequest, GetRoomRequest, JoinRoomRequest,
    LeaveRoomRequest, ListRoomsRequest, MemberRole, NewMember, Room, RoomKind, RoomScope, UpdateRoomRequest,
    frame::Kind, room_event::Event,
};
use tonic::{Code, Status};

use crate::support::{Clients, Server, Stream, error_of};

async fn get(clients: &mut Clients, room: &str) -> Result<wire::RoomSummary, Status> {
    let got = clients.rooms.get_room(GetRoomRequest { room_id: room.into() }).await?;
    Ok(got.into_inner().room.unwrap())
}

async fn list(clients: &mut Clients, scope: RoomScope, page_size: i32) -> Vec<wire::RoomSummary> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListRoomsRequest { page_size, page_token, scope: scope.into() };
        let page = clients.rooms.list_rooms(request).await.unwrap().into_inner();
        assert!(page_size == 0 || page.rooms.len() <= usize::try_from(page_size).unwrap());
        all.extend(page.rooms);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

fn ids(rooms: &[wire::RoomSummary]) -> Vec<String> {
    rooms.iter().map(|summary| summary.room.clone().unwrap().room_id).collect()
}

async fn direct(clients: &mut Clients, user: &str) -> wire::GetDirectRoomResponse {
    clients.rooms.get_direct_room(GetDirectRoomRequest { user_id: user.into() }).await.unwrap().into_inner()
}

fn update(room: &str, title: &str, description: &str, paths: &[&str]) -> UpdateRoomRequest {
    UpdateRoomRequest {
        room_id: room.into(),
        title: title.into(),
        description: description.into(),
        metadata: HashMap::from([("k".into(), "new".into())]),
        update_mask: Some(FieldMask { paths: paths.iter().map(|p| (*p).to_owned()).collect() }),
        slow_mode_seconds: 0,
    }
}

#[tokio::test]
async fn a_room_is_made_as_it_was_asked_for() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let request = CreateRoomRequest {
        room_id: "A.b_c:d-9".into(),
        kind: RoomKind::Public.into(),
        title: "Größe".into(),
        description: "about\nit".into(),
        metadata: HashMap::from([("k".into(), "v".into())]),
        members: vec![
            NewMember { user_id: "ben".into(), role: MemberRole::Admin.into() },
            NewMember { user_id: "cy".into(), role: 0 },
        ],
    };
    let made = ana.rooms.create_room(request).await.unwrap().into_inner().room.unwrap();
    let Room { created_at, updated_at, last_activity_at, .. } = made.clone();
    assert!(created_at.is_some() && created_at == updated_at && created_at == last_activity_at);
    let expected = Room {
        room_id: "A.b_c:d-9".into(),
        kind: RoomKind::Public.into(),
        title: "Größe".into(),
        description: "about\nit".into(),
        metadata: HashMap::from([("k".into(), "v".into())]),
        created_by: "ana".into(),
        created_at,
        updated_at,
        last_seq: 0,
        last_position: 3,
        member_count: 3,
        last_activity_at,
        slow_mode_seconds: 0,
    };
    assert_eq!(made, expected);
    let summary = get(&mut ana, "A.b_c:d-9").await.unwrap();
    assert_eq!(summary.room.unwrap(), expected);
    assert_eq!(summary.membership.unwrap().role, i32::from(MemberRole::Owner));
    for (user, role) in [("ben", MemberRole::Admin), ("cy", MemberRole::Member)] {
        let summary = get(&mut server.user(user).await, "A.b_c:d-9").await.unwrap();
        assert_eq!(summary.membership.unwrap().role, i32::from(role), "{user}");
    }
}

#[tokio::test]
async fn a_room_without_an_id_gets_a_uuidv7_and_is_private() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let made = ana.rooms.create_room(CreateRoomRequest::default()).await.unwrap().into_inner().room.unwrap();
    let id: uuid::Uuid = made.room_id.parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
    assert_eq!(made.kind, i32::from(RoomKind::Private));
    let hidden = get(&mut server.user("ben").await, &made.room_id).await.unwrap_err();
    assert_eq!(error_of(&hidden).1, "ROOM_NOT_FOUND");
}

#[tokio::test]
async fn of_many_who_make_the_same_room_one_succeeds() {
    let server = Server::start();
    let makers = join_all((0..20).map(|i| {
        let server = &server;
        async move {
            let mut user = server.user(&format!("u{i}")).await;
            user.rooms.create_room(CreateRoomRequest { room_id: "one".into(), ..CreateRoomRequest::default() }).await
        }
    }));
    let (made, refused): (Vec<_>, Vec<_>) = makers.await.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 19));
    for status in refused {
        assert_eq!(error_of(&status.unwrap_err()), (Code::AlreadyExists, "ROOM_EXISTS".into(), vec![]));
    }
}

#[tokio::test]
async fn the_id_of_a_deleted_room_is_not_given_again() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("once", RoomKind::Public, &["ben"]).await;
    ana.say("once", "secret").await;
    ana.rooms.delete_room(DeleteRoomRequest { room_id: "once".into() }).await.unwrap();
    let again = CreateRoomRequest { room_id: "once".into(), ..CreateRoomRequest::default() };
    assert_eq!(error_of(&ana.rooms.create_room(again).await.unwrap_err()).1, "ROOM_EXISTS");
    let twice = ana.rooms.delete_room(DeleteRoomRequest { room_id: "once".into() }).await.unwrap_err();
    assert_eq!(error_of(&twice).1, "ROOM_NOT_FOUND");
    for user in ["ana", "ben", "cy"] {
        let mut user = server.user(user).await;
        assert_eq!(error_of(&get(&mut user, "once").await.unwrap_err()).1, "ROOM_NOT_FOUND");
        let join = user.rooms.join_room(JoinRoomRequest { room_id: "once".into() }).await.unwrap_err();
        assert_eq!(error_of(&join).1, "ROOM_NOT_FOUND");
        assert!(list(&mut user, RoomScope::Joined, 0).await.is_empty());
        assert!(list(&mut user, RoomScope::Public, 0).await.is_empty());
    }
}

#[tokio::test]
async fn members_see_the_deletion_and_then_that_they_left() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("doomed", RoomKind::Private, &["ben"]).await;
    let (mut stream, _) = Stream::caught_up(&server.user("ben").await, &[]).await;
    ana.rooms.delete_room(DeleteRoomRequest { room_id: "doomed".into() }).await.unwrap();
    let frames = stream.until(|kind| matches!(kind, Kind::Resumed(_))).await;
    let [Kind::Event(event), Kind::Resumed(resumed)] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!((event.position, event.actor_id.as_str()), (3, "ana"));
    assert!(matches!(event.event, Some(Event::RoomDeleted(_))));
    let left = wire::RoomResume {
        room_id: "doomed".into(),
        verdict: wire::ResumeVerdict::Left.into(),
        position: 0,
        last_position: 0,
    };
    assert_eq!(resumed.rooms, [left]);
}

#[tokio::test]
async fn a_public_room_shows_strangers_neither_its_messages_nor_a_membership() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("open", RoomKind::Public, &[]).await;
    ana.say("open", "for members").await;
    let mut ben = server.user("ben").await;
    let mut seen = list(&mut ben, RoomScope::Public, 0).await;
    seen.push(get(&mut ben, "open").await.unwrap());
    assert_eq!(seen.len(), 2);
    for summary in seen {
        assert_eq!(summary.room.as_ref().unwrap().last_seq, 1);
        assert_eq!((summary.last_message, summary.membership), (None, None));
    }
    assert_eq!(get(&mut ana, "open").await.unwrap().last_message.unwrap().text, "for members");
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_nothing_else() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    let mut change = async |request| ana.rooms.update_room(request).await.unwrap().into_inner().room.unwrap();
    let room = change(update("r", "first", "ignored", &["title"])).await;
    assert_eq!((room.title.as_str(), room.description.as_str(), room.metadata.len()), ("first", "", 0));
    let room = change(update("r", "ignored", "text", &["description", "metadata"])).await;
    assert_eq!((room.title.as_str(), room.description.as_str()), ("first", "text"));
    assert_eq!(room.metadata["k"], "new");
    assert_eq!(room.last_position, 3);
    let same = change(update("r", "first", "text", &["title", "description", "metadata"])).await;
    assert_eq!(same, room, "a change of nothing makes no event");
    let cleared = change(update("r", "", "", &["title", "title"])).await;
    assert_eq!((cleared.title.as_str(), cleared.last_position), ("", 4), "a path may be named twice");

    for (position, title) in [(2, "first"), (3, "first"), (4, "")] {
        let event = stream.event().await;
        let Some(Event::RoomUpdated(updated)) = event.event else { panic!("{event:?}") };
        let room = updated.room.unwrap();
        assert_eq!((event.position, room.last_position, room.title.as_str()), (position, position, title));
    }
}

#[tokio::test]
async fn rooms_are_listed_the_most_recently_active_first_with_their_newest_message() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    for i in 0..7 {
        ana.create_room(&format!("r{i}"), RoomKind::Private, &["ben"]).await;
    }
    ana.create_room("empty", RoomKind::Private, &["ben"]).await;
    for i in [3, 1, 5] {
        ana.say(&format!("r{i}"), &format!("in r{i}")).await;
    }
    ana.say("r1", "newest").await;
    let delete = wire::DeleteMessageRequest { room_id: "r5".into(), seq: 1, reason: String::new() };
    ana.chat.delete_message(delete).await.unwrap();

    let mut ben = server.user("ben").await;
    let rooms = list(&mut ben, RoomScope::Joined, 0).await;
    assert_eq!(ids(&rooms), ["r1", "r5", "r3", "empty", "r6", "r4", "r2", "r0"]);
    let newest = rooms[0].last_message.as_ref().unwrap();
    assert_eq!((newest.text.as_str(), newest.seq), ("newest", 2));
    assert_eq!(rooms[0].room.as_ref().unwrap().last_position, 4);
    let tombstone = rooms[1].last_message.as_ref().unwrap();
    assert!(tombstone.deleted_at.is_some() && tombstone.text.is_empty());
    assert!(rooms[3].last_message.is_none() && rooms[3].membership.is_some());
    for size in [1, 3, 8, 200] {
        assert_eq!(ids(&list(&mut ben, RoomScope::Joined, size).await), ids(&rooms), "pages of {size}");
    }
}

#[tokio::test]
async fn the_public_list_has_all_public_rooms_and_no_other() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("hidden", RoomKind::Private, &["ben"]).await;
    direct(&mut ana, "ben").await;
    for i in 0..5 {
        ana.create_room(&format!("open{i}"), RoomKind::Public, &[]).await;
    }
    ben.join("open2").await;
    let rooms = list(&mut ben, RoomScope::Public, 2).await;
    assert_eq!(ids(&rooms), ["open4", "open3", "open2", "open1", "open0"]);
    let joined: Vec<bool> = rooms.iter().map(|summary| summary.membership.is_some()).collect();
    assert_eq!(joined, [false, false, true, false, false]);
    assert_eq!(list(&mut ben, RoomScope::Joined, 0).await.len(), 3);
}

#[tokio::test]
async fn a_page_of_large_rooms_ends_before_it_is_too_large_for_clients() {
    const ROOMS: usize = 100;
    let server = Server::start();
    let (ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    let names: Vec<String> = (0..ROOMS).map(|n| format!("r{n}")).collect();
    let create = |name: &String| CreateRoomRequest {
        room_id: name.clone(),
        kind: RoomKind::Public.into(),
        description: "d".repeat(4_096),
        metadata: (0..16).map(|n| (n.to_string(), "v".repeat(512))).collect(),
        ..CreateRoomRequest::default()
    };
    let fill = names.iter().map(|name| {
        let mut ana = ana.clone();
        async move {
            ana.rooms.create_room(create(name)).await.unwrap();
            ana.say(name, &"t".repeat(32 * 1024)).await
        }
    });
    join_all(fill).await;
    let all: HashSet<String> = names.iter().cloned().collect();
    for (clients, scope, pages) in [(&mut ana.clone(), RoomScope::Joined, 4), (&mut ben, RoomScope::Public, 2)] {
        let first = ListRoomsRequest { page_size: 200, page_token: String::new(), scope: scope.into() };
        let first = clients.rooms.list_rooms(first).await.unwrap().into_inner();
        assert!((ROOMS / (2 * pages)..ROOMS).contains(&first.rooms.len()), "{} rooms", first.rooms.len());
        let listed = ids(&list(clients, scope, 200).await);
        assert_eq!(listed.len(), ROOMS, "each once");
        assert_eq!(listed.into_iter().collect::<HashSet<_>>(), all);
    }
}

#[tokio::test]
async fn joining_and_leaving_again_change_nothing() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("open", RoomKind::Public, &[]).await;
    let join = JoinRoomRequest { room_id: "open".into() };
    let leave = LeaveRoomRequest { room_id: "open".into() };
    for _ in 0..2 {
        let joined = ben.rooms.join_room(join.clone()).await.unwrap().into_inner().room.unwrap();
        assert_eq!(joined.membership.unwrap().role, i32::from(MemberRole::Member));
        let room = joined.room.unwrap();
        assert_eq!((room.member_count, room.last_position), (2, 2));
    }
    for _ in 0..2 {
        ben.rooms.leave_room(leave.clone()).await.unwrap();
        let room = get(&mut ana, "open").await.unwrap().room.unwrap();
        assert_eq!((room.member_count, room.last_position), (1, 3));
    }
}

#[tokio::test]
async fn who_joins_an_empty_public_room_owns_it() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("open", RoomKind::Public, &[]).await;
    ana.rooms.leave_room(LeaveRoomRequest { room_id: "open".into() }).await.unwrap();
    let joined = ben.rooms.join_room(JoinRoomRequest { room_id: "open".into() }).await.unwrap().into_inner();
    assert_eq!(joined.room.unwrap().membership.unwrap().role, i32::from(MemberRole::Owner));
}

#[tokio::test]
async fn a_private_room_that_its_last_member_leaves_is_deleted() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.say("r", "alone").await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    ana.rooms.leave_room(LeaveRoomRequest { room_id: "r".into() }).await.unwrap();
    let frames = stream.until(|kind| matches!(kind, Kind::Resumed(_))).await;
    let Some(Kind::Resumed(resumed)) = frames.last() else { panic!("{frames:?}") };
    assert_eq!(resumed.rooms[0].verdict(), wire::ResumeVerdict::Left);
    assert_eq!(error_of(&get(&mut ana, "r").await.unwrap_err()).1, "ROOM_NOT_FOUND");
    let again = CreateRoomRequest { room_id: "r".into(), ..CreateRoomRequest::default() };
    assert_eq!(error_of(&ana.rooms.create_room(again).await.unwrap_err()).1, "ROOM_EXISTS");
}

#[tokio::test]
async fn two_users_have_one_direct_room_whoever_asks_and_however_often_at_once() {
    let server = Server::start();
    let (ana, ben) = (server.user("ana").await, server.user("ben").await);
    let asked = join_all((0..50).map(|i| {
        let (mut caller, other) = if i % 2 == 0 { (ana.clone(), "ben") } else { (ben.clone(), "ana") };
        async move { (direct(&mut caller, other).await, other) }
    }));
    let answers = asked.await;
    let rooms: HashSet<String> = answers.iter().map(|(a, _)| a.room.clone().unwrap().room.unwrap().room_id).collect();
    assert_eq!(rooms.len(), 1);
    assert_eq!(answers.iter().filter(|(answer, _)| answer.created).count(), 1);
    for (answer, other) in answers {
        let summary = answer.room.unwrap();
        let room = summary.room.unwrap();
        assert_eq!((summary.direct_user_id.as_str(), room.kind), (other, i32::from(RoomKind::Direct)));
        assert_eq!((room.member_count, room.title.as_str()), (2, ""));
        assert_eq!(summary.membership.unwrap().role, i32::from(MemberRole::Member));
    }
    let third = direct(&mut ana.clone(), "cy").await;
    assert!(third.created && !rooms.contains(&third.room.unwrap().room.unwrap().room_id));
}

#[tokio::test]
async fn both_users_of_a_direct_room_talk_in_it() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    let room = direct(&mut ana, "ben").await.room.unwrap().room.unwrap().room_id;
    ana.say(&room, "hello").await;
    ben.say(&room, "hello yourself").await;
    let created = stream.until(|kind| matches!(kind, Kind::Event(e) if e.position == 4)).await;
    assert!(matches!(created.first(), Some(Kind::Resumed(_))), "{created:?}");
    assert_eq!(list(&mut ben, RoomScope::Joined, 0).await[0].direct_user_id, "ana");
    assert!(list(&mut ben, RoomScope::Public, 0).await.is_empty());
}
