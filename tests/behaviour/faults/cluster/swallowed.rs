//! A bus that swallows events: Redis takes them, and one node never gets them.

use std::time::Duration;

use super::{Crossing, Parts, Plan, Traffic};
use crate::support::{RedisProxy, eventually};

const PLAN: Plan = Plan { senders: 9, sends: 200, pace: Duration::from_millis(20), ways: 3, readers: 6, rooms: 3 };

async fn start() -> (Parts, RedisProxy) {
    let mut proxy = None;
    let settings = [("chat.check_interval", "5s"), ("redis.probe_interval", "1s")];
    let parts = Parts::with(&settings, async |[database, redis], _, address| {
        let link = RedisProxy::to(address).await;
        let redis = redis.replace(address, link.address());
        proxy = Some(link);
        [database, redis]
    })
    .await;
    (parts, proxy.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_the_bus_swallows_now_and_then_are_found_in_the_log() {
    let (parts, proxy) = start().await;
    let mut crossing = Crossing::open(&parts.server).await;
    crossing.fast().await;
    let traffic = Traffic::start(&parts.server, PLAN).await;
    traffic.acknowledged(PLAN.total() / 10).await;
    proxy.swallow(3);
    traffic.acknowledged(PLAN.total() * 9 / 10).await;
    assert!(proxy.swallowed() > 30, "{} were swallowed", proxy.swallowed());
    proxy.swallow(0);
    traffic.finish(&parts.server).await;
    crossing.fast().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_delivers_nothing_is_noticed_and_done_without() {
    let (parts, proxy) = start().await;
    let mut crossing = Crossing::open(&parts.server).await;
    crossing.fast().await;
    let traffic = Traffic::start(&parts.server, PLAN).await;
    proxy.swallow(1);
    let first = parts.server.node(0);
    eventually("/ready to say that the bus is deaf", async || first.get("/ready").await.0 == 503).await;
    for n in 1..parts.server.count() {
        assert_eq!(parts.server.node(n).get("/ready").await.0, 200, "the others hear");
    }
    crossing.in_time_beside(0).await;
    proxy.swallow(0);
    eventually("/ready to be green", async || first.get("/ready").await.0 == 200).await;
    crossing.fast().await;
    traffic.finish(&parts.server).await;
}
