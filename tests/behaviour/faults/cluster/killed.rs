//! kill -9 of one node of several under load: its users lose nothing, the others do not notice.

use std::time::Duration;

use super::{Crossing, Parts, Plan, Traffic, parts::NODES};

const PLAN: Plan = Plan { senders: 18, sends: 150, pace: Duration::from_millis(10), ways: 3, readers: 6, rooms: 4 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_under_load_takes_no_message_along() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut parts = Parts::start(&[]).await;
    let traffic = Traffic::start(&parts.server, PLAN).await;
    for quarter in 1..4 {
        traffic.acknowledged(PLAN.total() * quarter / 4).await;
        let node = parts.server.node_mut(random.usize(..NODES));
        node.kill();
        node.restart();
    }
    traffic.finish(&parts.server).await;
    Crossing::open(&parts.server).await.fast().await;
}
