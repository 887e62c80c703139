//! Operations of several kinds, in turns, so that whatever else happens on the machine meets all kinds alike.

use std::time::Duration;

use tokio::time::Instant;

use super::load::{Load, Reading};
use crate::{args::Args, error::Error, latency::Latencies, process::Processes, stamp};

/// How often each kind has its turn.
const ROUNDS: u32 = 20;
/// How long a turn lasts at least.
const LEAST: Duration = Duration::from_millis(50);

/// Does `operation` of each of `kinds` (by its number), one at a time, for as long as a load is measured.
pub(super) async fn in_turns(
    kinds: usize,
    processes: &Processes,
    args: &Args,
    mut operation: impl AsyncFnMut(usize) -> Result<(), Error>,
) -> Result<Vec<Load>, Error> {
    let turn = (args.measure / ROUNDS).max(LEAST);
    let mut sums: Vec<Sum> = (0..kinds).map(|_| Sum::default()).collect();
    // The first round is the warm-up.
    for round in 0..=ROUNDS {
        for (kind, sum) in sums.iter_mut().enumerate() {
            let (begin, mut samples) = (Reading::take(processes, 0)?, Vec::new());
            let end = Instant::now() + turn;
            while Instant::now() < end {
                let start = stamp::now();
                operation(kind).await?;
                samples.push(stamp::now() - start);
            }
            if round > 0 {
                sum.add(&begin, &Reading::take(processes, samples.len() as u64)?, samples);
            }
        }
    }
    Ok(sums.into_iter().map(Sum::finish).collect())
}

/// The turns of one kind, added up.
#[derive(Default)]
pub(super) struct Sum {
    loads: Vec<Load>,
    samples: Vec<u64>,
}

impl Sum {
    pub(super) fn add(&mut self, begin: &Reading, end: &Reading, mut samples: Vec<u64>) {
        self.samples.append(&mut samples);
        self.loads.push(begin.until(end, Latencies::of(Vec::new())));
    }

    pub(super) fn finish(self) -> Load {
        let total = |figure: fn(&Load) -> f64| self.loads.iter().map(figure).sum();
        Load {
            operations: total(|load| load.operations),
            seconds: total(|load| load.seconds),
            server_us: total(|load| load.server_us),
            redis_us: None,
            generator_us: total(|load| load.generator_us),
            latencies: Latencies::of(self.samples),
        }
    }
}
