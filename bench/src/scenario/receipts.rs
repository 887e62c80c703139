//! What receipts cost: a large room, many readers on two nodes, one sender. In turns nobody reports, and all report what they
//! have read.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{
    load::{Load, Reading},
    readers::Readers,
    turns::Sum,
};
use crate::{
    args::Args,
    error::Error,
    report::Report,
    stamp,
    subject::{Cluster, FanOut as _, Publisher},
};

const NAME: &str = "receipts";
/// The time between two messages.
const PACE: Duration = Duration::from_millis(20);
/// How long a turn runs before it is measured: what the turn before left is written by then.
const SETTLE: Duration = Duration::from_millis(1500);
/// How long a turn is measured.
const TURN: Duration = Duration::from_secs(3);
/// What is reported last is written within this.
const WRITTEN: Duration = Duration::from_secs(1);
/// What Relay says of its own writes.
const UPDATES: &str = "relay_receipt_updates";

/// The turns of one kind.
#[derive(Default)]
struct Kind {
    sum: Sum,
    seconds: f64,
    reports: f64,
    told: f64,
    updates: Option<f64>,
}

/// Measures both kinds in the same run.
pub(super) async fn run(cluster: Cluster, args: &Args, report: &mut Report) -> Result<(), Error> {
    if args.members <= args.subscribers {
        return Err(Error::Usage("receipts: --members must be more than --subscribers".into()));
    }
    // The owner is one of them.
    cluster.node(0)?.fill_room(args.members - 1).await?;
    let mut readers = Readers::open(&cluster, args.subscribers).await?;
    let mut publisher = cluster.publish().await?;
    let table = readers.table();
    let rounds = (args.measure.as_secs() / TURN.as_secs()).max(1);
    let mut kinds = [Kind::default(), Kind::default()];
    let before = cluster.database().rows_updated("members").await?;
    let work = async {
        for _ in 0..rounds {
            for (reporting, kind) in [false, true].into_iter().zip(&mut kinds) {
                table.report(reporting);
                sleep(SETTLE).await;
                turn(&cluster, &table, kind).await?;
            }
        }
        table.report(false);
        sleep(SETTLE).await;
        Ok::<(), Error>(())
    };
    tokio::select! {
        done = work => done?,
        error = publish(&mut publisher) => return Err(error),
        error = readers.lost() => return Err(error),
    }
    drop((publisher, readers));
    let written = cluster.database().rows_updated("members").await? - before;
    let reporting = rounds as f64 * (SETTLE + TURN + WRITTEN).as_secs_f64() * args.subscribers as f64;
    let [quiet, busy] = kinds.map(Kind::finish);
    let share = quiet.0.per_operation(quiet.0.server_us).zip(busy.0.per_operation(busy.0.server_us));
    add("nobody reports", &quiet, args, report);
    add("all report", &busy, args, report);
    let beside = [
        ("receipts_of_delivery_cpu", share.map(|(quiet, busy)| (busy / quiet - 1.0) * 100.0), "%"),
        ("rows_by_postgres", Some(written as f64 / reporting), "1/s/reader"),
    ];
    report.add(NAME, "all report", beside);
    report.print_beside(NAME, "nobody reports")
}

/// Publishes for ever.
async fn publish(publisher: &mut Publisher) -> Error {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if let Err(error) = publisher.send(number, stamp::now()).await {
                    return error;
                }
                number += 1;
            }
            error = publisher.listen() => return error,
        }
    }
}

async fn turn(cluster: &Cluster, table: &Arc<super::readers::Table>, kind: &mut Kind) -> Result<(), Error> {
    let processes = cluster.processes();
    table.measure(true);
    let (updates, reports, told) = (updates(cluster).await?, table.reports(), table.told());
    let begin = Reading::take(&processes, table.deliveries())?;
    let since = Instant::now();
    sleep(TURN).await;
    let end = Reading::take(&processes, table.deliveries())?;
    kind.seconds += since.elapsed().as_secs_f64();
    table.measure(false);
    let after = self::updates(cluster).await?;
    kind.sum.add(&begin, &end, table.samples());
    kind.reports += (table.reports() - reports) as f64;
    kind.told += (table.told() - told) as f64;
    kind.updates = updates.zip(after).map(|(before, after)| kind.updates.unwrap_or(0.0) + after - before);
    Ok(())
}

/// Of both nodes. None: they do not say.
async fn updates(cluster: &Cluster) -> Result<Option<f64>, Error> {
    let mut sum = None;
    for node in 0..super::NODES {
        if let Some(updates) = cluster.node(node)?.metric(UPDATES).await? {
            sum = Some(sum.unwrap_or(0.0) + updates);
        }
    }
    Ok(sum)
}

impl Kind {
    fn finish(self) -> (Load, Self) {
        let rest = Self { sum: Sum::default(), ..self };
        (self.sum.finish(), rest)
    }
}

fn add(subject: &str, (load, kind): &(Load, Kind), args: &Args, report: &mut Report) {
    let of_each = |count: f64| count / kind.seconds / args.subscribers as f64;
    report.add(
        NAME,
        subject,
        [
            ("deliveries", Some(load.operations / load.seconds), "1/s"),
            ("latency_p50", load.latencies.quantile(0.5), "ms"),
            ("latency_p99", load.latencies.quantile(0.99), "ms"),
            ("server_cpu", load.per_operation(load.server_us), "us/delivery"),
            ("generator_cpu", load.per_operation(load.generator_us), "us/delivery"),
            ("reports", Some(of_each(kind.reports)), "1/s/reader"),
            ("rows", kind.updates.map(of_each), "1/s/reader"),
            ("told", Some(of_each(kind.told)), "frames/s/reader"),
        ],
    );
}
