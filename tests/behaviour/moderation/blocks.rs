//! Blocks between users.

use std::collections::BTreeSet;

use relay_proto::chat::v1::{self as wire, RoomKind, frame::Kind, room_event::Event};
use tonic::Code;

use super::{delete_of, direct, edit_of, field, reaction, reason};
use crate::support::{Clients, Server, Stream, give_up_after, message, within};

async fn block(clients: &mut Clients, user: &str) {
    clients.moderation.block_user(wire::BlockUserRequest { user_id: user.into() }).await.unwrap();
}

async fn unblock(clients: &mut Clients, user: &str) {
    clients.moderation.unblock_user(wire::UnblockUserRequest { user_id: user.into() }).await.unwrap();
}

async fn blocked(clients: &mut Clients) -> Vec<String> {
    let request = wire::ListBlockedUsersRequest::default();
    clients.moderation.list_blocked_users(request).await.unwrap().into_inner().user_ids
}

/// Neither says anything to the other, at no node.
async fn assert_silent(server: &Server, room: &str) {
    for n in 0..server.count() {
        for user in ["ana", "ben"] {
            let mut clients = server.node(n).user(user).await;
            let status = clients.chat.send_message(message(room, "no")).await;
            assert_eq!(field(status), (Code::PermissionDenied, "USER_BLOCKED".into(), vec![]), "{user}");
        }
    }
}

#[tokio::test]
async fn where_one_has_blocked_the_other_neither_sends_direct_messages() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    let room = direct(&mut ana, "ben").await;
    let sent = message(&room, "1");
    ben.chat.send_message(sent.clone()).await.unwrap();
    ana.say(&room, "2").await;
    ben.say(&room, "3").await;
    for _ in 0..2 {
        block(&mut ana, "ben").await;
    }
    assert_silent(&server, &room).await;
    // What was said stays, and is theirs to take back; nothing new is said by changing it.
    assert_eq!(direct(&mut ben, "ana").await, room);
    assert_eq!(ben.history(&room).await.len(), 3);
    assert!(ben.chat.send_message(sent).await.unwrap().into_inner().receipt.unwrap().duplicate);
    assert_eq!(reason(ben.chat.edit_message(edit_of(&room, 1, "no")).await), "USER_BLOCKED");
    assert_eq!(reason(ben.chat.add_reaction(reaction(&room, 2)).await), "USER_BLOCKED");
    let pin = wire::PinMessageRequest { room_id: room.clone(), seq: 1 };
    assert_eq!(reason(ben.chat.pin_message(pin).await), "USER_BLOCKED");
    ben.chat.delete_message(delete_of(&room, 3, "")).await.unwrap();

    // Groups are as they were.
    ana.create_room("group", RoomKind::Private, &["ben"]).await;
    ben.say("group", "hello").await;

    // Each has their own block.
    block(&mut ben, "ana").await;
    unblock(&mut ana, "ben").await;
    assert_silent(&server, &room).await;
    assert_eq!((blocked(&mut ana).await, blocked(&mut ben).await), (vec![], vec!["ana".to_owned()]));
    for _ in 0..2 {
        unblock(&mut ben, "ana").await;
    }
    ana.say(&room, "4").await;
    ben.say(&room, "5").await;
}

#[tokio::test]
async fn who_is_blocked_opens_no_direct_room() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    block(&mut ana, "ben").await;
    let request = wire::GetDirectRoomRequest { user_id: "ana".into() };
    assert_eq!(reason(ben.rooms.get_direct_room(request.clone()).await), "USER_BLOCKED");
    let rooms = ana.rooms.list_rooms(wire::ListRoomsRequest::default()).await.unwrap().into_inner().rooms;
    assert_eq!(rooms, [], "nothing of it was made");
    // Who blocks can open it; nobody says anything in it before the block is taken back.
    let room = direct(&mut ana, "ben").await;
    assert_silent(&server, &room).await;
    assert_eq!(direct(&mut ben, "ana").await, room);
    unblock(&mut ana, "ben").await;
    ben.say(&room, "hello").await;

    // Without a room, a block that was taken back leaves nothing behind.
    block(&mut ana, "cy").await;
    unblock(&mut ana, "cy").await;
    let mut cy = server.user("cy").await;
    let room = direct(&mut cy, "ana").await;
    cy.say(&room, "hello").await;
}

#[tokio::test]
async fn a_block_and_the_opening_of_a_direct_room_at_the_same_moment_agree() {
    let server = Server::start();
    let (first, last) = (server.node(0), server.node(server.count() - 1));
    for round in 0..20 {
        let user = format!("user-{round}");
        let (mut ana, mut other) = (first.user("ana").await, last.user(&user).await);
        let request = wire::GetDirectRoomRequest { user_id: "ana".into() };
        let (_, made) = tokio::join!(block(&mut ana, &user), other.rooms.get_direct_room(request));
        match made {
            Ok(made) => {
                let room = made.into_inner().room.unwrap().room.unwrap().room_id;
                assert_eq!(reason(other.chat.send_message(message(&room, "no")).await), "USER_BLOCKED");
            }
            refused => assert_eq!(reason(refused), "USER_BLOCKED"),
        }
    }
}

#[tokio::test]
async fn blocks_of_both_at_the_same_moment_add_up() {
    let server = Server::start();
    let (first, last) = (server.node(0), server.node(server.count() - 1));
    let (mut ana, mut ben) = (first.user("ana").await, last.user("ben").await);
    let room = direct(&mut ana, "ben").await;
    for _ in 0..20 {
        block(&mut ben, "ana").await;
        tokio::join!(block(&mut ana, "ben"), unblock(&mut ben, "ana"));
        assert_eq!(reason(ben.chat.send_message(message(&room, "no")).await), "USER_BLOCKED");
        block(&mut ben, "ana").await;
        tokio::join!(unblock(&mut ana, "ben"), unblock(&mut ben, "ana"));
        ben.say(&room, "yes").await;
    }
}

#[tokio::test]
async fn all_devices_of_the_one_who_blocks_are_told_and_nobody_else() {
    let server = Server::start();
    let mut devices = Vec::new();
    for n in 0..server.count() {
        for _ in 0..2 {
            devices.push(Stream::caught_up(&server.node(n).user("ana").await, &[]).await.0);
        }
    }
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    let (mut bens, _) = Stream::caught_up(&ben, &[]).await;
    for blocked in [true, true, false, false] {
        match blocked {
            true => block(&mut ana, "ben").await,
            false => unblock(&mut ana, "ben").await,
        }
        // Again changes nothing, and is told again: whoever calls again may not know how far the first call got.
        for stream in &mut devices {
            assert_eq!(told(stream).await, ("ben".to_owned(), blocked));
        }
    }
    ben.create_room("r", RoomKind::Public, &["ana"]).await;
    for stream in devices.iter_mut().chain([&mut bens]) {
        let kind = stream.until(|kind| !matches!(kind, Kind::Resumed(_))).await.pop().unwrap();
        assert!(matches!(&kind, Kind::Event(e) if matches!(e.event, Some(Event::MemberJoined(_)))), "{kind:?}");
    }
}

async fn told(stream: &mut Stream) -> (String, bool) {
    match stream.next().await {
        Kind::Block(block) => (block.user_id, block.blocked),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_caller_who_hung_up_has_blocked_is_told_to_their_devices() {
    let server = Server::start();
    let (mut stream, _) = Stream::caught_up(&server.user("ana").await, &[]).await;
    let ana = server.user("ana").await;
    // Until a good many got through: the busier the machine, the more are given up before the server has heard of them.
    for round in 0.. {
        let mut clients = ana.clone();
        let user_id = format!("user-{round}");
        let call = async move { clients.moderation.block_user(wire::BlockUserRequest { user_id }).await };
        give_up_after(fastrand::usize(1..60 + round), call).await;
        // Not very many at once: a connection is closed for that.
        let listed = blocked(&mut ana.clone()).await.len();
        if listed >= 30 {
            break;
        }
    }
    let mut names = BTreeSet::new();
    let agree = async {
        loop {
            let list = wire::ListBlockedUsersRequest { page_size: 500, ..Default::default() };
            let list = ana.clone().moderation.list_blocked_users(list).await.unwrap().into_inner().user_ids;
            if list.iter().all(|user| names.contains(user)) {
                return;
            }
            let (name, blocked) = told(&mut stream).await;
            assert!(blocked);
            names.insert(name);
        }
    };
    within("a word of each block", agree).await;
}

#[tokio::test]
async fn blocked_users_are_listed_by_id_page_by_page_and_there_is_a_limit() {
    let mut server = Server::start();
    let mut ana = server.user("ana").await;
    let users = ["eve", "ben", "dan", "cy", "fay"];
    for user in users {
        block(&mut ana, user).await;
    }
    let (mut page_token, mut pages) = (String::new(), Vec::new());
    loop {
        let request = wire::ListBlockedUsersRequest { page_size: 2, page_token };
        let page = ana.moderation.list_blocked_users(request).await.unwrap().into_inner();
        pages.push(page.user_ids);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [vec!["ben", "cy"], vec!["dan", "eve"], vec!["fay"]]);
    let time = server.sql("1", "now()");
    let rest = "VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 9995";
    let insert = "INSERT INTO blocks (project_id, user_id, blocked_id, blocked_at)";
    let select = format!("SELECT 'default', 'ana', 'user-' || CAST(i AS TEXT), {time} FROM n");
    server.amend(&format!("WITH RECURSIVE n (i) AS ({rest}) {insert} {select}")).await;
    let mut ana = server.user("ana").await;
    let one_more = wire::BlockUserRequest { user_id: "gus".into() };
    assert_eq!(reason(ana.moderation.block_user(one_more).await), "TOO_MANY_BANS");
    block(&mut ana, "ben").await;
    unblock(&mut ana, "ben").await;
    block(&mut ana, "gus").await;
    assert_eq!(blocked(&mut server.user("ben").await).await, Vec::<String>::new());
}
