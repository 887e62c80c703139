//! What waits is bounded, and so is what is remembered.

use std::time::Duration;

use relay_proto::chat::v1::{
    AddReactionRequest, EditMessageRequest, LanePlace, RoomKind, SendMessageRequest, SendMessagesRequest, send_result,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{FOR_EVER, laned, places, send, sending, until_waiting};
use crate::support::{Clients, Server, error_of, message};

fn assert_full(status: &Status) {
    assert_eq!(error_of(status), (Code::ResourceExhausted, "LANE_FULL".into(), vec![]));
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| delay > Duration::ZERO), "{delay:?}");
}

/// Sends these numbers, which wait, a hundred in a call.
fn batches(clients: &Clients, numbers: std::ops::RangeInclusive<u64>) -> Vec<tokio::task::JoinHandle<usize>> {
    let requests: Vec<_> = numbers.map(|number| laned("r", "phone", number)).collect();
    let batch = |requests: &[SendMessageRequest]| {
        let (mut chat, requests) = (clients.chat.clone(), requests.to_vec());
        tokio::spawn(async move {
            let answer = chat.send_messages(SendMessagesRequest { requests }).await.unwrap().into_inner();
            let written = |result: &&_| matches!(result, Some(send_result::Result::Receipt(_)));
            answer.results.iter().map(|result| &result.result).filter(written).count()
        })
    };
    requests.chunks(100).map(batch).collect()
}

#[tokio::test]
async fn so_many_messages_of_a_lane_wait_and_no_more() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let waiting = batches(&ana, 2..=257);
    until_waiting(&server, 256.0).await;
    assert_full(&send(&ana, laned("r", "phone", 258)).await.unwrap_err());
    // Other lanes have their own.
    let other = sending(&ana, laned("r", "desk", 2));
    until_waiting(&server, 257.0).await;
    for lane in ["phone", "desk"] {
        send(&ana, laned("r", lane, 1)).await.unwrap();
    }
    let mut written = 0;
    for batch in waiting {
        written += batch.await.unwrap();
    }
    assert_eq!(written, 256);
    other.await.unwrap().unwrap();
    assert_eq!(send(&ana, laned("r", "phone", 258)).await.unwrap().next_client_seq, 259);
    let mut places = places(&ana, "r").await;
    places.sort_unstable();
    assert_eq!(places.len(), 260);
    assert!(places.iter().all(|(_, missing)| *missing == 0), "{places:?}");
}

#[tokio::test]
async fn messages_of_a_sender_wait_in_so_many_lanes_of_a_room_and_no_more() {
    let server = Server::alone(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ana.create_room("s", RoomKind::Private, &[]).await;
    let mut sends: Vec<_> = (0..64).map(|lane| sending(&ana, laned("r", &lane.to_string(), 2))).collect();
    until_waiting(&server, 64.0).await;
    assert_full(&send(&ana, laned("r", "64", 2)).await.unwrap_err());
    // Lanes that are there take more, and other rooms and senders have their own.
    sends.push(sending(&ana, laned("r", "0", 3)));
    sends.push(sending(&ana, laned("s", "64", 2)));
    sends.push(sending(&server.user("ben").await, laned("r", "64", 2)));
    until_waiting(&server, 67.0).await;
    for (clients, room, lanes) in [(&ana, "r", 0..64), (&ana, "s", 64..65), (&server.user("ben").await, "r", 64..65)] {
        for lane in lanes {
            send(clients, laned(room, &lane.to_string(), 1)).await.unwrap();
        }
    }
    for sent in sends {
        sent.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_waits_in_all_is_bounded_in_bytes_and_takes_no_room_from_what_does_not_wait() {
    let bytes = "131072";
    let settings = [("chat.lane_wait", "1m"), ("chat.lane_wait_bytes", bytes), ("chat.append_queue_bytes", bytes)];
    let server = Server::alone(&settings);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let long = |lane: &str, number| SendMessageRequest { text: "x".repeat(20_000), ..laned("r", lane, number) };
    let lanes = ["a", "b", "c", "d", "e", "f"];
    let mut sends = Vec::new();
    for (waiting, lane) in (1_u32..).zip(lanes) {
        sends.push(sending(&ana, long(lane, 2)));
        until_waiting(&server, waiting.into()).await;
    }
    assert_full(&send(&ana, long("g", 2)).await.unwrap_err());
    // Neither who sends without a lane, nor whose turn it is, notices.
    for _ in 0..10 {
        send(&ana, SendMessageRequest { text: "x".repeat(32_000), ..message("r", "") }).await.unwrap();
    }
    for lane in lanes {
        send(&ana, long(lane, 1)).await.unwrap();
    }
    for sent in sends {
        sent.await.unwrap().unwrap();
    }
    // What does not wait any more takes no room.
    let again = sending(&ana, long("g", 2));
    until_waiting(&server, 1.0).await;
    send(&ana, long("g", 1)).await.unwrap();
    again.await.unwrap().unwrap();
}

#[tokio::test]
async fn of_a_senders_lanes_those_used_last_are_remembered() {
    let server = Server::with(&[("chat.lane_wait", "100ms")]);
    let mut ana = server.user("ana").await;
    let mut ben = server.user("ben").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ana.create_room("q", RoomKind::Private, &[]).await;
    let lane = |n: u32| format!("l{n:02}");
    for (who, room) in [(&mut ben, "r"), (&mut ana, "q")] {
        assert_eq!(send(who, laned(room, "other", 1)).await.unwrap().next_client_seq, 2);
    }
    for n in 1..=64 {
        send(&ana, laned("r", &lane(n), 1)).await.unwrap();
    }
    send(&ana, laned("r", &lane(1), 2)).await.unwrap();
    send(&ana, laned("r", &lane(65), 1)).await.unwrap();
    // The one that was used least recently is gone: it begins anew.
    assert_eq!(send(&ana, laned("r", &lane(3), 2)).await.unwrap().next_client_seq, 3);
    assert_eq!(send(&ana, laned("r", &lane(1), 3)).await.unwrap().next_client_seq, 4);
    assert_eq!(send(&ana, laned("r", &lane(2), 1)).await.unwrap().next_client_seq, 2);
    // With it, the next is forgotten. Skipping begins a lane, too.
    assert_eq!(super::skip(&ana, "r", &lane(4), 1, 5).await.unwrap(), 6);
    // Others' lanes, and those of other rooms, are not counted.
    for (who, room) in [(&mut ben, "r"), (&mut ana, "q")] {
        assert_eq!(send(who, laned(room, "other", 2)).await.unwrap().next_client_seq, 3);
    }
}

#[tokio::test]
async fn a_message_keeps_its_place_whatever_becomes_of_it() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    send(&ana, laned("r", "phone", 1)).await.unwrap();
    let lane = Some(LanePlace { lane_id: "phone".into(), client_seq: 1, missing_before: 0 });
    let edit = EditMessageRequest { room_id: "r".into(), seq: 1, text: "new".into(), ..Default::default() };
    assert_eq!(ana.chat.edit_message(edit).await.unwrap().into_inner().message.unwrap().lane, lane);
    let react = AddReactionRequest { room_id: "r".into(), seq: 1, emoji: "x".into() };
    ana.chat.add_reaction(react).await.unwrap();
    assert_eq!(ana.history("r").await[0].lane, lane);
    assert_eq!(send(&ana, laned("r", "phone", 2)).await.unwrap().seq, 2);
}
