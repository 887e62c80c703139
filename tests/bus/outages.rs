//! Redis goes away, comes back empty, or hangs.

use relay::bus::{Bus as _, Health, Heard};

use crate::support::{Node, Redis};

#[tokio::test]
async fn a_redis_that_is_killed_and_comes_back_empty_is_used_again() {
    let mut redis = Redis::start().await;
    let (mut a, mut b) =
        (Node::watching(&redis.url(), &["one", "two"]).await, Node::watching(&redis.url(), &["two"]).await);
    a.keep("one", "1");
    a.keeps("one", &["1"]).await;
    redis.kill();
    a.hears_down().await;
    b.hears_down().await;
    a.is(Health::Down).await;
    a.publish("two", "into the void");
    assert_eq!(a.recent("one").await, [""; 0]);
    // What is asked for meanwhile is watched as well, and what is given up is not.
    a.bus.watch("three".into());
    a.bus.unwatch(&"one".into());
    redis.restart().await;
    a.hears_up().await;
    a.is_told_of(&["two", "three"]).await;
    b.is_told_of(&["two"]).await;
    assert_eq!(a.recent("one").await, [""; 0]);
    b.publish("one", "given up");
    b.publish("three", "after");
    assert_eq!(a.next_message().await, "three after");
    a.publish("two", "after");
    assert_eq!(b.next_message().await, "two after");
    assert_eq!((a.metric("relay_bus_dropped_total{why=\"down\"}"), a.metric("relay_bus_up")), (1, 1));
}

#[tokio::test]
async fn what_is_to_be_forgotten_during_an_outage_is_forgotten_after_it() {
    let redis = Redis::start().await;
    let mut a = Node::start(&redis.url()).await;
    a.keep("room", "secret");
    a.keeps("room", &["secret"]).await;
    redis.signal("STOP");
    a.hears_down().await;
    a.bus.forget(&"room".into());
    redis.signal("CONT");
    a.hears_up().await;
    a.keeps("room", &[]).await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_found_and_used_again_when_it_goes_on() {
    let redis = Redis::start().await;
    let mut a = Node::watching(&redis.url(), &["room"]).await;
    redis.signal("STOP");
    a.hears_down().await;
    a.is(Health::Down).await;
    redis.signal("CONT");
    a.hears_up().await;
    a.is_told_of(&["room"]).await;
    a.publish("room", "again");
    assert_eq!(a.next_message().await, "room again");
    assert_eq!(a.bus.health(), Health::Up);
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_left() {
    let (mut redis, master) = (Redis::start().await, Redis::start().await);
    let mut a = Node::watching(&redis.url(), &["room"]).await;
    redis.cli(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    a.hears_down().await;
    redis.cli(&["REPLICAOF", "NO", "ONE"]);
    a.is_told_of(&["room"]).await;
    redis.listens().await;
}

#[tokio::test]
async fn nothing_is_said_to_be_watched_before_redis_has_acknowledged_it() {
    let redis = Redis::start().await;
    let mut a = Node::start(&redis.url()).await;
    redis.signal("STOP");
    a.bus.watch("room".into());
    let heard = a.hears(|heard| matches!(heard, Heard::Watching(_) | Heard::Down)).await;
    redis.signal("CONT");
    assert!(matches!(heard, Heard::Down), "{heard:?}");
    a.is_told_of(&["room"]).await;
}
