//! What a lane does not take: each kind with its own reason and field.

use relay_proto::chat::v1::{
    JoinRoomRequest, LeaveRoomRequest, MemberRole, RoomKind, SendMessageRequest, SkipLaneRequest, UpdateMemberRequest,
};
use tonic::Code;

use super::{FOR_EVER, laned, places, send, sending, skip, texts, until_waiting};
use crate::support::{Server, error_of};

#[tokio::test]
async fn names_and_numbers_outside_their_limits_are_refused_by_field() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let long = "x".repeat(65);
    for (lane, number, field) in [
        ("", 1, "lane_id"),
        ("a b", 1, "lane_id"),
        ("ä", 1, "lane_id"),
        (&long, 1, "lane_id"),
        ("phone", 0, "client_seq"),
        ("phone", 1 << 63, "client_seq"),
        ("phone", u64::MAX, "client_seq"),
    ] {
        let status = send(&ana, laned("r", lane, number)).await.unwrap_err();
        assert_eq!(error_of(&status), (Code::InvalidArgument, "FIELD_INVALID".into(), vec![field.into()]));
    }
    for (lane, first, last, field) in [
        ("", 1, 1, "lane_id"),
        ("a/b", 1, 1, "lane_id"),
        (&long, 1, 1, "lane_id"),
        ("phone", 0, 1, "first_client_seq"),
        ("phone", u64::MAX, 0, "first_client_seq"),
        ("phone", 1, u64::MAX, "last_client_seq"),
        ("phone", 1, 1_001, "last_client_seq"),
        ("phone", 5, 4, "last_client_seq"),
    ] {
        let status = skip(&ana, "r", lane, first, last).await.unwrap_err();
        assert_eq!(
            error_of(&status),
            (Code::InvalidArgument, "FIELD_INVALID".into(), vec![field.into()]),
            "{lane} {first} {last}"
        );
    }
    let nowhere = SkipLaneRequest { lane_id: "phone".into(), first_client_seq: 1, ..SkipLaneRequest::default() };
    let status = ana.chat.skip_lane(nowhere).await.unwrap_err();
    assert_eq!(error_of(&status), (Code::InvalidArgument, "FIELD_INVALID".into(), vec!["room_id".into()]));
    // The longest name, and all characters.
    for lane in ["x".repeat(64), "aZ09._:-".into()] {
        assert_eq!(send(&ana, laned("r", &lane, 1)).await.unwrap().next_client_seq, 2);
    }
    assert_eq!(skip(&ana, "r", "phone", 1, 1_000).await.unwrap(), 1_001);
}

#[tokio::test]
async fn a_number_far_ahead_is_refused_and_changes_nothing() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    send(&ana, laned("r", "phone", 1)).await.unwrap();
    let expected = |field: &str| (Code::InvalidArgument, "LANE_JUMP_TOO_FAR".to_owned(), vec![field.to_owned()]);
    for number in [1_003, 1_000_000, (1 << 63) - 1] {
        let status = send(&ana, laned("r", "phone", number)).await.unwrap_err();
        assert_eq!(error_of(&status), expected("client_seq"));
        assert!(status.message().contains("ahead of 2"), "{}", status.message());
        let status = skip(&ana, "r", "phone", number, 0).await.unwrap_err();
        assert_eq!(error_of(&status), expected("first_client_seq"));
    }
    // As far as it goes.
    let waits = sending(&ana, laned("r", "phone", 1_002));
    until_waiting(&server, 1.0).await;
    assert_eq!(skip(&ana, "r", "phone", 2, 1_001).await.unwrap(), 1_002);
    assert_eq!(waits.await.unwrap().unwrap().next_client_seq, 1_003);
}

#[tokio::test]
async fn a_number_stands_for_one_message() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let used = (Code::AlreadyExists, "LANE_NUMBER_USED".to_owned(), vec!["client_seq".to_owned()]);
    let waiting = laned("r", "phone", 2);
    let waits = sending(&ana, waiting.clone());
    until_waiting(&server, 1.0).await;
    // While the one waits,
    assert_eq!(error_of(&send(&ana, laned("r", "phone", 2)).await.unwrap_err()), used);
    let other = SendMessageRequest { text: "another".into(), ..waiting };
    let status = send(&ana, other.clone()).await.unwrap_err();
    assert_eq!((status.code(), error_of(&status).1.as_str()), (Code::AlreadyExists, "CLIENT_MESSAGE_ID_REUSED"));
    send(&ana, laned("r", "phone", 1)).await.unwrap();
    waits.await.unwrap().unwrap();
    // and when it is written.
    assert_eq!(error_of(&send(&ana, laned("r", "phone", 2)).await.unwrap_err()), used);
    assert_eq!(error_of(&send(&ana, other).await.unwrap_err()).1, "CLIENT_MESSAGE_ID_REUSED");
    assert_eq!(texts(&ana, "r").await, ["1", "2"]);
}

#[tokio::test]
async fn who_may_not_send_is_told_so_at_once_and_again_when_their_turn_comes() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    let mut ben = server.user("ben").await;
    ana.create_room("r", RoomKind::Public, &[]).await;
    ana.create_room("p", RoomKind::Private, &[]).await;
    for number in [1, 2] {
        for (room, reason) in [("r", "NOT_A_MEMBER"), ("p", "ROOM_NOT_FOUND"), ("q", "ROOM_NOT_FOUND")] {
            assert_eq!(error_of(&send(&ben, laned(room, "phone", number)).await.unwrap_err()).1, reason);
            assert_eq!(error_of(&skip(&ben, room, "phone", number, 0).await.unwrap_err()).1, reason);
        }
    }
    ben.join("r").await;
    let waits = sending(&ben, laned("r", "phone", 2));
    until_waiting(&server, 1.0).await;
    let reader = UpdateMemberRequest { room_id: "r".into(), user_id: "ben".into(), role: MemberRole::ReadOnly.into() };
    ana.rooms.update_member(reader).await.unwrap();
    assert_eq!(error_of(&send(&ben, laned("r", "phone", 1)).await.unwrap_err()).1, "ROLE_INSUFFICIENT");
    assert_eq!(error_of(&skip(&ben, "r", "phone", 1, 0).await.unwrap_err()).1, "ROLE_INSUFFICIENT");
    let member = UpdateMemberRequest { room_id: "r".into(), user_id: "ben".into(), role: MemberRole::Member.into() };
    ana.rooms.update_member(member).await.unwrap();
    assert_eq!(send(&ben, laned("r", "phone", 1)).await.unwrap().next_client_seq, 2);
    assert_eq!(waits.await.unwrap().unwrap().next_client_seq, 3);
    // Who comes back goes on where they were.
    ben.rooms.leave_room(LeaveRoomRequest { room_id: "r".into() }).await.unwrap();
    ben.rooms.join_room(JoinRoomRequest { room_id: "r".into() }).await.unwrap();
    assert_eq!(send(&ben, laned("r", "phone", 3)).await.unwrap().next_client_seq, 4);
    assert_eq!(places(&ben, "r").await, [(1, 0), (2, 0), (3, 0)]);
}
