//! Fan-out: one room, many subscribers, short texts. Relay, an ordinary tonic service and raw TCP writes, in one run.

use std::{sync::Arc, time::Duration};

use super::{
    audience::Audience,
    press::{Pace, Press},
};
use crate::{
    args::Args,
    error::Error,
    grpc::{FRAME_HEADER, PREFIX},
    report::Report,
    subject::{FanOut, Floor, PlainTonic, Relay, Writes, frames::typical_length},
};

/// The time between two messages of the paced load.
const PACE: Duration = Duration::from_millis(20);

/// The names of the two loads.
pub(super) struct Names {
    pub(super) paced: &'static str,
    pub(super) saturated: &'static str,
}

const NAMES: Names = Names { paced: "fanout_paced", saturated: "fanout_saturated" };

/// Runs both loads on each subject.
pub(super) async fn run(args: &Args, report: &mut Report) -> Result<(), Error> {
    let mut length = typical_length();
    if let Some(program) = &args.relay {
        let relay = Relay::start(program, args).await?;
        relay.fill_room(args.subscribers).await?;
        length = subject(relay, &NAMES, args, report).await?;
    }
    // The peers carry as many bytes as Relay was seen to send.
    subject(PlainTonic::start(length).await?, &NAMES, args, report).await?;
    for writes in [Writes::Single, Writes::Batched] {
        subject(Floor::start(writes, FRAME_HEADER + PREFIX + length).await?, &NAMES, args, report).await?;
    }
    report.print(NAMES.paced)?;
    report.print(NAMES.saturated)
}

/// Runs both loads on one subject; answers how long its messages were.
pub(super) async fn subject<S: FanOut>(
    subject: S,
    names: &Names,
    args: &Args,
    report: &mut Report,
) -> Result<usize, Error> {
    let subject = Arc::new(subject);
    let mut audience = Audience::open(&subject, args.subscribers, args.in_flight).await?;
    let mut press = Press::new(subject.publish().await?, audience.tallies());
    let processes = subject.processes();
    for (scenario, pace) in [(names.paced, Pace::Every(PACE)), (names.saturated, Pace::Saturated)] {
        let load = tokio::select! {
            load = press.run(&processes, pace, args) => load?,
            error = audience.lost() => return Err(error),
        };
        report.add(
            scenario,
            subject.name(),
            [
                ("deliveries", Some(load.operations / load.seconds), "1/s"),
                ("latency_p50", load.latencies.quantile(0.5), "ms"),
                ("latency_p99", load.latencies.quantile(0.99), "ms"),
                ("server_cpu", load.per_operation(load.server_us), "us/delivery"),
                ("redis_cpu", load.redis_us.and_then(|used| load.per_operation(used)), "us/delivery"),
                ("generator_cpu", load.per_operation(load.generator_us), "us/delivery"),
            ],
        );
    }
    Ok(audience.message_length())
}
