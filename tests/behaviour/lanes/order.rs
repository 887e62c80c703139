//! Whatever order messages come in, they are written in the order of their numbers, each once.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use relay_proto::chat::v1::{
    RoomKind, SendMessagesRequest, connect_request::Frame as Up, reply::Result as Outcome, send_result,
};

use super::{FOR_EVER, laned, places, send, sending, texts, until_waiting};
use crate::support::{Server, Stream, message};

fn numbers(count: u64) -> Vec<String> {
    (1..=count).map(|n| n.to_string()).collect()
}

/// Sends these numbers over one stream without waiting, and answers with what the lane expects after each, as it is answered.
async fn pipelined(stream: &mut Stream, order: impl Iterator<Item = u64> + Clone) -> Vec<(u64, u64)> {
    for number in order.clone() {
        stream.send(&number.to_string(), Up::Send(laned("r", "phone", number))).await;
    }
    let mut answers = Vec::new();
    for number in order.collect::<BTreeSet<_>>() {
        match stream.reply(&number.to_string()).await {
            Outcome::Sent(receipt) => answers.push((receipt.seq, receipt.next_client_seq)),
            other => panic!("{number}: {other:?}"),
        }
    }
    answers
}

#[tokio::test]
async fn what_comes_in_order_is_written_at_once_and_told_what_is_next() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let mut stream = Stream::open(&ana, &[]).await;
    let answers = pipelined(&mut stream, 1..=200).await;
    assert_eq!(answers, (1..=200).map(|n| (n, n + 1)).collect::<Vec<_>>());
    assert_eq!(places(&ana, "r").await, (1..=200).map(|n| (n, 0)).collect::<Vec<_>>());
    assert_eq!(ana.say("r", "without a lane").await.next_client_seq, 0);
}

#[tokio::test]
async fn what_comes_the_wrong_way_round_is_sorted() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let mut stream = Stream::open(&ana, &[]).await;
    let answers = pipelined(&mut stream, (1..=200).rev()).await;
    assert_eq!(answers, (1..=200).map(|n| (n, n + 1)).collect::<Vec<_>>());
    assert_eq!(texts(&ana, "r").await, numbers(200));
    assert_eq!(places(&ana, "r").await, (1..=200).map(|n| (n, 0)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_of_sends_is_sorted_like_single_ones() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let mut requests: Vec<_> = (1..=100).map(|n| laned("r", "phone", n)).collect();
    fastrand::shuffle(&mut requests);
    requests[50].text = String::new();
    let refused = requests[50].client_seq;
    requests[50].client_seq = 0;
    let mut last = requests.clone();
    let results = tokio::spawn({
        let mut ana = ana.clone();
        async move { ana.chat.send_messages(SendMessagesRequest { requests }).await.unwrap().into_inner().results }
    });
    until_waiting(&server, (100 - refused) as f64).await;
    last[50].text = refused.to_string();
    last[50].client_seq = refused;
    send(&ana, last[50].clone()).await.unwrap();
    for (i, result) in results.await.unwrap().into_iter().enumerate() {
        match result.result.unwrap() {
            send_result::Result::Receipt(receipt) => assert_eq!(receipt.next_client_seq, last[i].client_seq + 1),
            send_result::Result::Error(error) => {
                assert_eq!((i, error.field_violations[0].field.as_str()), (50, "requests[50].client_seq"));
            }
        }
    }
    assert_eq!(texts(&ana, "r").await, numbers(100));
}

#[tokio::test]
async fn lanes_rooms_and_senders_do_not_wait_for_each_other() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    let ben = server.user("ben").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ana.create_room("q", RoomKind::Private, &[]).await;
    let waits = sending(&ana, laned("r", "phone", 2));
    until_waiting(&server, 1.0).await;
    for (who, room, lane) in [(&ana, "r", "desk"), (&ana, "q", "phone"), (&ben, "r", "phone")] {
        assert_eq!(send(who, laned(room, lane, 1)).await.unwrap().next_client_seq, 2);
    }
    ana.say("r", "without").await;
    assert!(!waits.is_finished());
    send(&ana, laned("r", "phone", 1)).await.unwrap();
    assert_eq!(waits.await.unwrap().unwrap().next_client_seq, 3);
    assert_eq!(texts(&ana, "r").await, ["1", "1", "without", "1", "2"]);
}

#[tokio::test]
async fn a_retry_of_what_waits_gets_the_same_answer_and_writes_nothing() {
    let server = Server::alone(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let request = laned("r", "phone", 3);
    let again = server.user("ana").await;
    // Another number does not make it another message.
    let renumbered = super::SendMessageRequest { client_seq: 7, ..request.clone() };
    let mut requests = [request.clone(), request, renumbered];
    fastrand::shuffle(&mut requests);
    let [first, second, third] = requests;
    let sends = [sending(&ana, first), sending(&again, second), sending(&again, third)];
    until_waiting(&server, 3.0).await;
    for number in [2, 1] {
        drop(sending(&ana, laned("r", "phone", number)));
    }
    let receipts: Vec<_> = join_all(sends).await.into_iter().map(|sent| sent.unwrap().unwrap()).collect();
    assert_eq!(receipts.iter().filter(|receipt| !receipt.duplicate).count(), 1, "{receipts:?}");
    assert!(receipts.iter().all(|receipt| (receipt.seq, receipt.next_client_seq) == (3, 4)), "{receipts:?}");
    assert_eq!(texts(&ana, "r").await, numbers(3));
}

#[tokio::test]
async fn an_id_that_was_written_is_answered_whatever_number_it_carries() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let first = laned("r", "phone", 1);
    let seq = send(&ana, first.clone()).await.unwrap().seq;
    send(&ana, laned("r", "phone", 2)).await.unwrap();
    for number in [1, 2, 3, 700, 1_000_000] {
        let receipt = send(&ana, super::SendMessageRequest { client_seq: number, ..first.clone() }).await.unwrap();
        assert_eq!((receipt.seq, receipt.duplicate, receipt.next_client_seq), (seq, true, 3), "{number}");
    }
    assert_eq!(texts(&ana, "r").await, numbers(2));
}

#[tokio::test]
async fn who_hangs_up_loses_no_message_that_waits() {
    let server = Server::with(FOR_EVER);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let waits = sending(&ana, laned("r", "phone", 2));
    let stream = Stream::open(&server.user("ana").await, &[]).await;
    stream.send("3", Up::Send(laned("r", "phone", 3))).await;
    until_waiting(&server, 2.0).await;
    waits.abort();
    drop(stream);
    send(&ana, laned("r", "phone", 1)).await.unwrap();
    until_waiting(&server, 0.0).await;
    assert_eq!(send(&ana, laned("r", "phone", 4)).await.unwrap().seq, 4);
    assert_eq!(texts(&ana, "r").await, numbers(4));
    let last = message("r", "x");
    assert_eq!(send(&ana, last).await.unwrap().seq, 5);
}
