//! Redis takes what is published and delivers nothing.

use relay::bus::{Bus as _, Health};

use crate::support::{Node, Proxy, Redis};

#[tokio::test]
async fn a_bus_that_delivers_nothing_is_deaf_until_it_delivers_again() {
    let redis = Redis::start().await;
    let proxy = Proxy::before(redis.port).await;
    let mut a = Node::watching(&proxy.url(), &["room"]).await;
    let b = Node::start(&redis.url()).await;
    proxy.swallow(true);
    a.hears_down().await;
    a.is(Health::Deaf).await;
    assert_eq!((a.metric("relay_bus_up"), a.metric("relay_bus_deaf")), (0, 1));
    assert!(!a.bus.health().delivers());
    proxy.swallow(false);
    a.hears_up().await;
    a.is_told_of(&["room"]).await;
    b.publish("room", "heard again");
    assert_eq!(a.next_message().await, "room heard again");
    a.is(Health::Up).await;
    assert_eq!((a.metric("relay_bus_up"), a.metric("relay_bus_deaf")), (1, 0));
}

#[tokio::test]
async fn a_bus_that_stays_deaf_tries_another_link() {
    let redis = Redis::start().await;
    let proxy = Proxy::before(redis.port).await;
    let mut a = Node::watching(&proxy.url(), &["room"]).await;
    let b = Node::start(&redis.url()).await;
    // Only of the connections that are there: a new one delivers.
    proxy.swallow_those_there();
    a.hears_down().await;
    a.is(Health::Deaf).await;
    a.hears_up().await;
    a.is_told_of(&["room"]).await;
    b.publish("room", "over the new link");
    assert_eq!(a.next_message().await, "room over the new link");
}
