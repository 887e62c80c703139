//! What is reported is written: seldom, never backwards, and all of it.

use relay_proto::chat::v1::{self as wire, RoomKind, connect_request::Frame as Up};
use tokio::time::Instant;
use tonic::Code;

use super::{SOON, cursors, get, read, read_by_frame, report, state, told};
use crate::support::{Server, Stream, error_of, eventually};

#[tokio::test]
async fn cursors_never_go_back_in_whatever_order_devices_report_them_to_whatever_nodes() {
    let server = Server::with(&[SOON]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ana.say_all("r", (0..60).map(|i| i.to_string())).await;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut devices = Vec::new();
    for _ in 0..3 {
        let clients = server.user("ben").await;
        let (stream, _) = Stream::caught_up(&clients, &[]).await;
        devices.push((clients, stream, (0, 0)));
    }
    let mut greatest = (0, 0);
    for _ in 0..200 {
        let (clients, stream, seen) = random.choice(&mut devices).unwrap();
        let (delivered, mut read) = (random.u64(1..=55), random.u64(0..=40));
        if random.bool() {
            stream.send("", Up::UpdateReceipts(report("r", delivered, read))).await;
            // Its answer comes after the frame before was taken in.
            read_by_frame(stream, "r", 1).await;
        } else {
            clients.chat.update_receipts(report("r", delivered, read)).await.unwrap();
        }
        read = read.max(1);
        greatest = (greatest.0.max(delivered).max(read), greatest.1.max(read));
        let now = state(clients, "r").await;
        assert!(now.delivered_seq >= seen.0.max(delivered) && now.read_seq >= seen.1, "{now:?} after {seen:?}");
        assert!(now.delivered_seq <= greatest.0 && now.read_seq <= greatest.1, "{now:?}, {greatest:?}");
        *seen = (now.delivered_seq, now.read_seq);
    }
    for (clients, ..) in &devices {
        let expected = vec![("ana".to_owned(), 60, 60), ("ben".to_owned(), greatest.0, greatest.1)];
        let listed = async || cursors(&mut clients.clone(), "r").await == expected;
        eventually("the greatest cursors at every node", listed).await;
    }
}

#[tokio::test]
async fn however_fast_frames_come_a_member_is_written_once_in_an_interval() {
    let server = Server::with(&[("chat.receipt_interval", "400ms")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let begun = Instant::now();
    ana.say_all("r", (0..1_000).map(|i| i.to_string())).await;
    let ben = server.user("ben").await;
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    for seq in 1..1_000 {
        stream.send("", Up::UpdateReceipts(report("r", seq + 1, seq))).await;
    }
    read_by_frame(&mut stream, "r", 1_000).await;
    told(&mut stream, "ben", 1_000, 1_000).await;
    let intervals = begun.elapsed().as_millis() / 400 + 2;
    let written = server.metric("relay_receipt_updates_total").await;
    assert!(written >= 1.0 && written <= 2.0 * intervals as f64, "{written} in {intervals} intervals");
}

#[tokio::test]
async fn a_report_of_what_came_on_the_stream_asks_no_database() {
    let server = Server::alone(&[("chat.receipt_interval", "1m"), ("chat.check_interval_alone", "1m")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let ben = server.user("ben").await;
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    ana.say_all("r", (0..500).map(|i| i.to_string())).await;
    stream.events(500).await;
    let before = server.metric("relay_database_reads_total").await;
    for seq in 1..500 {
        stream.send("", Up::UpdateReceipts(report("r", 0, seq))).await;
    }
    read_by_frame(&mut stream, "r", 500).await;
    let reads = server.metric("relay_database_reads_total").await - before;
    assert!(reads < 10.0, "{reads} reads");
}

#[tokio::test]
async fn a_clean_stop_loses_nothing_that_was_reported() {
    let mut server = Server::with(&[("chat.receipt_interval", "1m"), ("server.reconnect_spread", "0s")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben", "cy"]).await;
    ana.say_all("r", (0..20).map(|i| i.to_string())).await;
    let (ben, mut cy) = (server.user("ben").await, server.user("cy").await);
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    for seq in 1..15 {
        stream.send("", Up::UpdateReceipts(report("r", 0, seq))).await;
    }
    read_by_frame(&mut stream, "r", 15).await;
    get(&mut cy, "r", 18).await;
    assert_eq!(server.metric("relay_receipt_updates_total").await, 0.0, "nothing was written yet");
    server.terminate();
    drop((stream, ben, cy, ana));
    assert!(server.ended().await.success());
    server.restart();
    let mut ana = server.user("ana").await;
    let expected = [("ana".to_owned(), 20, 20), ("ben".to_owned(), 15, 15), ("cy".to_owned(), 18, 0)];
    assert_eq!(cursors(&mut ana, "r").await, expected);
}

#[tokio::test]
async fn a_crash_keeps_what_was_told() {
    let mut server = Server::with(&[SOON]);
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    ana.say_all("r", (0..9).map(|i| i.to_string())).await;
    for seq in [3, 7] {
        read(&mut ben, "r", seq).await;
        told(&mut stream, "ben", seq, seq).await;
    }
    server.kill();
    server.restart();
    let mut ana = server.user("ana").await;
    assert_eq!(cursors(&mut ana, "r").await[1], ("ben".to_owned(), 7, 7));
}

#[tokio::test]
async fn more_reports_than_may_wait_are_refused_and_may_be_tried_again() {
    let server = Server::alone(&[("chat.receipt_interval", "1m"), ("chat.receipt_queue", "2")]);
    let (mut ana, mut ben, mut cy) = (server.user("ana").await, server.user("ben").await, server.user("cy").await);
    ana.create_room("r", RoomKind::Private, &["ben", "cy"]).await;
    ana.say_all("r", (0..3).map(|i| i.to_string())).await;
    read(&mut ben, "r", 1).await;
    let refused = cy.chat.update_receipts(report("r", 0, 1)).await.unwrap_err();
    assert_eq!(error_of(&refused), (Code::ResourceExhausted, "OVERLOADED".into(), vec![]));
    let (mut stream, _) = Stream::caught_up(&cy, &[]).await;
    stream.send("", Up::UpdateReceipts(report("r", 0, 1))).await;
    let wire::reply::Result::Error(error) = stream.reply("").await else { panic!("it was taken in") };
    assert_eq!(error.reason().as_str_name(), "ERROR_REASON_OVERLOADED");
    assert!(error.retry_after.is_some());
    read(&mut ben, "r", 3).await;
    ana.say("r", "what is sent is never refused for it").await;
    assert_eq!(state(&mut cy, "r").await.read_seq, 0);
}
