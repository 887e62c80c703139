//! What is kept of a channel: the last payloads, bounded in number and age.

use std::time::Duration;

use relay::bus::{Bus as _, Keep};

use crate::support::{KEEP, Node, Redis, config};

#[tokio::test]
async fn the_last_payloads_are_kept_in_order() {
    let redis = Redis::start().await;
    let (a, b) = (Node::start(&redis.url()).await, Node::start(&redis.url()).await);
    a.keep("room", "1");
    a.publish("room", "not kept");
    a.keep("room", "2");
    b.keeps("room", &["1", "2"]).await;
    for n in 3..=25 {
        a.keep("room", &n.to_string());
    }
    b.keeps("room", &["16", "17", "18", "19", "20", "21", "22", "23", "24", "25"]).await;
    assert_eq!(redis.cli(&["LLEN", "relay-test:h:room"]), "10");
    let ttl: u64 = redis.cli(&["PTTL", "relay-test:h:room"]).parse().unwrap();
    assert!((50_000..=60_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn what_is_forgotten_is_gone_and_what_comes_after_is_kept() {
    let redis = Redis::start().await;
    let a = Node::start(&redis.url()).await;
    a.keep("room", "before");
    a.bus.forget(&"room".into());
    a.keep("room", "after");
    a.keeps("room", &["after"]).await;
    a.bus.forget(&"room".into());
    a.keeps("room", &[]).await;
}

#[tokio::test]
async fn what_is_kept_ends_with_its_time() {
    let redis = Redis::start().await;
    let keep = Keep { ttl: Duration::from_millis(1_000), ..KEEP };
    let a = Node::start_with(&config(&redis.url()), keep).await;
    a.keep("room", "1");
    a.keeps("room", &["1"]).await;
    a.keeps("room", &[]).await;
}

#[tokio::test]
async fn with_nothing_to_keep_nothing_is_stored() {
    let redis = Redis::start().await;
    let mut a = Node::start_with(&config(&redis.url()), Keep { events: 0, ..KEEP }).await;
    a.watch(&["room"]).await;
    a.keep("room", "1");
    a.bus.forget(&"room".into());
    a.keep("room", "2");
    assert_eq!([a.next_message().await, a.next_message().await], ["room 1", "room 2"]);
    assert_eq!(redis.cli(&["DBSIZE"]), "0");
    assert_eq!(a.recent("room").await, [""; 0]);
}
