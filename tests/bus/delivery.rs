//! What is published arrives, once, in order, at everybody who watches.

use std::collections::HashSet;

use relay::bus::{Bus as _, Channel, Health, Heard};
use tokio::time::Instant;

use crate::support::{Node, Redis, config, eventually};

#[tokio::test]
async fn what_one_node_publishes_reaches_all_that_watch_in_its_order() {
    let redis = Redis::start().await;
    let url = redis.url();
    let (mut a, mut b) = (Node::watching(&url, &["room", "other"]).await, Node::watching(&url, &["room"]).await);
    let c = Node::start(&url).await;
    for n in 0..500 {
        c.publish("room", &n.to_string());
        a.publish("other", "not for b");
    }
    for n in 0..500 {
        assert_eq!(b.next_message().await, format!("room {n}"));
    }
    let mut expected = 0;
    for _ in 0..1_000 {
        let message = a.next_message().await;
        if message != "other not for b" {
            assert_eq!(message, format!("room {expected}"));
            expected += 1;
        }
    }
    assert!(a.ear.try_next().is_none() && b.ear.try_next().is_none(), "nothing arrives twice");
    assert_eq!((a.bus.health(), c.metric("relay_bus_published_total")), (Health::Up, 500));
}

#[tokio::test]
async fn a_node_hears_itself_and_others_alike() {
    let redis = Redis::start().await;
    let mut a = Node::watching(&redis.url(), &["room"]).await;
    a.publish("room", "to myself");
    assert_eq!(a.next_message().await, "room to myself");
    assert_eq!(a.metric("relay_bus_received_total"), 1);
}

#[tokio::test]
async fn deployments_with_different_prefixes_do_not_meet() {
    let redis = Redis::start().await;
    let mut ours = Node::watching(&redis.url(), &["room"]).await;
    let mut other = config(&redis.url());
    other.prefix = "relay-test:2".to_owned();
    let theirs = Node::start_with(&other, crate::support::KEEP).await;
    theirs.keep("room", "theirs");
    theirs.keeps("room", &["theirs"]).await;
    ours.publish("room", "ours");
    assert_eq!(ours.next_message().await, "room ours");
    assert_eq!(ours.recent("room").await, [""; 0]);
}

#[tokio::test]
async fn what_is_published_once_watching_was_said_is_heard() {
    let redis = Redis::start().await;
    let url = redis.url();
    let (mut a, b) = (Node::start(&url).await, Node::start(&url).await);
    for n in 0..200 {
        let room = format!("room-{n}");
        a.watch(&[&room]).await;
        b.publish(&room, "now");
        assert_eq!(a.next_message().await, format!("{room} now"));
    }
}

#[tokio::test]
async fn watching_again_at_once_ends_watched_and_says_so() {
    let redis = Redis::start().await;
    let mut a = Node::watching(&redis.url(), &["room"]).await;
    let room: Channel = "room".into();
    for n in 0..200 {
        a.bus.unwatch(&room);
        if n % 3 == 0 {
            // Now and then the task gets to see it in between.
            tokio::task::yield_now().await;
        }
        a.watch(&["room"]).await;
        a.publish("room", &n.to_string());
        assert_eq!(a.next_message().await, format!("room {n}"));
    }
}

#[tokio::test]
async fn what_is_not_watched_any_more_is_not_heard() {
    let redis = Redis::start().await;
    let mut a = Node::watching(&redis.url(), &["room", "other"]).await;
    a.bus.unwatch(&"room".into());
    a.publish("room", "unheard");
    a.publish("other", "heard");
    assert_eq!(a.next_message().await, "other heard");
    eventually("Redis has nobody there", || redis.cli(&["PUBSUB", "NUMSUB", "relay-test:room"]).ends_with('0')).await;
    assert_eq!(a.metric("relay_bus_watched"), 1);
}

#[tokio::test]
async fn five_thousand_channels_are_watched_in_a_burst() {
    let redis = Redis::start().await;
    let mut a = Node::start(&redis.url()).await;
    let begun = Instant::now();
    let mut missing: HashSet<Channel> = (0..5_000).map(|n| format!("room-{n}").into()).collect();
    for channel in &missing {
        a.bus.watch(channel.clone());
    }
    a.hears(|heard| {
        if let Heard::Watching(names) = heard {
            for name in names {
                assert!(missing.remove(name), "{name} is named once");
            }
        }
        missing.is_empty()
    })
    .await;
    println!("5,000 channels watched in {:?}", begun.elapsed());
    a.publish("room-4999", "x");
    assert_eq!(a.next_message().await, "room-4999 x");
}

#[tokio::test]
async fn what_waits_when_a_node_stops_still_goes_out() {
    let redis = Redis::start().await;
    let mut b = Node::watching(&redis.url(), &["room"]).await;
    let a = Node::start(&redis.url()).await;
    for n in 0..3_000 {
        a.publish("room", &n.to_string());
    }
    a.stop().await;
    for n in 0..3_000 {
        assert_eq!(b.next_message().await, format!("room {n}"));
    }
}
