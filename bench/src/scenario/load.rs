//! A measured stretch of time: what was done in it, and what it cost server and generator.

use std::{process, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    error::Error,
    latency::{Latencies, Tally},
    process::CpuTime,
};

/// What a load came to.
pub(super) struct Load {
    /// Operations that were counted.
    pub(super) operations: f64,
    /// How long that took.
    pub(super) seconds: f64,
    /// CPU time of the server, in microseconds.
    pub(super) server_us: f64,
    /// CPU time of the generator, in microseconds.
    pub(super) generator_us: f64,
    /// Of the operations that were sampled.
    pub(super) latencies: Latencies,
}

impl Load {
    /// Lets the load run until `start`, then measures it for `time`: server `pid`, operations by `tallies`.
    pub(super) async fn measure<'a>(
        pid: u32,
        tallies: impl Iterator<Item = &'a Tally> + Clone,
        start: Instant,
        time: Duration,
    ) -> Result<Self, Error> {
        let count = || tallies.clone().map(Tally::count).sum::<u64>();
        let switch = |on| tallies.clone().for_each(|tally| tally.measure(on));
        sleep_until(start).await;
        switch(true);
        let begin = (Instant::now(), count(), CpuTime::of(pid)?, CpuTime::of(process::id())?);
        sleep_until(begin.0 + time).await;
        let end = (Instant::now(), count(), CpuTime::of(pid)?, CpuTime::of(process::id())?);
        switch(false);
        Ok(Self {
            operations: (end.1 - begin.1) as f64,
            seconds: (end.0 - begin.0).as_secs_f64(),
            server_us: end.2.since(&begin.2),
            generator_us: end.3.since(&begin.3),
            latencies: Latencies::gather(tallies),
        })
    }

    /// The figure for each operation. None: there was no operation.
    pub(super) fn per_operation(&self, total: f64) -> Option<f64> {
        (self.operations > 0.0).then(|| total / self.operations)
    }
}
