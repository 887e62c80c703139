//! Fan-out: one room, many subscribers, short texts. Relay, an ordinary tonic service and raw TCP writes, in one run.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::{
    audience::{Audience, Seats},
    load::Load,
};
use crate::{
    args::Args,
    error::{Error, in_time},
    grpc::{FRAME_HEADER, PREFIX},
    report::Report,
    subject::{FanOut, Floor, PlainTonic, Publisher, Relay, Writes, typical_length},
};

/// The time between two messages of the paced load.
const PACE: Duration = Duration::from_millis(20);
/// How long the last messages of a load may take to arrive.
const LAND: Duration = Duration::from_secs(30);

/// Runs both loads on each subject.
pub(super) async fn run(args: &Args, report: &mut Report) -> Result<(), Error> {
    let mut length = typical_length();
    if let Some(program) = &args.relay {
        let relay = Relay::start(program, args).await?;
        relay.fill_room(args.subscribers).await?;
        length = subject(relay, args, report).await?;
    }
    // The peers carry as many bytes as Relay was seen to send.
    subject(PlainTonic::start(length).await?, args, report).await?;
    for writes in [Writes::Single, Writes::Batched] {
        subject(Floor::start(writes, FRAME_HEADER + PREFIX + length).await?, args, report).await?;
    }
    report.print("fanout_paced")?;
    report.print("fanout_saturated")
}

/// Runs both loads on one subject; answers how long its messages were.
async fn subject<S: FanOut>(subject: S, args: &Args, report: &mut Report) -> Result<usize, Error> {
    let subject = Arc::new(subject);
    let mut audience = Audience::open(&subject, args.subscribers, args.in_flight).await?;
    let mut press = Press { publisher: subject.publish().await?, seats: audience.tallies(), next: 0 };
    for (scenario, pace) in [("fanout_paced", Some(PACE)), ("fanout_saturated", None)] {
        let load = tokio::select! {
            load = press.run(subject.pid(), pace, args) => load?,
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
                ("generator_cpu", load.per_operation(load.generator_us), "us/delivery"),
            ],
        );
    }
    Ok(audience.message_length())
}

/// The one who publishes.
struct Press {
    publisher: Publisher,
    seats: Seats,
    /// The number of the next message.
    next: u64,
}

impl Press {
    /// Publishes at a pace, or as fast as messages arrive, and measures. Ends when all has arrived.
    async fn run(&mut self, pid: u32, pace: Option<Duration>, args: &Args) -> Result<Load, Error> {
        let start = Instant::now() + args.warm_up;
        let Self { publisher, seats, next } = self;
        // A little longer than what is measured, so that the end is under load, too.
        let until = start + args.measure + Duration::from_millis(100);
        let publish = publish(publisher, seats, next, pace, until);
        let measure = Load::measure(pid, seats.tallies(), start, args.measure);
        let ((), load) = tokio::try_join!(publish, measure)?;
        in_time("the last message of a load", LAND, async {
            tokio::select! {
                () = seats.flight().landed() => Ok(()),
                error = publisher.listen() => Err(error),
            }
        })
        .await?;
        Ok(load)
    }
}

/// Publishes until the time is over.
async fn publish(
    publisher: &mut Publisher,
    seats: &Seats,
    next: &mut u64,
    pace: Option<Duration>,
    until: Instant,
) -> Result<(), Error> {
    let mut ticks = pace.map(ticks);
    loop {
        let turn = async {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            seats.flight().place().await;
        };
        tokio::select! {
            () = turn => {}
            () = tokio::time::sleep_until(until) => return Ok(()),
            error = publisher.listen() => return Err(error),
        }
        seats.flight().depart(*next);
        publisher.send(*next).await?;
        *next += 1;
    }
}

fn ticks(pace: Duration) -> Interval {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}
