//! How long to wait before trying again.

use std::time::Duration;

use tokio::time::Instant;

/// Longer than anybody waits, and short enough for every clock.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const FLOOR: Duration = Duration::from_millis(500);
const CEILING: Duration = Duration::from_secs(20);

/// The wait before retry number `attempt` (0 is the first retry), for `random` in `0.0..1.0`.
///
/// The first retry is at once, as most interruptions are short. Then the wait is drawn evenly from a range that doubles,
/// so that clients which lost the same server do not come back together:
///
/// | retry | wait |
/// |---|---|
/// | 0 | 0 |
/// | 1 | 0.5 s to 1 s |
/// | 2 | 0.5 s to 2 s |
/// | 3 | 0.5 s to 4 s |
/// | 4 | 0.5 s to 8 s |
/// | 5 | 0.5 s to 16 s |
/// | 6 and on | 0.5 s to 20 s |
pub(crate) fn delay(attempt: u32, random: f64) -> Duration {
    if attempt == 0 {
        return Duration::ZERO;
    }
    FLOOR + (upper(attempt) - FLOOR).mul_f64(random.clamp(0.0, 1.0))
}

/// The wait before a retry for which the server may have asked for one. What it asked for is waited in any case, and then
/// a random part of the range's upper end (1 s for retry 0): it asks all whom it refuses for the same wait, and they must
/// not come back together.
pub(crate) fn delay_asked(attempt: u32, random: f64, asked: Option<Duration>) -> Duration {
    let own = delay(attempt, random);
    match asked {
        None => own,
        Some(asked) => own.max(asked.saturating_add(upper(attempt).mul_f64(random.clamp(0.0, 1.0)))),
    }
}

/// When a wait that begins now is over. One without end, which a server may ask for, counts as [`LONGEST`].
pub(crate) fn from_now(wait: Duration) -> Instant {
    Instant::now() + wait.min(LONGEST)
}

/// The upper end of the range of waits.
fn upper(attempt: u32) -> Duration {
    Duration::from_secs(1 << attempt.saturating_sub(1).min(5)).min(CEILING)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::fixtures;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        waits: Vec<Row>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        attempt: u32,
        random: f64,
        asked_ms: Option<u64>,
        wait_ms: u64,
    }

    #[test]
    fn every_wait_is_as_the_table_says() {
        let table: Table = fixtures::read("backoff.json");
        for row in table.waits {
            let wait = delay_asked(row.attempt, row.random, row.asked_ms.map(Duration::from_millis));
            assert_eq!(wait, Duration::from_millis(row.wait_ms), "{row:?}");
            if row.asked_ms.is_none() {
                assert_eq!(delay(row.attempt, row.random), wait, "{row:?}");
            }
        }
    }

    #[test]
    fn a_wait_for_ever_does_not_overflow() {
        assert_eq!(delay_asked(6, 1.0, Some(Duration::MAX)), Duration::MAX);
    }
}
