//! Redis goes away, and comes back with nothing in it: it costs time, never a message.

use std::time::Duration;

use tokio::time::{Instant, interval};

use super::{Crossing, LATE, Parts, Plan, Traffic};
use crate::support::Redis;

const PLAN: Plan = Plan { senders: 9, sends: 150, pace: Duration::from_millis(40), ways: 3, readers: 6, rooms: 3 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_comes_back_empty_and_nothing_is_missed() {
    let mut parts = Parts::start(&[]).await;
    let mut crossing = Crossing::open(&parts.server).await;
    crossing.fast().await;
    let traffic = Traffic::start(&parts.server, PLAN).await;
    for round in 1..3 {
        traffic.acknowledged(PLAN.total() * round / 3).await;
        parts.redis(Redis::kill);
        let took = crossing.slowest().await;
        assert!(took < LATE, "without Redis a message took {took:?}");
        parts.redis(Redis::restart);
        crossing.fast().await;
    }
    traffic.finish(&parts.server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_stopped_for_20_seconds_and_messages_still_cross_in_time() {
    const STOPPED: Duration = Duration::from_secs(20);
    let mut parts = Parts::start(&[]).await;
    let mut crossing = Crossing::open(&parts.server).await;
    crossing.fast().await;
    // Longer than Redis is away.
    let plan = Plan { sends: 240, pace: Duration::from_millis(100), ..PLAN };
    let traffic = Traffic::start(&parts.server, plan).await;
    traffic.acknowledged(plan.total() / 20).await;
    parts.redis(Redis::pause);
    let stopped = Instant::now();
    let mut pace = interval(Duration::from_millis(300));
    while stopped.elapsed() < STOPPED {
        pace.tick().await;
        let took = crossing.slowest().await;
        assert!(took < LATE, "{:?} after Redis stopped a message took {took:?}", stopped.elapsed());
    }
    parts.redis(Redis::resume);
    crossing.fast().await;
    traffic.finish(&parts.server).await;
}
