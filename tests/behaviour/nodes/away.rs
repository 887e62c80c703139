//! Who comes and goes while Redis is away: it is found in the database, within a few seconds.

use relay_proto::chat::v1::{
    LeaveRoomRequest, RemoveMemberRequest, ResumeVerdict as Verdict, RoomKind, room_event::Event,
};

use super::{Group, event, verdict};
use crate::support::{Clients, Proxy, Redis, RedisProxy, Stream, eventually};

/// A node whose Redis is away looks every second; a busy machine may need longer.
const LATE: std::time::Duration = std::time::Duration::from_secs(6);
/// Nothing is found in time by a node that believes in its bus; what was lost at first is found soon.
const SETTINGS: [(&str, &str); 2] = [("chat.check_interval", "10m"), ("redis.probe_interval", "200ms")];

/// Ana at a node, Ben at another with an open stream, and the rooms that Ben will leave.
struct Apart {
    ana: Clients,
    ben: Clients,
    stream: Stream,
}

impl Apart {
    async fn start(group: &Group, of_ben: usize) -> Self {
        let mut ana = group.node(1 - of_ben).user("ana").await;
        for room in ["removed", "left"] {
            ana.create_room(room, RoomKind::Public, &["ben"]).await;
        }
        let ben = group.node(of_ben).user("ben").await;
        let (stream, _) = Stream::caught_up(&ben, &[]).await;
        Self { ana, ben, stream }
    }

    /// Ben comes and goes, which Ana's node alone knows.
    async fn assert_found_in_time(&mut self, group: &Group, of_ben: usize) {
        let Self { ana, stream, .. } = self;
        let begun = tokio::time::Instant::now();
        ana.create_room("new", RoomKind::Private, &["ben"]).await;
        assert_eq!(verdict(stream).await, ("new".to_owned(), Verdict::Joined, 1));
        assert!(matches!(event(stream, "new", 2).await, Event::MemberJoined(_)));
        assert!(begun.elapsed() < LATE, "joining took {:?}", begun.elapsed());

        let request = RemoveMemberRequest { room_id: "removed".into(), user_id: "ben".into() };
        ana.rooms.remove_member(request).await.unwrap();
        ana.say("removed", "not for ben").await;
        let mut device = group.node(1 - of_ben).user("ben").await;
        device.rooms.leave_room(LeaveRoomRequest { room_id: "left".into() }).await.unwrap();
        ana.say("left", "not for ben").await;
        let begun = tokio::time::Instant::now();
        let mut ended = Vec::new();
        while ended.len() < 2 {
            let room = match stream.next().await {
                relay_proto::chat::v1::frame::Kind::Event(event) => {
                    assert_eq!(event.position, 3, "{event:?}");
                    assert!(matches!(event.event, Some(Event::MemberLeft(_))));
                    event.room_id
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(verdict(stream).await, (room.clone(), Verdict::Left, 0));
            ended.push(room);
        }
        assert!(begun.elapsed() < LATE, "leaving took {:?}", begun.elapsed());
        ana.say("new", "for ben").await;
        event(stream, "new", 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_gone_joinings_and_leavings_are_found_in_time() {
    let mut redis = tokio::task::block_in_place(Redis::start);
    let group = Group::on(2, redis.url(), &SETTINGS);
    let mut apart = Apart::start(&group, 1).await;
    tokio::task::block_in_place(|| redis.kill());
    apart.assert_found_in_time(&group, 1).await;
    tokio::task::block_in_place(|| redis.restart());
    eventually("the bus again", async || {
        group.node(0).metric("relay_bus_up").await + group.node(1).metric("relay_bus_up").await == 2.0
    })
    .await;
    // As before, with nothing to restart: by the bus alone.
    group.quiet(1).await;
    apart.ana.add("left", "ben", relay_proto::chat::v1::MemberRole::Member).await;
    assert_eq!(verdict(&mut apart.stream).await, ("left".to_owned(), Verdict::Joined, 4));
    drop(apart.ben);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_from_redis_finds_joinings_and_leavings_in_time() {
    let address = super::INSTANCES.redis.rsplit_once('@').unwrap().1.split_once('/').unwrap().0;
    let link = Proxy::to(address).await;
    let cut = super::INSTANCES.redis.replace(address, link.address());
    let group =
        Group::each(&[&super::INSTANCES.redis, &cut], &[SETTINGS[0], SETTINGS[1], ("redis.command_timeout", "500ms")]);
    let mut apart = Apart::start(&group, 1).await;
    link.hold();
    apart.assert_found_in_time(&group, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_bus_swallows_everything_finds_joinings_and_leavings_in_time() {
    let address = super::INSTANCES.redis.rsplit_once('@').unwrap().1.split_once('/').unwrap().0;
    let link = RedisProxy::to(address).await;
    let deaf = super::INSTANCES.redis.replace(address, link.address());
    let group = Group::each(&[&super::INSTANCES.redis, &deaf], &SETTINGS);
    let mut apart = Apart::start(&group, 1).await;
    link.swallow(1);
    apart.assert_found_in_time(&group, 1).await;
    assert!(link.swallowed() > 0);
}
