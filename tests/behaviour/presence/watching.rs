//! Who is told: those who share a room and asked for it.

use relay_proto::chat::v1::{
    LeaveRoomRequest, OpenStream, PresenceState, RoomKind, connect_request::Frame as Up, frame::Kind,
    reply::Result as Outcome,
};

use super::{Offline, Online, Watcher, say, state_of, watch};
use crate::support::{Clients, Server, Stream, eventually};

/// All frames about presence up to the event of what `sayer` says now.
async fn frames(stream: &mut Stream, sayer: &mut Clients, room: &str) -> Vec<Kind> {
    let position = sayer.say(room, "mark").await.position;
    let frames = stream
        .until(|kind| matches!(kind, Kind::Event(event) if event.room_id == room && event.position == position))
        .await;
    frames.into_iter().filter(|kind| matches!(kind, Kind::Presence(_) | Kind::RoomPresence(_))).collect()
}

#[tokio::test]
async fn only_who_asks_is_told() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["ben", "cy"]).await;
    let cy = server.user("cy").await;
    let (mut of_cy, _) = Stream::caught_up(&cy, &[]).await;
    let mut watcher = Watcher::open(&ana, &["general"]).await;
    let ben = server.user("ben").await;
    let of_ben = Stream::open(&ben, &[]).await;
    watcher.until_state("ben", Online).await;
    drop(of_ben);
    watcher.until_state("ben", Offline).await;
    assert!(frames(&mut of_cy, &mut ana, "general").await.is_empty());
    // Now cy asks, and then not any more.
    of_cy.send("ask", Up::WatchPresence(watch(&["general"]))).await;
    let answer = of_cy.until(|kind| matches!(kind, Kind::Reply(_))).await;
    let Some(Kind::RoomPresence(room)) = answer.iter().find(|kind| matches!(kind, Kind::RoomPresence(_))) else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = room.present.iter().map(|user| user.user_id.as_str()).collect();
    assert_eq!((names, room.present_count, room.sample), (vec!["ana", "cy"], 2, false));
    of_cy.send("enough", Up::WatchPresence(watch(&[]))).await;
    assert!(matches!(of_cy.reply("enough").await, Outcome::Done(_)));
    let _of_ben = Stream::open(&ben, &[]).await;
    watcher.until_state("ben", Online).await;
    assert!(frames(&mut of_cy, &mut ana, "general").await.is_empty());
}

#[tokio::test]
async fn nobody_is_told_of_rooms_in_which_they_are_not() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("private", RoomKind::Private, &["ben", "cy"]).await;
    let mut eve = server.user("eve").await;
    eve.create_room("own", RoomKind::Private, &[]).await;
    let mut watcher = Watcher::open(&ana, &["private"]).await;
    let mut of_eve = Watcher::open(&eve, &["own"]).await;
    of_eve.stream.send("1", Up::WatchPresence(watch(&["private", "missing"]))).await;
    assert!(matches!(of_eve.stream.reply("1").await, Outcome::Done(_)));
    let ben = server.user("ben").await;
    let _of_ben = Stream::open(&ben, &[]).await;
    watcher.until_state("ben", Online).await;
    assert!(frames(&mut of_eve.stream, &mut eve, "own").await.is_empty());

    // Who leaves is not told any more.
    let cy = server.user("cy").await;
    let mut of_cy = Watcher::open(&cy, &["private"]).await;
    assert_eq!(of_cy.state("ben"), Online);
    cy.clone().rooms.leave_room(LeaveRoomRequest { room_id: "private".into() }).await.unwrap();
    of_cy.stream.until(|kind| matches!(kind, Kind::Resumed(_))).await;
    let mut ben = ben;
    watcher.mark(&mut ben, "ben", "without cy").await;
    cy.clone().create_room("of-cy", RoomKind::Private, &[]).await;
    assert!(frames(&mut of_cy.stream, &mut cy.clone(), "of-cy").await.is_empty());
}

#[tokio::test]
async fn a_new_list_takes_the_place_of_the_one_before() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    for (room, member) in [("a", "ben"), ("b", "cy")] {
        ana.create_room(room, RoomKind::Private, &[member]).await;
    }
    let mut watcher = Watcher::open(&ana, &["a"]).await;
    watcher.stream.send("", Up::WatchPresence(watch(&["b"]))).await;
    watcher.until("b", |w| w.rooms.last().is_some_and(|(room, ..)| room == "b")).await;
    let (ben, cy) = (server.user("ben").await, server.user("cy").await);
    let (_of_ben, _of_cy) = (Stream::open(&ben, &[]).await, Stream::open(&cy, &[]).await);
    watcher.until_state("cy", Online).await;
    say(&mut cy.clone(), "x").await;
    watcher.until("a status", |w| w.known["cy"].status_text == "x").await;
    assert_eq!(watcher.state("ben"), PresenceState::Offline, "nobody asked");
}

#[tokio::test]
async fn a_list_that_comes_while_the_stream_opens_takes_the_place_of_the_openings() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    for (room, member) in [("a", "ben"), ("b", "cy")] {
        ana.create_room(room, RoomKind::Private, &[member]).await;
    }
    let mut stream = Stream::silent(&ana).await;
    let open = OpenStream { watch_presence: Some(watch(&["a"])), memberships: true, ..OpenStream::default() };
    stream.send("", Up::Open(open)).await;
    stream.send("", Up::WatchPresence(watch(&["b"]))).await;
    stream.until(|kind| matches!(kind, Kind::RoomPresence(room) if room.room_id == "b")).await;
    let (ben, cy) = (server.user("ben").await, server.user("cy").await);
    let _of_ben = Stream::open(&ben, &[]).await;
    eventually("Ben to be there", async || state_of(&ana, "ben").await == Online).await;
    let _of_cy = Stream::open(&cy, &[]).await;
    let of = |user: &'static str| move |kind: &Kind| matches!(kind, Kind::Presence(changed) if changed.presence.as_ref().is_some_and(|of| of.user_id == user));
    let frames = stream.until(of("cy")).await;
    assert!(!frames.iter().any(of("ben")), "nobody asks for him any more: {frames:?}");
}

#[tokio::test]
async fn who_joins_a_room_that_is_watched_is_told_if_they_are_there() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &[]).await;
    let ben = server.user("ben").await;
    let _of_ben = Stream::open(&ben, &[]).await;
    let mut watcher = Watcher::open(&ana, &["general"]).await;
    ana.add("general", "ben", relay_proto::chat::v1::MemberRole::Member).await;
    watcher.until_state("ben", Online).await;
}
