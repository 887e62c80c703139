//! A measured stretch of time: what was done in it, and what it cost server and generator.

use std::{io, process, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    error::Error,
    latency::{Latencies, Tally},
    process::{CpuTime, Processes},
};

/// What a load came to.
pub(super) struct Load {
    /// Operations that were counted.
    pub(super) operations: f64,
    /// How long that took.
    pub(super) seconds: f64,
    /// CPU time of the server, in microseconds.
    pub(super) server_us: f64,
    /// CPU time of Redis, in microseconds. None: there is none.
    pub(super) redis_us: Option<f64>,
    /// CPU time of the generator, in microseconds.
    pub(super) generator_us: f64,
    /// Of the operations that were sampled.
    pub(super) latencies: Latencies,
}

impl Load {
    /// Lets the load run until `start`, then measures it for `time`: what `processes` use, operations by `tallies`.
    pub(super) async fn measure<'a>(
        processes: &Processes,
        tallies: impl Iterator<Item = &'a Tally> + Clone,
        start: Instant,
        time: Duration,
    ) -> Result<Self, Error> {
        let count = || tallies.clone().map(Tally::count).sum::<u64>();
        let switch = |on| tallies.clone().for_each(|tally| tally.measure(on));
        sleep_until(start).await;
        switch(true);
        let begin = Reading::take(processes, count())?;
        sleep_until(begin.at + time).await;
        let end = Reading::take(processes, count())?;
        switch(false);
        Ok(begin.until(&end, Latencies::gather(tallies)))
    }

    /// The figure for each operation. None: there was no operation.
    pub(super) fn per_operation(&self, total: f64) -> Option<f64> {
        (self.operations > 0.0).then(|| total / self.operations)
    }
}

/// Clocks and counters at one moment.
pub(super) struct Reading {
    at: Instant,
    operations: u64,
    server: CpuTime,
    redis: Option<CpuTime>,
    generator: CpuTime,
}

impl Reading {
    /// Takes it now, after so many operations.
    pub(super) fn take(processes: &Processes, operations: u64) -> io::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            operations,
            server: CpuTime::of(&processes.server)?,
            redis: processes.redis.map(|pid| CpuTime::of(&[pid])).transpose()?,
            generator: CpuTime::of(&[process::id()])?,
        })
    }

    /// What happened from here to `end`.
    pub(super) fn until(&self, end: &Self, latencies: Latencies) -> Load {
        Load {
            operations: (end.operations - self.operations) as f64,
            seconds: (end.at - self.at).as_secs_f64(),
            server_us: end.server.since(&self.server),
            redis_us: end.redis.as_ref().zip(self.redis.as_ref()).map(|(end, begin)| end.since(begin)),
            generator_us: end.generator.since(&self.generator),
            latencies,
        }
    }
}
