//! Nobody finds what is said where they are not.

use relay_proto::chat::v1::{
    DeleteRoomRequest, GetDirectRoomRequest, JoinRoomRequest, LeaveRoomRequest, MemberRole, RemoveMemberRequest,
    RoomKind,
};
use tonic::Code;

use super::{in_room, page, query, room, texts};
use crate::support::{Raw, Server, Token, error_of};

#[tokio::test]
async fn only_rooms_that_the_caller_is_in_are_searched() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let mut eve = server.user("eve").await;
    room(&mut ana, "private", &["secret of the private room"]).await;
    ana.create_room("public", RoomKind::Public, &[]).await;
    ana.say("public", "secret of the public room").await;
    let request = GetDirectRoomRequest { user_id: "ben".into() };
    let direct = ana.rooms.get_direct_room(request).await.unwrap().into_inner().room.unwrap().room.unwrap().room_id;
    ana.say(&direct, "secret of two").await;
    eve.create_room("own", RoomKind::Private, &[]).await;
    eve.say("own", "secret of mine").await;

    assert_eq!(texts(&eve, query("secret")).await, ["secret of mine"]);
    for (room, code, reason) in [
        ("private", Code::NotFound, "ROOM_NOT_FOUND"),
        ("missing", Code::NotFound, "ROOM_NOT_FOUND"),
        (direct.as_str(), Code::NotFound, "ROOM_NOT_FOUND"),
        ("public", Code::PermissionDenied, "NOT_A_MEMBER"),
    ] {
        let status = page(&eve, in_room("secret", room)).await.unwrap_err();
        assert_eq!(error_of(&status), (code, reason.to_owned(), vec![]), "{room}");
        let mut both = in_room("secret", "own");
        both.room_ids.push(room.into());
        assert_eq!(error_of(&page(&eve, both).await.unwrap_err()).1, reason, "{room} beside another");
    }
    let ben = server.user("ben").await;
    assert_eq!(texts(&ben, query("secret")).await, ["secret of two", "secret of the private room"]);
    assert_eq!(texts(&ana, query("secret")).await.len(), 3);
}

#[tokio::test]
async fn what_one_may_read_changes_with_the_membership() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let mut eve = server.user("eve").await;
    ana.create_room("r", RoomKind::Public, &[]).await;
    ana.say("r", "word before").await;
    assert!(texts(&eve, query("word")).await.is_empty());
    eve.rooms.join_room(JoinRoomRequest { room_id: "r".into() }).await.unwrap();
    assert_eq!(texts(&eve, query("word")).await, ["word before"]);
    eve.rooms.leave_room(LeaveRoomRequest { room_id: "r".into() }).await.unwrap();
    assert!(texts(&eve, query("word")).await.is_empty());
    assert_eq!(error_of(&page(&eve, in_room("word", "r")).await.unwrap_err()).1, "NOT_A_MEMBER");
    // A page token does not outlive the membership.
    ana.add("r", "eve", MemberRole::ReadOnly).await;
    ana.say("r", "word after").await;
    let mut search = query("word");
    search.page_size = 1;
    search.page_token = page(&eve, search.clone()).await.unwrap().next_page_token;
    let request = RemoveMemberRequest { room_id: "r".into(), user_id: "eve".into() };
    ana.rooms.remove_member(request).await.unwrap();
    assert!(page(&eve, search).await.unwrap().results.is_empty());
    ana.rooms.delete_room(DeleteRoomRequest { room_id: "r".into() }).await.unwrap();
    assert!(texts(&ana, query("word")).await.is_empty());
    assert_eq!(error_of(&page(&ana, in_room("word", "r")).await.unwrap_err()).1, "ROOM_NOT_FOUND");
}

#[tokio::test]
async fn many_rooms_are_searched_like_few() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let mut eve = server.user("eve").await;
    // More than are named to the index one by one.
    for n in 0..520 {
        let (mine, theirs) = (format!("mine-{n}"), format!("theirs-{n}"));
        ana.create_room(&mine, RoomKind::Private, &[]).await;
        if n < 40 {
            eve.create_room(&theirs, RoomKind::Private, &[]).await;
            eve.say(&theirs, "word").await;
        }
    }
    // Each has a new one and an old one: all of the new come first.
    for n in 0..1_040 {
        ana.say(&format!("mine-{}", n % 520), &format!("word {n}")).await;
    }
    ana.say("mine-40", "needle").await;
    let expected: Vec<String> = (0..1_040).rev().map(|n| format!("word {n}")).collect();
    for order in [1, 2] {
        let mut search = query("word");
        (search.page_size, search.order) = (40, order);
        let mut found = texts(&ana, search).await;
        if order == 2 {
            found.sort_by_key(|text| std::cmp::Reverse(text["word ".len()..].parse::<u32>().unwrap()));
        }
        assert_eq!(found, expected, "{order}");
    }
    assert_eq!(texts(&ana, query("needle")).await, ["needle"]);
}

#[tokio::test]
async fn another_tenant_finds_nothing() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    room(&mut ana, "r", &["secret"]).await;
    let token = Token::of("ana").claim("aud", "another".into()).sign();
    let raw = Raw::connect(&server.url()).await.bearer(&token);
    let status = raw.call("ChatService/SearchMessages", query("secret")).await.unwrap_err();
    assert_eq!(error_of(&status).1, "PROJECT_NOT_FOUND");
}
