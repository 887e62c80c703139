//! The one who publishes to an audience: at a pace, or as fast as messages arrive.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::{audience::Seats, load::Load};
use crate::{
    args::Args,
    error::{Error, in_time},
    process::Processes,
    stamp,
    subject::Publisher,
};

/// How long the last messages of a load may take to arrive.
const LAND: Duration = Duration::from_secs(30);

/// When the next message is sent.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// When one has reached every subscriber.
    Saturated,
    /// So long after the one before.
    Every(Duration),
    /// The same, and latency counts from the time at which it was due, so that none is hidden by sending late.
    OpenLoop(Duration),
}

/// A publisher and the audience that it publishes to.
pub(super) struct Press {
    publisher: Publisher,
    seats: Seats,
    /// The number of the next message.
    next: u64,
}

impl Press {
    /// One that has published nothing.
    pub(super) fn new(publisher: Publisher, seats: Seats) -> Self {
        Self { publisher, seats, next: 0 }
    }

    /// Publishes, and measures. Ends when all has arrived.
    pub(super) async fn run(&mut self, processes: &Processes, pace: Pace, args: &Args) -> Result<Load, Error> {
        let start = Instant::now() + args.warm_up;
        let Self { publisher, seats, next } = self;
        // A little longer than what is measured, so that the end is under load, too.
        let until = start + args.measure + Duration::from_millis(100);
        let publish = publish(publisher, seats, next, pace, until);
        let measure = Load::measure(processes, seats.tallies(), start, args.measure);
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
    pace: Pace,
    until: Instant,
) -> Result<(), Error> {
    let mut ticks = match pace {
        Pace::Saturated => None,
        Pace::Every(period) | Pace::OpenLoop(period) => Some(ticks(period)),
    };
    loop {
        let turn = async {
            let due = match &mut ticks {
                Some(ticks) => Some(ticks.tick().await),
                None => None,
            };
            seats.flight().place().await;
            due.filter(|_| matches!(pace, Pace::OpenLoop(_)))
        };
        let due = tokio::select! {
            due = turn => due,
            () = tokio::time::sleep_until(until) => return Ok(()),
            error = publisher.listen() => return Err(error),
        };
        seats.flight().depart(*next);
        publisher.send(*next, due.map_or_else(stamp::now, |due| stamp::of(due.into_std()))).await?;
        *next += 1;
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}
