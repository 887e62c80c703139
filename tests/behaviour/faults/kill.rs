//! kill -9 under load: every acknowledged message is there once and in order, for every subscriber.

use std::time::Duration;

use super::traffic::{Plan, Traffic};
use crate::support::Server;

/// As fast as it goes.
const PLAN: Plan = Plan { senders: 20, sends: 250, pace: Duration::from_micros(1), ways: 3, readers: 6, rooms: 4 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_message_survives_kills_once_and_in_order_for_every_subscriber() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut server = Server::start();
    let traffic = Traffic::start(&server, PLAN).await;
    let mut kills: Vec<usize> = (0..3).map(|_| random.usize(250..4_500)).collect();
    kills.sort_unstable();
    for at in kills {
        traffic.acknowledged(at).await;
        server.kill();
        server.restart();
    }
    traffic.finish(&server).await;
}
