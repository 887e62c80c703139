//! Sets of numbers that stand together in few runs.

use serde::{Deserialize, Serialize};

/// A set of numbers as its runs, first and last of each: from the lowest up, with something left out between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Its runs.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// The run that `number` is in.
    pub(super) fn around(&self, number: u64) -> Option<(u64, u64)> {
        let at = self.0.partition_point(|(_, last)| *last < number);
        self.0.get(at).copied().filter(|(first, _)| *first <= number)
    }

    /// Whether `number` is in it.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.around(number).is_some()
    }

    /// Puts `first` to `last` in.
    pub(super) fn insert(&mut self, mut first: u64, mut last: u64) {
        if first > last {
            return;
        }
        self.0.retain(|&(from, to)| {
            let meets = from <= last.saturating_add(1) && first <= to.saturating_add(1);
            if meets {
                (first, last) = (first.min(from), last.max(to));
            }
            !meets
        });
        let at = self.0.partition_point(|(_, to)| *to < first);
        self.0.insert(at, (first, last));
    }

    /// Takes `first` to `last` out.
    pub(super) fn remove(&mut self, first: u64, last: u64) {
        let left = |(from, to): (u64, u64)| {
            if to < first || last < from {
                return [Some((from, to)), None];
            }
            let below = (from < first).then(|| (from, first - 1));
            let above = (last < to).then(|| (last + 1, to));
            [below, above]
        };
        self.0 = self.0.drain(..).flat_map(left).flatten().collect();
    }

    /// Makes one run of the lowest two, with all between them, until there are at most `runs`.
    pub(super) fn shorten(&mut self, runs: usize) {
        while self.0.len() > runs.max(1) {
            let (first, _) = self.0.remove(0);
            self.0[0].0 = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_holds_what_a_set_of_single_numbers_holds() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..300 {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for _ in 0..40 {
                let first = random.u64(1..60);
                let last = first + random.u64(0..8);
                if random.bool() {
                    ranges.insert(first, last);
                    set.extend(first..=last);
                } else {
                    ranges.remove(first, last);
                    set.retain(|n| !(first..=last).contains(n));
                }
                let held: Vec<u64> = ranges.0.iter().flat_map(|(first, last)| *first..=*last).collect();
                assert_eq!(held, set.iter().copied().collect::<Vec<_>>());
                assert!(ranges.0.windows(2).all(|two| two[0].1 + 1 < two[1].0), "{ranges:?}");
                assert_eq!(ranges.count(), set.len() as u64);
                assert!((0..70).all(|n| ranges.contains(n) == set.contains(&n)));
            }
        }
    }

    #[test]
    fn the_oldest_runs_become_one() {
        let mut ranges = Ranges::default();
        for n in [2, 4, 7, 9] {
            ranges.insert(n, n);
        }
        ranges.shorten(2);
        assert_eq!(ranges.0, [(2, 7), (9, 9)]);
    }
}
