//! Who has read what: the status of a message, and the cursors of a room.

use relay_proto::chat::v1::{
    self as wire, GetMessageRequest, JoinRoomRequest, LeaveRoomRequest, ListReceiptsRequest, MemberRole, MessageState,
    RemoveMemberRequest, RoomKind,
};
use tonic::Code;

use super::{SOON, cursors, get, plain, read, state};
use crate::support::{Clients, Server, error_of, eventually};

/// The state of a message, and how many have got it, read it, and are there.
async fn status(clients: &mut Clients, room: &str, seq: u64) -> (MessageState, u32, u32, u32) {
    let request = GetMessageRequest { room_id: room.into(), seq };
    let message = clients.chat.get_message(request).await.unwrap().into_inner().message.unwrap();
    let status = message.status.unwrap();
    (status.state(), status.delivered_count, status.read_count, status.member_count)
}

async fn becomes(clients: &Clients, room: &str, seq: u64, expected: (MessageState, u32, u32, u32)) {
    let same = async || status(&mut clients.clone(), room, seq).await == expected;
    eventually(&format!("{expected:?}"), same).await;
}

/// The list of who has read a message comes to name this user alone.
async fn only_read_by(clients: &Clients, room: &str, seq: u64, user: &str) {
    let listed = async || {
        let request = ListReceiptsRequest { min_read_seq: seq, ..list(room) };
        let page = clients.chat.clone().list_receipts(request).await.unwrap().into_inner();
        page.receipts.iter().map(|receipt| receipt.user_id.as_str()).eq([user])
    };
    eventually("the list of who has read it", listed).await;
}

#[tokio::test]
async fn a_message_is_delivered_and_read_when_the_last_of_a_group_has_it() {
    use MessageState::{Delivered, Read, Sent};
    let server = Server::with(&[SOON]);
    let (mut ana, mut ben, mut cy) = (server.user("ana").await, server.user("ben").await, server.user("cy").await);
    ana.create_room("r", RoomKind::Private, &[]).await;
    assert_eq!(ana.say("r", "to nobody").await.seq, 1);
    assert_eq!(status(&mut ana, "r", 1).await, (Sent, 0, 0, 0));
    ana.add("r", "ben", MemberRole::Member).await;
    ana.add("r", "cy", MemberRole::ReadOnly).await;
    assert_eq!(status(&mut ana, "r", 1).await, (Sent, 0, 0, 0), "who joins later was not sent it");
    only_read_by(&ana, "r", 1, "ana").await;
    assert_eq!(ana.say("r", "to both").await.seq, 2);
    assert_eq!(status(&mut ana, "r", 2).await, (Sent, 0, 0, 2));
    get(&mut ben, "r", 2).await;
    becomes(&ana, "r", 2, (Sent, 1, 0, 2)).await;
    get(&mut cy, "r", 2).await;
    becomes(&ana, "r", 2, (Delivered, 2, 0, 2)).await;
    assert_eq!(ben.say("r", "an answer").await.seq, 3);
    becomes(&ana, "r", 2, (Delivered, 2, 1, 2)).await;
    becomes(&ana, "r", 3, (Sent, 0, 0, 2)).await;
    let removed = RemoveMemberRequest { room_id: "r".into(), user_id: "cy".into() };
    ana.rooms.remove_member(removed).await.unwrap();
    becomes(&ana, "r", 2, (Read, 1, 1, 1)).await;
}

#[tokio::test]
async fn who_leaves_and_joins_again_has_not_read_what_came_meanwhile() {
    let server = Server::with(&[SOON]);
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    ana.say("r", "1").await;
    ben.rooms.leave_room(LeaveRoomRequest { room_id: "r".into() }).await.unwrap();
    ana.say("r", "2").await;
    ben.rooms.join_room(JoinRoomRequest { room_id: "r".into() }).await.unwrap();
    for seq in [1, 2] {
        assert_eq!(status(&mut ana, "r", seq).await, (MessageState::Sent, 0, 0, 0));
        only_read_by(&ana, "r", seq, "ana").await;
    }
    assert_eq!(state(&mut ben, "r").await.unread_count, 0);
}

#[tokio::test]
async fn a_message_of_a_direct_room_goes_from_sent_to_delivered_to_read() {
    use MessageState::{Delivered, Read, Sent};
    let server = Server::with(&[SOON]);
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    let request = wire::GetDirectRoomRequest { user_id: "ben".into() };
    let made = ana.rooms.get_direct_room(request).await.unwrap().into_inner().room.unwrap();
    let room = made.room.unwrap().room_id;
    assert_eq!(made.state.unwrap().unread_count, 0);
    ana.say(&room, "hi").await;
    assert_eq!(status(&mut ana, &room, 1).await, (Sent, 0, 0, 1));
    get(&mut ben, &room, 1).await;
    assert_eq!(status(&mut ben, &room, 1).await, (Delivered, 1, 0, 1), "what a node has taken in it shows at once");
    becomes(&ana, &room, 1, (Delivered, 1, 0, 1)).await;
    assert_eq!(read(&mut ben, &room, 1).await.unread_count, 0);
    becomes(&ana, &room, 1, (Read, 1, 1, 1)).await;
}

#[tokio::test]
async fn the_cursors_of_a_room_come_by_user_id_in_pages_and_only_of_those_who_have_read_so_far() {
    let server = Server::with(&[SOON]);
    let mut ana = server.user("ana").await;
    let users: Vec<String> = (0..25).map(|i| format!("u-{i:02}")).collect();
    let members: Vec<&str> = users.iter().map(String::as_str).collect();
    ana.create_room("r", RoomKind::Private, &members).await;
    ana.say_all("r", (0..30).map(|i| i.to_string())).await;
    for (i, user) in users.iter().enumerate().skip(1) {
        read(&mut server.user(user).await, "r", i as u64).await;
    }
    let expected: Vec<_> = [("ana".to_owned(), 30, 30)]
        .into_iter()
        .chain(users.iter().enumerate().map(|(i, user)| (user.clone(), i as u64, i as u64)))
        .collect();
    let all = async || cursors(&mut ana.clone(), "r").await == expected;
    eventually("all cursors", all).await;

    for (min_read_seq, expected) in [(0, &expected[..]), (20, &[&expected[..1], &expected[21..]].concat()[..])] {
        let (mut page_token, mut listed, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let request = ListReceiptsRequest { room_id: "r".into(), page_size: 4, page_token, min_read_seq };
            let page = ana.chat.list_receipts(request).await.unwrap().into_inner();
            assert!(page.receipts.len() <= 4);
            listed.extend(page.receipts.into_iter().map(plain));
            pages += 1;
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
            let other = ListReceiptsRequest { page_token: page_token.clone(), min_read_seq: 7, ..list("r") };
            let refused = ana.chat.list_receipts(other).await.unwrap_err();
            assert_eq!(error_of(&refused), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into(), vec![]));
        }
        assert_eq!((listed.as_slice(), pages), (expected, expected.len().div_ceil(4)));
    }
}

fn list(room: &str) -> ListReceiptsRequest {
    ListReceiptsRequest { room_id: room.into(), ..ListReceiptsRequest::default() }
}

#[tokio::test]
async fn lists_of_rooms_say_how_the_caller_stands_in_each_of_theirs() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    for (i, room) in ["a", "b", "c"].iter().enumerate() {
        ana.create_room(room, RoomKind::Public, if i < 2 { &["ben"] } else { &[] }).await;
        ana.say_all(room, (0..=i).map(|i| i.to_string())).await;
    }
    read(&mut ben, "b", 1).await;
    let request = wire::ListRoomsRequest { scope: wire::RoomScope::Public.into(), ..Default::default() };
    let rooms = ben.rooms.list_rooms(request).await.unwrap().into_inner().rooms;
    let states: Vec<_> = rooms.iter().map(|room| room.state.as_ref().map(|s| (s.read_seq, s.unread_count))).collect();
    assert_eq!(states, [None, Some((1, 1)), Some((0, 1))], "the newest first");
    let joined = wire::JoinRoomRequest { room_id: "c".into() };
    let joined = ben.rooms.join_room(joined).await.unwrap().into_inner().room.unwrap();
    assert_eq!(joined.state.map(|state| (state.read_seq, state.unread_count, state.last_seq)), Some((3, 0, 3)));
    assert_eq!(state(&mut ana, "c").await.unread_count, 0, "who sends has read it");
}
