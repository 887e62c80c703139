//! What moved is told: to the other members on all nodes, and to the user's own devices.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use relay_proto::chat::v1::{
    AddMembersRequest, MembershipState, NewMember, OpenStream, ReceiptsChanged, RoomKind, connect_request::Frame as Up,
    frame::Kind,
};
use tokio::time::Instant;

use super::{SOON, read, receipts, report, stands, state, told};
use crate::support::{RawStream, Server, Stream, eventually, raw_stream};

#[tokio::test]
async fn receipts_reach_the_other_members_on_all_nodes_and_only_the_newest() {
    let server = Server::with(&[("chat.receipt_interval", "200ms")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ana.say_all("r", (0..200).map(|i| i.to_string())).await;
    let mut readers = Vec::new();
    for _ in 0..server.count() {
        let clients = server.user("ana").await;
        let (mut stream, _) = Stream::opened(&clients, OpenStream::default()).await;
        stream.half_close();
        readers.push(stream);
    }
    let ben = server.user("ben").await;
    let (stream, _) = Stream::caught_up(&ben, &[]).await;
    let begun = Instant::now();
    for seq in 1..=200 {
        stream.send("", Up::UpdateReceipts(report("r", 0, seq))).await;
    }
    for reader in &mut readers {
        let (mut before, mut frames) = (0, 0);
        while before < 200 {
            let frame = receipts(reader).await;
            // Partial, where this reader was not read for a while: of those that waited it has the newest.
            assert_eq!(frame.room_id, "r");
            for receipt in frame.receipts.iter().filter(|receipt| receipt.user_id == "ben") {
                assert!(receipt.read_seq > before && receipt.delivered_seq == receipt.read_seq, "{receipt:?}");
                before = receipt.read_seq;
                frames += 1;
            }
        }
        let intervals = begun.elapsed().as_millis() / 200 + 2;
        assert!(frames <= intervals, "{frames} frames in {intervals} intervals");
    }
}

#[tokio::test]
async fn a_frame_tells_at_most_a_hundred_cursors_and_says_that_there_are_more() {
    let server = Server::alone(&[("chat.receipt_interval", "1s")]);
    let mut ana = server.user("ana").await;
    let users: Vec<String> = (0..100).map(|i| format!("u-{i:02}")).collect();
    let members: Vec<&str> = users.iter().map(String::as_str).collect();
    ana.create_room("r", RoomKind::Private, &members).await;
    ana.rooms
        .add_members(AddMembersRequest {
            room_id: "r".into(),
            members: (0..50).map(|i| NewMember { user_id: format!("v-{i:02}"), role: 0 }).collect(),
        })
        .await
        .unwrap();
    ana.say_all("r", (0..3).map(|i| i.to_string())).await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    let all: Vec<String> = users.into_iter().chain((0..50).map(|i| format!("v-{i:02}"))).collect();
    let mut clients = Vec::new();
    for user in &all {
        clients.push(server.user(user).await);
    }
    // All of them within one interval; on a busy machine not the first time.
    for seq in 4.. {
        assert_eq!(ana.say("r", "again").await.seq, seq);
        join_all(clients.iter_mut().map(|clients| read(clients, "r", seq))).await;
        let frame = receipts(&mut stream).await;
        assert!(frame.receipts.len() <= 100);
        if frame.partial {
            assert_eq!(frame.receipts.len(), 100);
            break;
        }
    }
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_receipts_only_and_is_told_that_some_are_missing() {
    let server = Server::with(&[SOON]);
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben", "cy"]).await;
    let mut slow = RawStream::subscribe(server.address(), "cy", &[("r", 0)], raw_stream::NARROW).await;
    ana.say_all("r", (0..40).map(|i| format!("{i:030000}"))).await;
    let (mut other, _) = Stream::caught_up(&ana, &[]).await;
    for seq in 1..=10 {
        read(&mut ben, "r", seq).await;
        told(&mut other, "ben", seq, seq).await;
    }
    // Only now it reads: the first frames went out while there was room.
    let (mut frames, mut last) = (0, None);
    while !last.as_ref().is_some_and(|frame: &ReceiptsChanged| {
        frame.receipts.iter().any(|receipt| receipt.user_id == "ben" && receipt.read_seq == 10)
    }) {
        if let Kind::Receipts(frame) = raw_stream::kind(&slow.next_bytes().await.unwrap()) {
            frames += 1;
            last = Some(frame);
        }
    }
    assert!(last.unwrap().partial, "those before were left out");
    assert!(frames < 10, "{frames} frames");
}

#[tokio::test]
async fn every_device_of_a_user_is_told_how_they_stand() {
    let server = Server::with(&[SOON]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ana.say_all("r", (0..5).map(|i| i.to_string())).await;
    let mut devices = Vec::new();
    for _ in 0..3 {
        let clients = server.user("ben").await;
        let (stream, _) = Stream::caught_up(&clients, &[]).await;
        devices.push((clients, stream));
    }
    for (reader, seq) in [(0, 2), (2, 4), (1, 5)] {
        let answered = read(&mut devices[reader].0, "r", seq).await;
        assert_eq!((answered.read_seq, answered.unread_count, answered.last_seq), (seq, 5 - seq, 5));
        for (_, stream) in &mut devices {
            let told = stands(stream, "r", |state| state.read_seq == seq).await;
            assert_eq!(told, answered);
        }
    }
}

/// The memberships that these frames tell.
fn memberships(frames: Vec<Kind>) -> impl Iterator<Item = MembershipState> {
    let of = |kind| if let Kind::Memberships(frame) = kind { frame.memberships } else { Vec::new() };
    frames.into_iter().flat_map(of)
}

#[tokio::test]
async fn a_stream_that_asks_is_told_how_its_user_stands_in_all_rooms_before_it_has_caught_up() {
    let server = Server::with(&[SOON]);
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    let mut expected = Vec::new();
    for i in 0..7_u64 {
        let room = format!("r-{i}");
        ana.create_room(&room, RoomKind::Private, &["ben"]).await;
        ana.say_all(&room, (0..5).map(|i| i.to_string())).await;
        if i > 0 && i < 6 {
            read(&mut ben, &room, i.min(5)).await;
        }
        expected.push((room, i % 6));
    }
    for _ in 0..server.count() {
        let clients = server.user("ben").await;
        let mut rooms = Vec::new();
        for (room, read) in &expected {
            let written = async || state(&mut clients.clone(), room).await.read_seq == *read;
            eventually("the cursor at this node", written).await;
            rooms.push(state(&mut clients.clone(), room).await);
        }
        let open = OpenStream { memberships: true, ..OpenStream::default() };
        let (_stream, frames) = Stream::opened(&clients, open).await;
        // What changed while it opened may be told before: the last word counts.
        let told: BTreeMap<_, _> = memberships(frames).map(|state| (state.room_id.clone(), state)).collect();
        assert_eq!(told.into_values().collect::<Vec<_>>(), rooms);
        // Who does not ask is told of changes alone, which may come late: of nothing once they are through.
        let nothing = async || {
            let (_stream, frames) = Stream::opened(&clients, OpenStream::default()).await;
            memberships(frames).next().is_none()
        };
        eventually("a stream that did not ask and is told nothing", nothing).await;
    }
}
