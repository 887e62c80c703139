//! Rooms that are too large for everybody's changes.

use std::time::Duration;

use relay_proto::chat::v1::frame::Kind;
use tokio::time::Instant;

use super::{Watcher, fill};
use crate::support::{Server, Stream};

#[tokio::test]
async fn a_room_above_the_limit_tells_counts_and_a_sample_and_of_nobody_in_particular() {
    const EVERY: Duration = Duration::from_millis(400);
    let server = Server::with(&[("presence.full_room_members", "3"), ("presence.room_interval", "400ms")]);
    let mut ana = server.user("ana").await;
    let users: Vec<String> = (0..30).map(|n| format!("user-{n:02}")).collect();
    fill(&mut ana, "large", &users).await;
    let mut watcher = Watcher::open(&ana, &["large"]).await;
    assert!(watcher.rooms.iter().all(|(room, _, sample)| room == "large" && *sample), "{:?}", watcher.rooms);
    let begun = Instant::now();
    let mut streams = Vec::new();
    for user in &users {
        streams.push(Stream::open(&server.user(user).await, &[]).await);
    }
    watcher.until("all to be counted", |w| w.rooms.last().is_some_and(|(_, count, _)| *count == 31)).await;
    let frames = watcher.rooms.len();
    println!("{frames} frames in {:?}", begun.elapsed());
    let most = 3 + begun.elapsed().as_millis() / EVERY.as_millis();
    assert!(frames as u128 <= most, "{frames} frames in {:?}", begun.elapsed());
    streams.truncate(5);
    let last = loop {
        match watcher.stream.next().await {
            Kind::RoomPresence(room) if room.present_count == 6 => break room,
            Kind::Presence(changed) => panic!("{changed:?}"),
            _ => {}
        }
    };
    assert_eq!((last.present.len(), last.sample), (6, true));
}
