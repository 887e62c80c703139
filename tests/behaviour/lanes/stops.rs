//! What waits when a server ends.

use relay_proto::chat::v1::{RoomKind, connect_request::Frame as Up};

use super::{laned, places, send, sending, until_waiting};
use crate::support::{Server, Stream};

const SETTINGS: &[(&str, &str)] = &[("chat.lane_wait", "1m"), ("server.drain_timeout", "3s")];

#[tokio::test]
async fn a_clean_stop_writes_what_waits() {
    let mut server = Server::alone(SETTINGS);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    send(&ana, laned("r", "phone", 1)).await.unwrap();
    let stream = Stream::open(&ana, &[]).await;
    for number in [9, 5, 4] {
        stream.send("", Up::Send(laned("r", "phone", number))).await;
    }
    let called = laned("r", "desk", 2);
    let calls = sending(&ana, called.clone());
    until_waiting(&server, 4.0).await;
    server.terminate();
    assert!(server.ended().await.success());
    drop(calls.await);
    server.restart();
    let ana = server.user("ana").await;
    // Who did not hear the answer asks again.
    assert!(send(&ana, called).await.unwrap().duplicate);
    let (mut phone, mut desk) = (places(&ana, "r").await, Vec::new());
    desk.extend(phone.extract_if(.., |place| *place == (2, 1)));
    assert_eq!((phone, desk.len()), (vec![(1, 0), (4, 2), (5, 0), (9, 3)], 1));
    assert_eq!(send(&ana, laned("r", "phone", 3)).await.unwrap().next_client_seq, 10);
}

#[tokio::test]
async fn what_waited_when_the_server_was_killed_is_sent_again_and_written_once() {
    let mut server = Server::alone(SETTINGS);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let third = laned("r", "phone", 3);
    let lost = sending(&ana, third.clone());
    until_waiting(&server, 1.0).await;
    server.kill();
    lost.await.unwrap().unwrap_err();
    server.restart();
    let ana = server.user("ana").await;
    let again = sending(&ana, third);
    until_waiting(&server, 1.0).await;
    for number in [2, 1] {
        drop(sending(&ana, laned("r", "phone", number)));
    }
    assert!(!again.await.unwrap().unwrap().duplicate);
    assert_eq!(places(&ana, "r").await, [(1, 0), (2, 0), (3, 0)]);
}
