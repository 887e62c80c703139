//! How long to wait before trying again.

use std::time::Duration;

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
    let Some(doublings) = attempt.checked_sub(1) else { return Duration::ZERO };
    let upper = Duration::from_secs(1 << doublings.min(5)).min(CEILING);
    FLOOR + (upper - FLOOR).mul_f64(random.clamp(0.0, 1.0))
}

/// The wait before a retry for which the server may have asked for a longer one.
pub(crate) fn delay_asked(attempt: u32, random: f64, asked: Option<Duration>) -> Duration {
    delay(attempt, random).max(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_is_at_once() {
        assert_eq!(delay(0, 0.99), Duration::ZERO);
    }

    #[test]
    fn the_table_holds_at_both_ends() {
        let upper = [1, 2, 4, 8, 16, 20, 20, 20];
        for (attempt, seconds) in (1..).zip(upper) {
            assert_eq!(delay(attempt, 0.0), FLOOR);
            assert_eq!(delay(attempt, 1.0), Duration::from_secs(seconds));
        }
        assert_eq!(delay(u32::MAX, 1.0), CEILING);
    }

    #[test]
    fn a_longer_wait_of_the_server_counts_and_a_shorter_one_does_not() {
        assert_eq!(delay_asked(0, 0.0, Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(delay_asked(3, 1.0, Some(Duration::from_secs(3))), Duration::from_secs(4));
    }
}
