//! What waits is bounded.

use relay::bus::Heard;

use crate::support::{KEEP, Node, Redis, config, eventually};

#[tokio::test]
async fn what_is_heard_and_not_handled_is_dropped_beyond_the_limit_and_said() {
    let redis = Redis::start().await;
    let mut small = config(&redis.url());
    small.queue_bytes = 1 << 20;
    let mut a = Node::start_with(&small, KEEP).await;
    a.watch(&["room"]).await;
    let b = Node::start(&redis.url()).await;
    let payload = "x".repeat(100_000);
    for _ in 0..30 {
        b.publish("room", &payload);
    }
    eventually("all has arrived or was dropped", || {
        a.metric("relay_bus_received_total") + a.metric("relay_bus_dropped_total{why=\"unhandled\"}") == 30
    })
    .await;
    let received = a.metric("relay_bus_received_total");
    assert_eq!(received, 10);
    let mut heard = Vec::new();
    for _ in 0..=received {
        heard.push(a.ear.try_next().expect("it waits"));
    }
    assert!(matches!(heard.pop(), Some(Heard::Lost)));
    assert!(heard.iter().all(|heard| matches!(heard, Heard::Message(..))));
    b.publish("room", "there is room again");
    assert_eq!(a.next_message().await, "room there is room again");
}

#[tokio::test]
async fn what_cannot_be_sent_is_dropped_beyond_the_limit() {
    let redis = Redis::start().await;
    let mut small = config(&redis.url());
    small.queue_bytes = 1 << 20;
    let mut a = Node::start_with(&small, KEEP).await;
    a.watch(&["room"]).await;
    redis.signal("STOP");
    let payload = "x".repeat(100_000);
    for _ in 0..50 {
        a.publish("room", &payload);
    }
    assert!(a.metric("relay_bus_dropped_total{why=\"unsent\"}") >= 40 - 6);
    let mut said = 0;
    a.hears(|heard| {
        said += usize::from(matches!(heard, Heard::Unsent));
        matches!(heard, Heard::Down)
    })
    .await;
    assert_eq!(said, 1, "once until it is handled");
    redis.signal("CONT");
    a.is_told_of(&["room"]).await;
    a.publish("room", "fresh");
    while a.next_message().await != "room fresh" {}
}
