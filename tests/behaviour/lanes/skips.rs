//! Numbers that will not come are declared skipped: nobody waits for them.

use std::time::{Duration, Instant};

use relay_proto::chat::v1::{RoomKind, SkipLaneRequest, connect_request::Frame as Up, reply::Result as Outcome};
use tonic::Code;

use super::{FOR_EVER, laned, places, send, sending, skip, texts, until_waiting};
use crate::support::{Server, Stream, error_of};

#[tokio::test]
async fn what_was_skipped_before_is_not_waited_for() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    assert_eq!(skip(&ana, "r", "phone", 1, 0).await.unwrap(), 2);
    assert_eq!(send(&ana, laned("r", "phone", 2)).await.unwrap().next_client_seq, 3);
    // Further ahead: remembered until the lane is there. Twice is as good as once.
    for _ in 0..2 {
        assert_eq!(skip(&ana, "r", "phone", 4, 6).await.unwrap(), 3);
    }
    assert_eq!(skip(&ana, "r", "phone", 8, 8).await.unwrap(), 3);
    assert_eq!(send(&ana, laned("r", "phone", 3)).await.unwrap().next_client_seq, 7);
    assert_eq!(send(&ana, laned("r", "phone", 7)).await.unwrap().next_client_seq, 9);
    assert_eq!(places(&ana, "r").await, [(2, 0), (3, 0), (7, 0)]);
    // Other lanes know nothing of it.
    assert_eq!(send(&ana, laned("r", "desk", 1)).await.unwrap().next_client_seq, 2);
}

#[tokio::test]
async fn who_waits_passes_as_soon_as_what_they_wait_for_is_skipped() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let sends = [5, 4, 7].map(|number| sending(&ana, laned("r", "phone", number)));
    until_waiting(&server, 3.0).await;
    assert_eq!(skip(&ana, "r", "phone", 2, 3).await.unwrap(), 1);
    assert_eq!(skip(&ana, "r", "phone", 6, 6).await.unwrap(), 1);
    assert_eq!(skip(&ana, "r", "phone", 1, 1).await.unwrap(), 4);
    for sent in sends {
        sent.await.unwrap().unwrap();
    }
    assert_eq!(places(&ana, "r").await, [(4, 0), (5, 0), (7, 0)]);
}

#[tokio::test]
async fn a_stream_skips_with_a_frame() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let mut stream = Stream::open(&ana, &[]).await;
    stream.send("2", Up::Send(laned("r", "phone", 2))).await;
    let frame = |room: &str, first| SkipLaneRequest {
        room_id: room.into(),
        lane_id: "phone".into(),
        first_client_seq: first,
        last_client_seq: 0,
    };
    stream.send("skip", Up::SkipLane(frame("r", 1))).await;
    let answer = stream.reply("skip").await;
    assert!(matches!(&answer, Outcome::LaneSkipped(skipped) if skipped.next_client_seq >= 2), "{answer:?}");
    until_waiting(&server, 0.0).await;
    stream.send("3", Up::Send(laned("r", "phone", 3))).await;
    assert!(matches!(stream.reply("3").await, Outcome::Sent(receipt) if receipt.next_client_seq == 4));
    assert_eq!(texts(&ana, "r").await, ["2", "3"]);
    for (room, first, reason) in [("q", 1, "ROOM_NOT_FOUND"), ("r", 0, "FIELD_INVALID"), ("", 1, "FIELD_INVALID")] {
        stream.send("bad", Up::SkipLane(frame(room, first))).await;
        let Outcome::Error(error) = stream.reply("bad").await else { panic!("it is refused") };
        assert_eq!(error.reason().as_str_name(), format!("ERROR_REASON_{reason}"));
    }
}

#[tokio::test]
async fn many_sends_that_wait_on_a_stream_do_not_keep_it_from_skipping() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let mut stream = Stream::open(&ana, &[]).await;
    // As many as may be in flight.
    for number in 2..=257 {
        stream.send(&number.to_string(), Up::Send(laned("r", "phone", number))).await;
    }
    until_waiting(&server, 256.0).await;
    let skip =
        SkipLaneRequest { room_id: "r".into(), lane_id: "phone".into(), first_client_seq: 1, last_client_seq: 1 };
    stream.send("skip", Up::SkipLane(skip)).await;
    for number in 2..=257 {
        assert!(matches!(stream.reply(&number.to_string()).await, Outcome::Sent(_)));
    }
    assert_eq!(places(&ana, "r").await, (2..=257).map(|n| (n, 0)).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_used_stays_and_what_was_skipped_is_not_taken() {
    let server = Server::with(&[("chat.lane_wait", "100ms")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let first = laned("r", "phone", 1);
    send(&ana, first.clone()).await.unwrap();
    // 2 and 3 are passed over, 2 is skipped afterwards.
    send(&ana, laned("r", "phone", 4)).await.unwrap();
    assert_eq!(skip(&ana, "r", "phone", 1, 2).await.unwrap(), 5);
    assert!(send(&ana, first).await.unwrap().duplicate);
    assert_eq!(skip(&ana, "r", "phone", 7, 8).await.unwrap(), 5);
    for number in [1, 2, 4, 7, 8] {
        let status = send(&ana, laned("r", "phone", number)).await.unwrap_err();
        let expected = (Code::AlreadyExists, "LANE_NUMBER_USED".to_owned(), vec!["client_seq".to_owned()]);
        assert_eq!(error_of(&status), expected);
        assert!(status.message().contains("expects 5 next"), "{}", status.message());
    }
    assert_eq!(send(&ana, laned("r", "phone", 3)).await.unwrap().next_client_seq, 5);
    assert_eq!(places(&ana, "r").await, [(1, 0), (4, 2), (3, 0)]);
}

#[tokio::test]
async fn a_message_that_waits_is_refused_once_its_number_is_skipped() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let waits = sending(&ana, laned("r", "phone", 3));
    until_waiting(&server, 1.0).await;
    assert_eq!(skip(&ana, "r", "phone", 1, 3).await.unwrap(), 4);
    assert_eq!(error_of(&waits.await.unwrap().unwrap_err()).1, "LANE_NUMBER_USED");
    assert_eq!(send(&ana, laned("r", "phone", 4)).await.unwrap().seq, 1);
}

#[tokio::test]
async fn a_refused_message_does_not_use_its_number_up() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let mut first = laned("r", "phone", 1);
    first.reply_to_seq = 9;
    let waits = [sending(&ana, laned("r", "phone", 2)), sending(&ana, laned("r", "phone", 4))];
    until_waiting(&server, 2.0).await;
    // It is refused at once, its turn or not.
    for number in [1, 3] {
        let refused = super::SendMessageRequest { client_seq: number, ..first.clone() };
        let status = send(&ana, refused).await.unwrap_err();
        assert_eq!(error_of(&status).2, ["reply_to_seq"]);
    }
    first.reply_to_seq = 0;
    assert_eq!(send(&ana, first).await.unwrap().next_client_seq, 2);
    let [second, fourth] = waits;
    assert_eq!(second.await.unwrap().unwrap().next_client_seq, 3);
    assert_eq!(skip(&ana, "r", "phone", 3, 3).await.unwrap(), 4);
    assert_eq!(fourth.await.unwrap().unwrap().next_client_seq, 5);
    assert_eq!(places(&ana, "r").await, [(1, 0), (2, 0), (4, 0)]);
}

/// Rounds of the tests below. If only the look into the database, every 100 ms, found whose turn it is, they took 10 s.
const ROUNDS: u64 = 100;
const LIMIT: Duration = Duration::from_secs(6);

#[tokio::test]
async fn each_message_wakes_the_next_at_once() {
    let server = Server::alone(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let mut sends = Vec::new();
    for round in 1..=ROUNDS {
        skip(&ana, "r", "phone", 2 * round + 1, 0).await.unwrap();
        sends.push(sending(&ana, laned("r", "phone", 2 * round)));
    }
    until_waiting(&server, ROUNDS as f64).await;
    let began = Instant::now();
    // With each that is written the lane comes to the next, and no further.
    send(&ana, laned("r", "phone", 1)).await.unwrap();
    for sent in sends {
        sent.await.unwrap().unwrap();
    }
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn each_skip_wakes_the_next_at_once() {
    let server = Server::alone(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let sends: Vec<_> = (1..=ROUNDS).map(|round| sending(&ana, laned("r", "phone", 2 * round))).collect();
    until_waiting(&server, ROUNDS as f64).await;
    let began = Instant::now();
    for (round, sent) in (1..).zip(sends) {
        skip(&ana, "r", "phone", 2 * round - 1, 0).await.unwrap();
        assert_eq!(sent.await.unwrap().unwrap().next_client_seq, 2 * round + 1);
    }
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
}
