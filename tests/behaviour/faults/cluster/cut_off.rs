//! A node that alone does not reach Redis, or the database: nothing comes back from there, and no connection breaks.

use std::time::Duration;

use tokio::time::{Instant, interval};
use tonic::Code;

use super::{Crossing, LATE, Parts, Plan, Traffic};
use crate::support::{Proxy, eventually, message, within};

const PLAN: Plan = Plan { senders: 12, sends: 160, pace: Duration::from_millis(50), ways: 2, readers: 6, rooms: 3 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_off_from_redis_hears_in_time_and_is_heard_when_the_others_look() {
    let mut proxy = None;
    let parts = Parts::with(&[("chat.check_interval", "5s")], async |[database, redis], _, address| {
        let link = Proxy::to(address).await;
        let redis = redis.replace(address, link.address());
        proxy = Some(link);
        [database, redis]
    })
    .await;
    let proxy = proxy.unwrap();
    let mut crossing = Crossing::open(&parts.server).await;
    crossing.fast().await;
    let traffic = Traffic::start(&parts.server, PLAN).await;
    traffic.acknowledged(PLAN.total() / 10).await;
    proxy.hold();
    let cut = Instant::now();
    let mut pace = interval(Duration::from_millis(100));
    while cut.elapsed() < Duration::from_secs(8) {
        pace.tick().await;
        crossing.in_time_beside(0).await;
    }
    proxy.release();
    crossing.fast().await;
    traffic.finish(&parts.server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_off_from_the_database_says_so_and_the_others_go_on() {
    let settings = [("database.connect_timeout", "1s"), ("database.statement_timeout", "2s")];
    let mut proxy = None;
    let parts = Parts::with(&settings, async |[database, redis], address, _| {
        let link = Proxy::to(address).await;
        let database = database.replace(address, link.address());
        proxy = Some(link);
        [database, redis]
    })
    .await;
    let proxy = proxy.unwrap();
    let mut crossing = Crossing::open(&parts.server).await;
    let traffic = Traffic::start(&parts.server, PLAN).await;
    traffic.acknowledged(PLAN.total() / 10).await;
    proxy.hold();
    eventually("the node's /ready to be red", async || parts.server.node(0).get("/ready").await.0 == 503).await;
    // Its members hear what others say: the bus brings it.
    for from in [1, 2, 1, 2] {
        let took = crossing.say(from).await;
        assert!(took < LATE, "a message from node {from} took {took:?}");
    }
    let mut cut_off = parts.server.node(0).user("at-0").await;
    let refused = within("a refusal", cut_off.chat.send_message(message("crossing", "no way"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    proxy.release();
    eventually("the node's /ready to be green", async || parts.server.node(0).get("/ready").await.0 == 200).await;
    traffic.finish(&parts.server).await;
    crossing.fast().await;
}
