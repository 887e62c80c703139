//! From node to node: one sends on the first, others receive on the second.

use std::{sync::Arc, time::Duration};

use super::{
    audience::Audience,
    load::Load,
    press::{Pace, Press},
};
use crate::{
    args::Args,
    error::Error,
    report::Report,
    subject::{Cluster, FanOut as _},
};

/// How many receive.
const SIZES: [usize; 2] = [1, 100];
const NAME: &str = "cross_node";

/// Finds the rate at which delivery saturates, then measures the latency at half of it.
pub(super) async fn run(cluster: Cluster, args: &Args, report: &mut Report) -> Result<(), Error> {
    let cluster = Arc::new(cluster.with_readers_on(1..2));
    let most = SIZES.into_iter().max().unwrap_or(1);
    cluster.node(0)?.fill_room(most).await?;
    for size in SIZES {
        let mut audience = Audience::open(&cluster, size, args.in_flight).await?;
        let mut press = Press::new(cluster.publish().await?, audience.tallies());
        tokio::select! {
            done = both(&cluster, &mut press, size, args, report) => done?,
            error = audience.lost() => return Err(error),
        }
    }
    report.print(NAME)
}

async fn both(
    cluster: &Cluster,
    press: &mut Press,
    size: usize,
    args: &Args,
    report: &mut Report,
) -> Result<(), Error> {
    let full = press.run(&cluster.processes(), Pace::Saturated, args).await?;
    let messages = full.operations / full.seconds / size as f64;
    add(&format!("{size} receiving, saturated"), size, &full, report);
    if messages < 1.0 {
        return Err(Error::unexpected("less than one message a second came from node to node"));
    }
    let half = press.run(&cluster.processes(), Pace::OpenLoop(Duration::from_secs_f64(2.0 / messages)), args).await?;
    add(&format!("{size} receiving, half of it"), size, &half, report);
    Ok(())
}

fn add(subject: &str, size: usize, load: &Load, report: &mut Report) {
    report.add(
        NAME,
        subject,
        [
            ("messages", Some(load.operations / load.seconds / size as f64), "1/s"),
            ("latency_p50", load.latencies.quantile(0.5), "ms"),
            ("latency_p99", load.latencies.quantile(0.99), "ms"),
            ("server_cpu", load.per_operation(load.server_us), "us/delivery"),
            ("redis_cpu", load.redis_us.and_then(|used| load.per_operation(used)), "us/delivery"),
        ],
    );
}
