//! What presence costs: users who connect and leave all the time, in rooms with watchers, beside messages from node to node.

use std::{sync::Arc, time::Duration};

use super::{
    audience::Audience,
    load::Load,
    press::{Pace, Press},
    visitors::Visitors,
};
use crate::{
    args::Args,
    error::Error,
    report::Report,
    subject::{Cluster, FanOut as _},
};

const NAME: &str = "presence";
/// How many receive messages on the second node; the sender is on the first.
const RECEIVING: usize = 100;
/// The time between two messages, which are sent when they are due.
const PACE: Duration = Duration::from_millis(20);
/// The most users who come and go. Each comes and goes once in two seconds.
const VISITORS: usize = 2000;

/// Measures messages without them, with them, and without them again.
pub(super) async fn run(cluster: Cluster, args: &Args, report: &mut Report) -> Result<(), Error> {
    let cluster = Arc::new(cluster.with_readers_on(1..2));
    cluster.node(0)?.fill_room(RECEIVING).await?;
    let mut visitors = Visitors::gather(&cluster, args.streams.min(VISITORS)).await?;
    let mut audience = Audience::open(&cluster, RECEIVING, args.in_flight).await?;
    let mut press = Press::new(cluster.publish().await?, audience.tallies());
    let work = async {
        let quiet = press.run(&cluster.processes(), Pace::OpenLoop(PACE), args).await?;
        add("nobody comes", &quiet, report);
        visitors.begin();
        let passages = visitors.passages();
        let load = press.run(&cluster.processes(), Pace::OpenLoop(PACE), args).await?;
        // What was counted is a little longer than what was measured: from the warm-up to the last message.
        let (count, seconds) = visitors.passages().since(&passages);
        add("with visitors", &load, report);
        let settled = visitors.settle().await?;
        let again = press.run(&cluster.processes(), Pace::OpenLoop(PACE), args).await?;
        add("nobody comes, again", &again, report);
        let base = quiet.latencies.quantile(0.99).zip(again.latencies.quantile(0.99));
        let own = (load.server_us / load.seconds - quiet.server_us / quiet.seconds) / (count / seconds);
        report.add(
            NAME,
            "with visitors",
            [
                ("come_and_go", Some(count / seconds), "1/s"),
                ("passage_cpu", Some(own), "us each"),
                ("open_p99", settled.opening.quantile(0.99), "ms"),
                ("refused", Some(settled.refused), "times"),
                ("p99_beside_quiet", load.latencies.quantile(0.99).zip(base).map(|(p99, (a, b))| p99 / a.max(b)), "x"),
                ("told", Some(settled.told), "frames"),
                ("settled_after", settled.after.map(|after| after.as_secs_f64()), "s"),
                ("wrong_in_answers", Some(settled.wrong as f64), "users"),
                ("wrong_on_streams", Some(settled.wrong_on_streams as f64), "users"),
            ],
        );
        Ok::<(), Error>(())
    };
    tokio::select! {
        done = work => done?,
        error = audience.lost() => return Err(error),
    }
    report.print_beside(NAME, "nobody comes")
}

fn add(subject: &str, load: &Load, report: &mut Report) {
    report.add(
        NAME,
        subject,
        [
            ("deliveries", Some(load.operations / load.seconds), "1/s"),
            ("latency_p50", load.latencies.quantile(0.5), "ms"),
            ("latency_p99", load.latencies.quantile(0.99), "ms"),
            ("server_cpu", Some(load.server_us / load.seconds / 1e4), "% of a core"),
            ("redis_cpu", load.redis_us.map(|used| used / load.seconds / 1e4), "% of a core"),
            ("generator_cpu", Some(load.generator_us / load.seconds / 1e4), "% of a core"),
        ],
    );
}
