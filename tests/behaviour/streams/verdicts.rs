//! How a stream says where it stands to each room: at its opening, and when rooms come and go.

use std::collections::BTreeMap;

use relay_proto::chat::v1::{
    DeleteRoomRequest, LeaveRoomRequest, RemoveMemberRequest, ResumeVerdict as Verdict, RoomKind, RoomResume,
    frame::Kind, room_event::Event,
};

use crate::support::{Clients, Server, Stream, eventually};

/// Verdict, position and last position of each room, as frames have told them last.
fn verdicts(frames: &[Kind]) -> BTreeMap<String, (Verdict, u64, u64)> {
    let mut verdicts = BTreeMap::new();
    for frame in frames {
        if let Kind::Resumed(resumed) = frame {
            let told = |room: &RoomResume| (room.verdict(), room.position, room.last_position);
            verdicts.extend(resumed.rooms.iter().map(|room| (room.room_id.clone(), told(room))));
        }
    }
    verdicts
}

/// The positions of the events among frames.
fn positions(frames: &[Kind]) -> Vec<u64> {
    let position = |kind: &Kind| if let Kind::Event(event) = kind { Some(event.position) } else { None };
    frames.iter().filter_map(position).collect()
}

async fn room_with(server: &Server, room: &str, messages: usize) -> Clients {
    let mut ana = server.user("ana").await;
    ana.create_room(room, RoomKind::Public, &["ben"]).await;
    ana.say_all(room, (0..messages).map(|i| i.to_string())).await;
    ana
}

#[tokio::test]
async fn a_room_whose_position_is_held_is_complete_and_another_is_joined() {
    let server = Server::start();
    let mut ana = room_with(&server, "held", 3).await;
    ana.create_room("other", RoomKind::Private, &[]).await;
    let (mut stream, frames) = Stream::caught_up(&ana, &[("held", 2)]).await;
    let told = verdicts(&frames);
    assert_eq!(told["held"], (Verdict::Complete, 2, 5));
    assert_eq!(told["other"], (Verdict::Joined, 1, 1));
    assert_eq!(positions(&frames), [3, 4, 5]);
    ana.say("other", "new").await;
    assert_eq!(stream.event().await.position, 2);
}

#[tokio::test]
async fn the_newest_position_is_complete_and_brings_nothing() {
    let server = Server::start();
    let ana = room_with(&server, "general", 3).await;
    let (_, frames) = Stream::caught_up(&ana, &[("general", 5)]).await;
    assert_eq!(verdicts(&frames)["general"], (Verdict::Complete, 5, 5));
    assert!(positions(&frames).is_empty());
}

#[tokio::test]
async fn position_zero_brings_the_room_from_its_first_event() {
    let server = Server::start();
    let ana = room_with(&server, "general", 3).await;
    let (_, frames) = Stream::caught_up(&ana, &[("general", 0)]).await;
    assert_eq!(verdicts(&frames)["general"], (Verdict::Complete, 0, 5));
    assert_eq!(positions(&frames), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_position_ahead_of_the_log_is_a_gap_and_live_events_follow() {
    let server = Server::start();
    let mut ana = room_with(&server, "general", 3).await;
    let (mut stream, frames) = Stream::caught_up(&ana, &[("general", 6)]).await;
    assert_eq!(verdicts(&frames)["general"], (Verdict::Gap, 5, 5));
    assert!(positions(&frames).is_empty());
    ana.say("general", "new").await;
    assert_eq!(stream.event().await.position, 6);
}

#[tokio::test]
async fn a_position_too_far_back_to_replay_is_a_gap() {
    let server = Server::with(&[("chat.max_replay_events", "3")]);
    let ana = room_with(&server, "general", 8).await;
    let (_, frames) = Stream::caught_up(&ana, &[("general", 7)]).await;
    assert_eq!(verdicts(&frames)["general"], (Verdict::Complete, 7, 10));
    let (_, frames) = Stream::caught_up(&ana, &[("general", 6)]).await;
    assert_eq!(verdicts(&frames)["general"], (Verdict::Gap, 10, 10));
    assert!(positions(&frames).is_empty());
}

#[tokio::test]
async fn a_position_that_the_log_has_forgotten_is_a_gap() {
    let server = Server::with(&[("chat.event_retention", "1ms"), ("chat.retention_interval", "10ms")]);
    let ana = room_with(&server, "general", 1).await;
    let of_room = &ana;
    eventually("the joinings to be forgotten", async || {
        let (_, frames) = Stream::caught_up(of_room, &[("general", 0)]).await;
        verdicts(&frames)["general"].0 == Verdict::Gap
    })
    .await;
    // What is left is still replayed whole.
    let (_, frames) = Stream::caught_up(&ana, &[("general", 2)]).await;
    assert_eq!(verdicts(&frames)["general"], (Verdict::Complete, 2, 3));
    assert_eq!(positions(&frames), [3]);
}

#[tokio::test]
async fn rooms_that_ended_for_the_user_while_away_are_left() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let mut ben = server.user("ben").await;
    for room in ["quitted", "kicked", "deleted"] {
        ana.create_room(room, RoomKind::Private, &["ben"]).await;
    }
    ana.create_room("foreign", RoomKind::Private, &[]).await;
    ben.rooms.leave_room(LeaveRoomRequest { room_id: "quitted".into() }).await.unwrap();
    let kick = RemoveMemberRequest { room_id: "kicked".into(), user_id: "ben".into() };
    ana.rooms.remove_member(kick).await.unwrap();
    ana.rooms.delete_room(DeleteRoomRequest { room_id: "deleted".into() }).await.unwrap();

    let held = [("quitted", 2), ("kicked", 1), ("deleted", 2), ("foreign", 1), ("never", 7)];
    let (mut stream, frames) = Stream::caught_up(&ben, &held).await;
    let told = verdicts(&frames);
    assert_eq!(told.len(), held.len());
    assert!(told.values().all(|told| *told == (Verdict::Left, 0, 0)), "{told:?}");
    assert!(positions(&frames).is_empty());

    ana.say("kicked", "not for ben").await;
    ana.create_room("next", RoomKind::Private, &["ben"]).await;
    assert_eq!(stream.event().await.room_id, "next");
}

#[tokio::test]
async fn who_comes_back_after_leaving_gets_all_that_happened_since_the_position_held() {
    let server = Server::start();
    let mut ana = room_with(&server, "general", 1).await;
    let mut ben = server.user("ben").await;
    ben.rooms.leave_room(LeaveRoomRequest { room_id: "general".into() }).await.unwrap();
    ana.say("general", "between").await;
    ben.join("general").await;
    let (_, frames) = Stream::caught_up(&ben, &[("general", 3)]).await;
    assert_eq!(verdicts(&frames)["general"], (Verdict::Complete, 3, 6));
    assert_eq!(positions(&frames), [4, 5, 6]);
}

#[tokio::test]
async fn who_is_removed_while_connected_sees_it_then_left_then_nothing_more() {
    let server = Server::start();
    let mut ana = room_with(&server, "general", 0).await;
    ana.create_room("other", RoomKind::Private, &["ben"]).await;
    let ben = server.user("ben").await;
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    let kick = RemoveMemberRequest { room_id: "general".into(), user_id: "ben".into() };
    ana.rooms.remove_member(kick).await.unwrap();
    ana.say("general", "not for ben").await;
    ana.say("other", "for ben").await;

    let Kind::Event(removed) = stream.next().await else { panic!("no event") };
    assert_eq!((removed.room_id.as_str(), removed.position, removed.actor_id.as_str()), ("general", 3, "ana"));
    assert!(matches!(removed.event, Some(Event::MemberLeft(left)) if left.user_id == "ben"));
    assert_eq!(verdicts(&[stream.next().await])["general"], (Verdict::Left, 0, 0));
    let Kind::Event(next) = stream.next().await else { panic!("no event") };
    assert_eq!(next.room_id, "other");
}

#[tokio::test]
async fn who_is_connected_sees_a_room_deleted_then_left() {
    let server = Server::start();
    let mut ana = room_with(&server, "general", 0).await;
    let ben = server.user("ben").await;
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    ana.rooms.delete_room(DeleteRoomRequest { room_id: "general".into() }).await.unwrap();
    let Kind::Event(deleted) = stream.next().await else { panic!("no event") };
    assert_eq!(deleted.position, 3);
    assert!(matches!(deleted.event, Some(Event::RoomDeleted(_))));
    assert_eq!(verdicts(&[stream.next().await])["general"], (Verdict::Left, 0, 0));
}

#[tokio::test]
async fn joining_on_one_device_starts_the_room_on_all_open_streams_of_the_user() {
    let server = Server::start();
    let mut ana = room_with(&server, "open", 2).await;
    ana.create_room("closed", RoomKind::Private, &[]).await;
    let (mut phone, mut laptop) = (server.user("cleo").await, server.user("cleo").await);
    let (mut of_phone, _) = Stream::caught_up(&phone, &[]).await;
    let (mut of_laptop, _) = Stream::caught_up(&laptop, &[]).await;

    phone.join("open").await;
    ana.say("open", "welcome").await;
    ana.add("closed", "cleo", relay_proto::chat::v1::MemberRole::Member).await;
    laptop.create_room("own", RoomKind::Private, &[]).await;
    for stream in [&mut of_phone, &mut of_laptop] {
        // Rooms that change by different nodes come in any order, each room's frames in theirs.
        let mut rooms: BTreeMap<String, Vec<Kind>> = BTreeMap::new();
        for _ in 0..7 {
            let frame = stream.next().await;
            let room = match &frame {
                Kind::Resumed(resumed) => resumed.rooms[0].room_id.clone(),
                Kind::Event(event) => event.room_id.clone(),
                other => panic!("{other:?}"),
            };
            rooms.entry(room).or_default().push(frame);
        }
        for (room, before) in [("open", 4), ("closed", 1), ("own", 0)] {
            let frames = &rooms[room];
            assert_eq!(verdicts(&frames[..1])[room], (Verdict::Joined, before, before));
            let Kind::Event(joined) = &frames[1] else { panic!("no event in {frames:?}") };
            assert_eq!(joined.position, before + 1);
            assert!(
                matches!(&joined.event, Some(Event::MemberJoined(j)) if j.member.as_ref().unwrap().user_id == "cleo")
            );
        }
        assert_eq!(positions(&rooms["open"]), [5, 6]);
    }
}

#[tokio::test]
async fn leaving_on_one_device_ends_the_room_on_all_and_joining_again_starts_it_again() {
    let server = Server::start();
    let mut ana = room_with(&server, "general", 0).await;
    let (mut phone, laptop) = (server.user("ben").await, server.user("ben").await);
    let (mut stream, _) = Stream::caught_up(&laptop, &[]).await;
    phone.rooms.leave_room(LeaveRoomRequest { room_id: "general".into() }).await.unwrap();
    ana.say("general", "between").await;
    phone.join("general").await;
    assert_eq!(stream.event().await.position, 3);
    assert_eq!(verdicts(&[stream.next().await])["general"].0, Verdict::Left);
    assert_eq!(verdicts(&[stream.next().await])["general"], (Verdict::Joined, 4, 4));
    assert_eq!(stream.event().await.position, 5);
}

#[tokio::test]
async fn a_stream_that_opens_while_its_rooms_end_is_told_of_every_end() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let ben = server.user("ben").await;
    for i in 0..40 {
        let (deleted, left) = (format!("deleted-{i}"), format!("left-{i}"));
        ana.create_room(&deleted, RoomKind::Private, &["ben"]).await;
        ana.create_room(&left, RoomKind::Private, &["ben"]).await;
        let mut owner = ana.clone();
        let (held_deleted, held_left) = (deleted.clone(), left.clone());
        let end = tokio::spawn(async move {
            owner.rooms.delete_room(DeleteRoomRequest { room_id: held_deleted }).await.unwrap();
            let kick = RemoveMemberRequest { room_id: held_left, user_id: "ben".into() };
            owner.rooms.remove_member(kick).await.unwrap();
        });
        let held = [(deleted.as_str(), 2), (left.as_str(), 2)];
        let mut stream = Stream::open(&ben, &held).await;
        // Whatever it is told at first, the last word on both is that they are left.
        let mut last = BTreeMap::new();
        while last.get(&deleted) != Some(&Verdict::Left) || last.get(&left) != Some(&Verdict::Left) {
            if let Kind::Resumed(resumed) = stream.next().await {
                last.extend(resumed.rooms.into_iter().map(|room| (room.room_id.clone(), room.verdict())));
            }
        }
        end.await.unwrap();
    }
}

#[tokio::test]
async fn the_first_frame_is_hello_even_while_the_user_joins_rooms() {
    let server = Server::start();
    let (mut cleo, opener) = (server.user("cleo").await, server.user("cleo").await);
    let joining = tokio::spawn(async move {
        for i in 0..200 {
            cleo.create_room(&format!("room-{i}"), RoomKind::Private, &[]).await;
        }
    });
    while !joining.is_finished() {
        // Fails unless the first frame is Hello.
        Stream::open(&opener, &[]).await;
    }
    joining.await.unwrap();
}
