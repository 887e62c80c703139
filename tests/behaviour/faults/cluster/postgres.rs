//! PostgreSQL restarts under several nodes: what is refused meanwhile is sent again, and all of it is there once.

use std::time::Duration;

use super::{Crossing, Parts, Plan, Traffic};

/// Without frames that follow each other unanswered: the database refuses one and takes the next.
const PLAN: Plan = Plan { senders: 12, sends: 125, pace: Duration::from_millis(20), ways: 2, readers: 6, rooms: 3 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_restarts_under_three_nodes_and_nothing_is_missed() {
    let mut parts = Parts::start(&[]).await;
    let traffic = Traffic::start(&parts.server, PLAN).await;
    for (third, order) in [(1, "restart -m immediate"), (2, "restart -m fast")] {
        traffic.acknowledged(PLAN.total() * third / 3).await;
        tokio::task::block_in_place(|| parts.postgres.control(order));
    }
    traffic.finish(&parts.server).await;
    Crossing::open(&parts.server).await.fast().await;
}
