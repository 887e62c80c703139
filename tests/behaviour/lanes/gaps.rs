//! What does not come in time is passed over: the log says so, and what comes late is written after.

use std::time::{Duration, Instant};

use relay_proto::chat::v1::{self as wire, GetMessageRequest, LanePlace, RoomKind, room_event::Event};

use super::{laned, places, send, sending, texts, until_waiting};
use crate::support::{Clients, Server, Stream, error_of};

const WAIT: Duration = Duration::from_millis(300);
const SHORT: &[(&str, &str)] = &[("chat.lane_wait", "300ms")];

fn place(number: u64, missing_before: u64) -> Option<LanePlace> {
    Some(LanePlace { lane_id: "phone".into(), client_seq: number, missing_before })
}

async fn get(clients: &Clients, seq: u64) -> wire::Message {
    let request = GetMessageRequest { room_id: "r".into(), seq };
    clients.chat.clone().get_message(request).await.unwrap().into_inner().message.unwrap()
}

#[tokio::test]
async fn a_message_waits_for_those_before_it_and_then_passes_and_says_how_many_were_missing() {
    let server = Server::with(SHORT);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let (mut stream, _) = Stream::caught_up(&server.user("ben").await, &[]).await;
    send(&ana, laned("r", "phone", 1)).await.unwrap();
    let began = Instant::now();
    let receipt = send(&ana, laned("r", "phone", 5)).await.unwrap();
    assert!(began.elapsed() >= WAIT, "{:?}", began.elapsed());
    assert_eq!((receipt.seq, receipt.next_client_seq), (2, 6));
    // What comes late is written when it comes, and once.
    let late = laned("r", "phone", 3);
    let receipt = send(&ana, late.clone()).await.unwrap();
    assert_eq!((receipt.seq, receipt.next_client_seq, receipt.duplicate), (3, 6, false));
    let receipt = send(&ana, late).await.unwrap();
    assert_eq!((receipt.seq, receipt.next_client_seq, receipt.duplicate), (3, 6, true));
    let status = send(&ana, laned("r", "phone", 3)).await.unwrap_err();
    assert_eq!(error_of(&status).1, "LANE_NUMBER_USED");
    let expected = [place(1, 0), place(5, 3), place(3, 1)];
    for (seq, place) in (1..).zip(expected.clone()) {
        assert_eq!(get(&ana, seq).await.lane, place);
        let event = stream.event().await.event;
        assert!(
            matches!(event, Some(Event::MessageCreated(created)) if created.message.as_ref().unwrap().lane == place)
        );
    }
    // A replay tells the same.
    let (_, frames) = Stream::caught_up(&ana, &[("r", 0)]).await;
    let replayed: Vec<_> = frames
        .into_iter()
        .filter_map(|kind| match kind {
            wire::frame::Kind::Event(event) => match event.event {
                Some(Event::MessageCreated(created)) => Some(created.message.unwrap().lane),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(replayed, expected);
}

#[tokio::test]
async fn whatever_waits_before_one_that_passes_goes_before_it_and_the_next_follow_at_once() {
    let server = Server::with(&[("chat.lane_wait", "1s")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let mut sends = Vec::new();
    for (waiting, number) in [(1.0, 6), (2.0, 3), (3.0, 7), (4.0, 4)] {
        sends.push(sending(&ana, laned("r", "phone", number)));
        until_waiting(&server, waiting).await;
    }
    for sent in sends {
        sent.await.unwrap().unwrap();
    }
    assert_eq!(places(&ana, "r").await, [(3, 2), (4, 0), (6, 1), (7, 0)]);
    for late in [5, 2, 1] {
        assert_eq!(send(&ana, laned("r", "phone", late)).await.unwrap().next_client_seq, 8);
    }
    assert_eq!(texts(&ana, "r").await, ["3", "4", "6", "7", "5", "2", "1"]);
}

#[tokio::test]
async fn a_lane_of_which_the_server_knows_nothing_begins_with_what_comes() {
    let server = Server::with(SHORT);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    assert_eq!(send(&ana, laned("r", "phone", 1_001)).await.unwrap().next_client_seq, 1_002);
    assert_eq!(places(&ana, "r").await, [(1_001, 1_000)]);
    assert_eq!(send(&ana, laned("r", "phone", 1_002)).await.unwrap().next_client_seq, 1_003);
}
