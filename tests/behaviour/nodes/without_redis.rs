//! Nodes that share a database and nothing else: they find each other's events by asking it.

use relay_proto::chat::v1::{
    MemberRole, RemoveMemberRequest, ResumeVerdict as Verdict, RoomKind, frame::Kind, room_event::Event,
};

use super::{Group, event, verdict};
use crate::support::Stream;

#[tokio::test]
async fn nodes_without_redis_hear_each_other_by_the_database() {
    let group = Group::each(&["", ""], &[("chat.check_interval_alone", "100ms")]);
    let (mut ana, ben) = (group.node(0).user("ana").await, group.node(1).user("ben").await);
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    assert_eq!(verdict(&mut stream).await, ("r".to_owned(), Verdict::Joined, 1));
    assert!(matches!(event(&mut stream, "r", 2).await, Event::MemberJoined(_)));
    for position in 3..6 {
        assert_eq!(ana.say("r", "hello").await.position, position);
        assert!(matches!(event(&mut stream, "r", position).await, Event::MessageCreated(_)));
    }
    let removal = RemoveMemberRequest { room_id: "r".into(), user_id: "ben".into() };
    ana.rooms.remove_member(removal).await.unwrap();
    assert!(matches!(event(&mut stream, "r", 6).await, Event::MemberLeft(_)));
    assert_eq!(verdict(&mut stream).await, ("r".to_owned(), Verdict::Left, 0));
    assert_eq!(group.node(1).get("/ready").await, (200, "ready\n".to_owned()));
}

#[tokio::test]
async fn who_left_and_came_again_is_found_as_a_member() {
    let group = Group::each(&["", ""], &[("chat.check_interval_alone", "500ms")]);
    let (mut ana, ben) = (group.node(0).user("ana").await, group.node(1).user("ben").await);
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    for _ in 0..3 {
        ana.add("r", "ben", MemberRole::Member).await;
        let removal = RemoveMemberRequest { room_id: "r".into(), user_id: "ben".into() };
        ana.rooms.remove_member(removal).await.unwrap();
    }
    ana.add("r", "ben", MemberRole::Member).await;
    let said = ana.say("r", "welcome back").await.position;
    let frames = stream.until(|kind| matches!(kind, Kind::Event(event) if event.position == said)).await;
    let left = frames.iter().filter(|kind| matches!(kind, Kind::Resumed(r) if r.rooms[0].verdict() == Verdict::Left));
    assert!(left.count() <= 3, "no oftener than he left: {frames:?}");
}
