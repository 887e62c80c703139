//! How a user is, as their streams come and go.

use relay_proto::chat::v1::RoomKind;
use tokio::time::Instant;

use super::{Away, Offline, Online, Watcher, get, say, set, state_of};
use crate::support::{Server, Stream, eventually};

#[tokio::test]
async fn a_user_is_online_with_their_first_stream_and_offline_with_the_last() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["ben"]).await;
    let mut watcher = Watcher::open(&ana, &["general"]).await;
    watcher.until_state("ana", Online).await;
    assert_eq!(watcher.state("ben"), Offline);
    let never = get(&ana, &["ben"]).await.remove(0);
    assert_eq!((never.state(), never.last_seen_at, never.version), (Offline, None, 0));

    let (phone, mut desktop) = (server.user("ben").await, server.user("ben").await);
    let begun = Instant::now();
    let on_phone = Stream::open(&phone, &[]).await;
    watcher.until_state("ben", Online).await;
    println!("online after {:?}", begun.elapsed());
    let on_desktop = Stream::open(&desktop, &[]).await;
    drop(on_phone);
    watcher.mark(&mut desktop, "ben", "still here").await;
    assert_eq!(watcher.take_told("ben"), [Online]);
    assert_eq!(state_of(&ana, "ben").await, Online);

    let begun = Instant::now();
    drop(on_desktop);
    watcher.until_state("ben", Offline).await;
    println!("offline after {:?}", begun.elapsed());
    let known = watcher.known["ben"].clone();
    assert!(known.last_seen_at.is_some());
    assert_eq!(known.status_text, "still here", "it stays");
    assert_eq!(get(&ana, &["ben"]).await, std::slice::from_ref(&known));

    let _again = Stream::open(&phone, &[]).await;
    watcher.until_state("ben", Online).await;
    let back = &watcher.known["ben"];
    assert_eq!((back.last_seen_at, back.status_text.as_str()), (None, "still here"));
    assert!(back.version > known.version);
}

#[tokio::test]
async fn a_clean_close_shows_within_a_second() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["ben"]).await;
    let mut watcher = Watcher::open(&ana, &["general"]).await;
    let ben = server.user("ben").await;
    let mut times = Vec::new();
    for _ in 0..5 {
        let stream = Stream::open(&ben, &[]).await;
        watcher.until_state("ben", Online).await;
        let begun = Instant::now();
        drop(stream);
        watcher.until_state("ben", Offline).await;
        times.push(begun.elapsed());
    }
    times.sort();
    println!("offline after {times:?}");
    // The fastest, because the machine may be busy with other things.
    assert!(times[0].as_millis() < 1_000, "{times:?}");
}

#[tokio::test]
async fn who_is_back_at_once_was_never_gone() {
    let server = Server::with(&[("presence.close_delay", "3s")]);
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["ben", "cy"]).await;
    let mut watcher = Watcher::open(&ana, &["general"]).await;
    // At one node, which writes what happens to both in turn.
    let (mut ben, cy) = (server.node(0).user("ben").await, server.node(0).user("cy").await);
    let stream = Stream::open(&ben, &[]).await;
    watcher.until_state("ben", Online).await;
    drop(stream);
    eventually("the stream to be closed", async || server.metric("relay_sessions").await == 1.0).await;
    let _of_cy = Stream::open(&cy, &[]).await;
    watcher.until_state("cy", Online).await;
    let stream = Stream::open(&ben, &[]).await;
    watcher.mark(&mut ben, "ben", "here").await;
    assert_eq!(watcher.take_told("ben"), [Online]);
    drop(stream);
    watcher.until_state("ben", Offline).await;
    assert_eq!(watcher.take_told("ben"), [Offline]);
}

#[tokio::test]
async fn a_user_is_away_only_if_all_their_devices_are() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["ben"]).await;
    let mut watcher = Watcher::open(&ana, &["general"]).await;
    // Each at the next node.
    let (phone, mut desktop) = (server.user("ben").await, server.user("ben").await);
    let mut on_phone = Stream::open(&phone, &[]).await;
    let mut on_desktop = Stream::open(&desktop, &[]).await;
    watcher.until_state("ben", Online).await;
    // Both are written before anything else is.
    eventually("both to be there", async || server.metric("relay_sessions").await == 3.0).await;
    set(&mut on_phone, Away).await;
    watcher.mark(&mut desktop, "ben", "one is in use").await;
    assert_eq!(watcher.state("ben"), Online);
    set(&mut on_desktop, Away).await;
    watcher.until_state("ben", Away).await;
    assert_eq!(watcher.known["ben"].last_seen_at, None);
    set(&mut on_phone, Online).await;
    watcher.until_state("ben", Online).await;
    drop(on_phone);
    watcher.until_state("ben", Away).await;
    // A new stream is in use.
    let _on_tablet = Stream::open(&phone, &[]).await;
    watcher.until_state("ben", Online).await;
    assert!(!watcher.told.contains(&("ben".into(), Offline)), "{:?}", watcher.told);
}

#[tokio::test]
async fn what_a_user_says_of_themselves_is_told_and_stays() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["ben"]).await;
    let mut watcher = Watcher::open(&ana, &["general"]).await;
    let mut ben = server.user("ben").await;
    // Who is not there may say something, too.
    watcher.mark(&mut ben, "ben", "on holiday 🏖").await;
    assert_eq!(watcher.state("ben"), Offline);
    let version = watcher.known["ben"].version;
    say(&mut ben, "on holiday 🏖").await;
    watcher.mark(&mut ben, "ben", "").await;
    assert_eq!(watcher.known["ben"].version, version + 1, "the same again is no change");
    assert_eq!(get(&ana, &["ben"]).await[0].status_text, "");
}

#[tokio::test]
async fn a_node_knows_its_own_streams_before_they_are_written() {
    let server = Server::start();
    let ana = server.user("ana").await;
    let _stream = Stream::open(&ana, &[]).await;
    assert_eq!(state_of(&ana, "ana").await, Online);
}
