//! Messages to itself: the proof that Redis still delivers what it takes.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Shared, fault::Fault, link::Link, node::greet, outbox::Item};
use crate::bus::Health;

/// How long a message to itself may take at least, until the node takes itself for deaf.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a deaf node tries.
const DEAF_INTERVAL: Duration = Duration::from_secs(1);
/// After as many in vain another link may do better.
const VAIN: u32 = 3;

/// Probes until the link is of no use.
pub(super) async fn probe(shared: &Shared, link: &Link) -> Fault {
    let mut nonce = fastrand::u64(1..=u64::MAX / 2);
    let mut vain = 0;
    loop {
        let begun = Instant::now();
        nonce += 1;
        if hears(shared, link, nonce, vain).await {
            shared.metrics.bus_probe.observe(begun.elapsed().as_secs_f64());
            if std::mem::take(&mut vain) > 0 {
                tracing::info!("Redis delivers again");
                shared.set_health(Health::Up);
                shared.wanted.hear(link.id, &shared.voice);
            }
        } else {
            vain += 1;
            if vain == 1 {
                tracing::warn!("Redis takes messages and delivers none");
                shared.set_health(Health::Deaf);
                shared.wanted.stop_hearing(&shared.voice);
            }
            if vain == VAIN {
                return Fault::Deaf(deaf_place(link, nonce));
            }
        }
        if let Err(fault) = check_roles(link).await {
            return fault;
        }
        sleep_until(begun + if vain > 0 { DEAF_INTERVAL } else { shared.probe_interval }).await;
    }
}

/// Whether the node hears itself through every server.
async fn hears(shared: &Shared, link: &Link, nonce: u64, vain: u32) -> bool {
    for node in 0..link.nodes.len() {
        shared.put(Item::Probe { node, nonce });
    }
    let heard = link.nodes.iter().map(|node| {
        let mut heard = node.heard.clone();
        async move { heard.wait_for(|heard| *heard == nonce).await.is_ok() }
    });
    let patience = if vain > 0 { DEAF_INTERVAL } else { PATIENCE.max(shared.probe_interval) };
    timeout(patience, join_all(heard)).await.is_ok_and(|all| all.into_iter().all(|heard| heard))
}

/// A master that became a replica takes what is published, and keeps it to itself.
async fn check_roles(link: &Link) -> Result<(), Fault> {
    for node in &link.nodes {
        greet(&node.place, &mut node.speak.clone()).await?.check_role(node.place.clone())?;
    }
    Ok(())
}

fn deaf_place(link: &Link, nonce: u64) -> super::url::Place {
    let deaf = link.nodes.iter().find(|node| *node.heard.borrow() != nonce).or(link.nodes.first());
    deaf.map_or_else(|| super::url::Place { host: String::new(), port: 0 }, |node| node.place.clone())
}
