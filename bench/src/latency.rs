//! Latencies of one load: each connection notes its own samples, the scenario takes them together at the end.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// What one connection has seen. It writes alone, so nothing here is contended.
#[derive(Default)]
pub(crate) struct Tally {
    count: AtomicU64,
    measuring: AtomicBool,
    /// Nanoseconds.
    samples: Mutex<Vec<u64>>,
}

impl Tally {
    /// One more operation; answers its number, from 0.
    pub(crate) fn add(&self) -> u64 {
        let before = self.count.load(Relaxed);
        self.count.store(before + 1, Relaxed);
        before
    }

    /// Notes the latency of an operation, in nanoseconds, if the load is being measured.
    pub(crate) fn sample(&self, nanoseconds: u64) {
        if self.measuring.load(Relaxed) {
            self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(nanoseconds);
        }
    }

    /// Operations so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Starts or stops taking samples.
    pub(crate) fn measure(&self, on: bool) {
        self.measuring.store(on, Relaxed);
    }

    /// Takes the samples away.
    pub(crate) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The latencies of a load, in order.
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    /// Takes the samples of all connections.
    pub(crate) fn gather<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Self {
        Self::of(tallies.into_iter().flat_map(Tally::take).collect())
    }

    /// Takes these, in nanoseconds.
    pub(crate) fn of(mut samples: Vec<u64>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// The latency that `share` (0 to 1) of the samples do not exceed, in milliseconds. None without samples.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        let at = ((self.0.len() as f64 * share).ceil() as usize).saturating_sub(1).min(last);
        self.0.get(at).map(|nanoseconds| *nanoseconds as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_sampled_while_measuring() {
        let tally = Tally::default();
        tally.sample(9_000_000_000);
        tally.measure(true);
        (1..=100).rev().for_each(|ms| tally.sample(ms * 1_000_000));
        let latencies = Latencies::gather([&tally]);
        assert_eq!(latencies.quantile(0.5), Some(50.0));
        assert_eq!(latencies.quantile(0.99), Some(99.0));
        assert_eq!(Latencies::gather([&tally]).quantile(0.5), None);
    }
}
