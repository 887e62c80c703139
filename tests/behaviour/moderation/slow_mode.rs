//! Slow mode.

use std::time::Duration;

use relay_proto::chat::v1::{self as wire, MemberRole, RoomKind, room_event::Event, send_result::Result as Sent};

use super::{assert_waits, direct, join_of, next, reason, slow};
use crate::support::{Server, Stream, eventually, message};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn in_slow_mode_members_wait_between_two_messages_at_every_node() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &["ben", "cy"]).await;
    ana.add("r", "bob", MemberRole::Admin).await;
    ben.say("r", "fast").await;
    ben.say("r", "faster").await;
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    let room = ana.rooms.update_room(slow("r", 3_600)).await.unwrap().into_inner().room.unwrap();
    assert_eq!(room.slow_mode_seconds, 3_600);
    let (_, event) = next(&mut stream).await;
    assert!(
        matches!(&event, Event::RoomUpdated(u) if u.room.as_ref().unwrap().slow_mode_seconds == 3_600),
        "{event:?}"
    );

    let sent = message("r", "one");
    ben.chat.send_message(sent.clone()).await.unwrap();
    for n in 0..server.count() {
        let mut ben = server.node(n).user("ben").await;
        assert_waits(ben.chat.send_message(message("r", "no")).await, "SLOW_MODE", HOUR);
        assert!(ben.chat.send_message(sent.clone()).await.unwrap().into_inner().receipt.unwrap().duplicate);
        // Nobody waits for others.
        let user = format!("user-{n}");
        let mut user = server.node(n).user(&user).await;
        user.join("r").await;
        user.say("r", "mine").await;
    }
    for user in ["ana", "bob"] {
        let mut clients = server.user(user).await;
        clients.say("r", "a").await;
        clients.say("r", "b").await;
    }
    // Neither does it help to go and come again.
    ben.rooms.leave_room(wire::LeaveRoomRequest { room_id: "r".into() }).await.unwrap();
    ben.rooms.join_room(join_of("r")).await.unwrap();
    assert_waits(ben.chat.send_message(message("r", "no")).await, "SLOW_MODE", HOUR);

    ana.rooms.update_room(slow("r", 0)).await.unwrap();
    ben.say("r", "fast again").await;
    ben.say("r", "and faster").await;
}

#[tokio::test]
async fn of_messages_that_are_sent_together_slow_mode_takes_the_first_of_each_room() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    for room in ["r", "s"] {
        ana.create_room(room, RoomKind::Public, &["ben"]).await;
    }
    ana.rooms.update_room(slow("r", 3_600)).await.unwrap();
    let bad = wire::SendMessageRequest { reply_to_seq: 99, ..message("r", "refused for another reason") };
    let same = message("r", "1");
    let requests = vec![bad, same.clone(), same, message("s", "1"), message("r", "2"), message("s", "2")];
    let answer = ben.chat.send_messages(wire::SendMessagesRequest { requests }).await.unwrap().into_inner();
    let told = answer.results.into_iter().map(|result| match result.result.unwrap() {
        Sent::Receipt(receipt) => format!("{} {}", receipt.room_id, receipt.seq),
        Sent::Error(error) => {
            assert_eq!(error.retry_after.is_some(), error.reason().as_str_name().ends_with("SLOW_MODE"));
            error.reason().as_str_name().replace("ERROR_REASON_", "")
        }
    });
    assert_eq!(told.collect::<Vec<_>>(), ["FIELD_INVALID", "r 1", "r 1", "s 1", "SLOW_MODE", "s 2"]);
}

#[tokio::test]
async fn the_wait_of_slow_mode_ends() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    ana.rooms.update_room(slow("r", 1)).await.unwrap();
    ben.say("r", "one").await;
    let two = message("r", "two");
    assert_waits(ben.chat.send_message(two.clone()).await, "SLOW_MODE", Duration::from_secs(1));
    eventually("the end of the wait", async || ben.clone().chat.send_message(two.clone()).await.is_ok()).await;
}

#[tokio::test]
async fn slow_mode_is_set_as_other_changes_of_a_room_are() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    assert_eq!(reason(ben.rooms.update_room(slow("r", 1)).await), "ROLE_INSUFFICIENT");
    let room = direct(&mut ana, "ben").await;
    assert_eq!(reason(ana.rooms.update_room(slow(&room, 1)).await), "ROOM_IS_DIRECT");
    let before = ana.rooms.update_room(slow("r", 86_400)).await.unwrap().into_inner().room.unwrap();
    // Nothing changes by the same, nor by a path that is not named.
    let same = ana.rooms.update_room(slow("r", 86_400)).await.unwrap().into_inner().room.unwrap();
    assert_eq!(same, before);
    let update_mask = Some(prost_types::FieldMask { paths: vec!["title".into()] });
    let request = wire::UpdateRoomRequest { title: "t".into(), update_mask, ..slow("r", 5) };
    let room = ana.rooms.update_room(request).await.unwrap().into_inner().room.unwrap();
    assert_eq!((room.title.as_str(), room.slow_mode_seconds), ("t", 86_400));
}
