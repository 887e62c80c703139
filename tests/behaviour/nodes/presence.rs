//! Who is there, when nodes and the bus between them go wrong.

use std::time::Duration;

use relay_proto::chat::v1::{RoomKind, SetPresenceRequest, frame::Kind};
use tokio::time::Instant;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::Group;
use crate::{
    presence::{Away, Offline, Online, Watcher, say, state_of},
    support::{Clients, Redis, RedisProxy, Server, Stream, error_of, eventually},
};

/// Ana watches at the first node; the others of the room have no stream yet.
async fn watched(group: &Group, members: &[&str]) -> (Clients, Watcher) {
    let mut ana = group.node(0).user("ana").await;
    ana.create_room("general", RoomKind::Private, members).await;
    let mut watcher = Watcher::open(&ana, &["general"]).await;
    watcher.until_state("ana", Online).await;
    (ana, watcher)
}

#[tokio::test]
async fn users_of_a_node_that_is_killed_are_offline_with_its_lease_and_others_stay() {
    let mut group = Group::start(3, &[("presence.node_lease", "5s")]);
    let (ana, mut watcher) = watched(&group, &["ben", "cy"]).await;
    let (ben, cy) = (group.node(1).user("ben").await, group.node(1).user("cy").await);
    let _streams = (Stream::open(&ben, &[]).await, Stream::open(&cy, &[]).await);
    let other = group.node(2).user("cy").await;
    let mut of_cy = Stream::open(&other, &[]).await;
    crate::presence::set(&mut of_cy, Away).await;
    watcher.until_state("ben", Online).await;
    watcher.until_state("cy", Online).await;
    let begun = Instant::now();
    group.server.node_mut(1).kill();
    watcher.until_state("ben", Offline).await;
    println!("offline {:?} after the kill, with a lease of 5 s", begun.elapsed());
    // Only the device that is not in use is left of cy's.
    watcher.until_state("cy", Away).await;
    assert!(!watcher.told.contains(&("cy".into(), Offline)), "{:?}", watcher.told);
    let known = watcher.known["ben"].clone();
    assert!(known.last_seen_at.is_some());
    assert_eq!(crate::presence::get(&ana, &["ben"]).await, [known]);
}

#[tokio::test]
async fn the_only_node_is_killed_and_its_users_are_offline_when_the_lease_is_over() {
    let mut server = Server::alone(&[("presence.node_lease", "2s")]);
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["ben"]).await;
    let ben = server.user("ben").await;
    let stream = Stream::open(&ben, &[]).await;
    let mut watcher = Watcher::open(&ana, &["general"]).await;
    watcher.until_state("ben", Online).await;
    drop(watcher);
    server.kill();
    server.restart();
    drop(stream);
    let ana = server.user("ana").await;
    let mut watcher = Watcher::open(&ana, &["general"]).await;
    watcher.until_state("ben", Offline).await;
    watcher.until_state("ana", Online).await;
}

/// Reads a stream until it is told to move, or ends; then it is over.
async fn moves(mut stream: Stream) {
    while let Ok(Some(frame)) = stream.next_or_end().await {
        if matches!(frame, Kind::Drain(_)) {
            return;
        }
    }
}

#[tokio::test]
async fn a_restart_of_a_node_is_not_seen() {
    let settings = [("presence.node_lease", "5s"), ("server.reconnect_spread", "200ms")];
    let mut group = Group::start(2, &settings);
    let (_ana, mut watcher) = watched(&group, &["ben", "cy"]).await;
    let (ben, cy) = (group.node(1).user("ben").await, group.node(1).user("cy").await);
    let (of_ben, of_cy) = (Stream::open(&ben, &[]).await, Stream::open(&cy, &[]).await);
    watcher.until_state("ben", Online).await;
    watcher.until_state("cy", Online).await;
    group.node(1).terminate();
    // Ben goes to the other node when they are told to; cy waits until theirs is back.
    moves(of_ben).await;
    let mut ben = group.node(0).user("ben").await;
    let _of_ben = Stream::open(&ben, &[]).await;
    drop(of_cy);
    assert!(group.server.node_mut(1).ended().await.success());
    group.server.node_mut(1).restart();
    let mut cy = group.node(1).user("cy").await;
    let of_cy = Stream::open(&cy, &[]).await;
    // Longer than the node's devices were left standing.
    let left = Instant::now() + Duration::from_secs(14);
    let mut round = 0;
    let mut pace = tokio::time::interval(Duration::from_millis(500));
    while Instant::now() < left {
        pace.tick().await;
        round += 1;
        watcher.mark(&mut cy, "cy", &round.to_string()).await;
    }
    watcher.mark(&mut ben, "ben", "here").await;
    assert_eq!((watcher.take_told("ben"), watcher.take_told("cy")), (vec![Online], vec![Online]));
    drop(of_cy);
    watcher.until_state("cy", Offline).await;
}

#[tokio::test]
async fn who_does_not_come_back_from_a_node_that_was_ended_is_offline_soon() {
    let mut group = Group::start(2, &[("presence.node_lease", "5s"), ("server.reconnect_spread", "200ms")]);
    let (_ana, mut watcher) = watched(&group, &["ben"]).await;
    let ben = group.node(1).user("ben").await;
    let of_ben = Stream::open(&ben, &[]).await;
    watcher.until_state("ben", Online).await;
    group.node(1).terminate();
    moves(of_ben).await;
    assert!(group.server.node_mut(1).ended().await.success());
    let begun = Instant::now();
    watcher.until_state("ben", Offline).await;
    println!("offline {:?} after the node's end", begun.elapsed());
}

const LOOK_OFTEN: [(&str, &str); 2] = [("presence.room_interval", "500ms"), ("redis.probe_interval", "200ms")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_converges_while_redis_is_away_and_when_it_is_back() {
    let mut redis = tokio::task::block_in_place(Redis::start);
    let group = Group::on(2, redis.url(), &LOOK_OFTEN);
    let (_ana, mut watcher) = watched(&group, &["ben", "cy"]).await;
    let (mut ben, cy) = (group.node(1).user("ben").await, group.node(1).user("cy").await);
    let of_ben = Stream::open(&ben, &[]).await;
    watcher.until_state("ben", Online).await;
    tokio::task::block_in_place(|| redis.kill());
    drop(of_ben);
    let of_cy = Stream::open(&cy, &[]).await;
    watcher.until_state("cy", Online).await;
    watcher.until_state("ben", Offline).await;
    tokio::task::block_in_place(|| redis.restart());
    drop(of_cy);
    let _of_ben = Stream::open(&ben, &[]).await;
    watcher.until_state("ben", Online).await;
    watcher.until_state("cy", Offline).await;
    // Words cross again.
    watcher.mark(&mut ben, "ben", "hello").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_setting_all_streams_is_to_be_tried_again() {
    let mut redis = tokio::task::block_in_place(Redis::start);
    let group = Group::on(2, redis.url(), &LOOK_OFTEN);
    let (mut ana, mut watcher) = watched(&group, &["ben", "cy"]).await;
    let (mut ben, of_cy) = (group.node(0).user("ben").await, group.node(1).user("cy").await);
    // Ben's stream is at the other node than he calls; cy's at the one that they call.
    let _streams = (Stream::open(&group.node(1).user("ben").await, &[]).await, Stream::open(&of_cy, &[]).await);
    watcher.until_state("ben", Online).await;
    watcher.until_state("cy", Online).await;
    tokio::task::block_in_place(|| redis.kill());
    for node in 0..2 {
        eventually("the bus to be down", async || group.node(node).metric("relay_bus_up").await == 0.0).await;
    }
    let away = || SetPresenceRequest { state: Away.into(), ..SetPresenceRequest::default() };
    for clients in [&mut ben, &mut of_cy.clone()] {
        let refused = clients.presence.set_presence(away()).await.unwrap_err();
        assert_eq!(error_of(&refused), (Code::NotFound, "SESSION_NOT_FOUND".into(), vec![]));
        assert!(refused.get_details_retry_info().is_some(), "{refused:?}");
    }
    watcher.until_state("cy", Away).await;
    say(&mut ana, "a text alone is for nobody's streams").await;
    tokio::task::block_in_place(|| redis.restart());
    // Again and again, as its client would: the other node may be back later than the one that is asked.
    let done = async || ben.clone().presence.set_presence(away()).await.is_ok() && state_of(&ana, "ben").await == Away;
    eventually("Ben to be away", done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_swallows_without_a_trace_is_made_good() {
    let redis = tokio::task::block_in_place(Redis::start);
    let proxy = RedisProxy::to(redis.address()).await;
    let url = redis.url().replace(redis.address(), proxy.address());
    // Its probes are swallowed as well as anything, but by chance.
    let settings = [("presence.room_interval", "500ms"), ("redis.probe_interval", "1m")];
    let group = Group::each(&[&url, redis.url()], &settings);
    let (_ana, mut watcher) = watched(&group, &["ben"]).await;
    let ben = group.node(1).user("ben").await;
    proxy.swallow(1);
    let begun = Instant::now();
    let of_ben = Stream::open(&ben, &[]).await;
    watcher.until_state("ben", Online).await;
    println!("found after {:?}", begun.elapsed());
    drop(of_ben);
    watcher.until_state("ben", Offline).await;
    assert!(proxy.swallowed() >= 2);
}

#[tokio::test]
async fn nodes_without_redis_find_out_who_is_there() {
    let group = Group::each(&["", ""], &LOOK_OFTEN);
    let (_ana, mut watcher) = watched(&group, &["ben"]).await;
    let mut ben = group.node(1).user("ben").await;
    let of_ben = Stream::open(&ben, &[]).await;
    watcher.until_state("ben", Online).await;
    say(&mut ben, "hello").await;
    watcher.until("a status", |w| w.known["ben"].status_text == "hello").await;
    drop(of_ben);
    watcher.until_state("ben", Offline).await;
}
