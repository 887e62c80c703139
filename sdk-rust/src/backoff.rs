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

/// The upper end of the range of waits.
fn upper(attempt: u32) -> Duration {
    Duration::from_secs(1 << attempt.saturating_sub(1).min(5)).min(CEILING)
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
    fn what_the_server_asks_for_is_waited_and_then_a_random_time() {
        let asked = Some(Duration::from_secs(3));
        assert_eq!(delay_asked(0, 0.0, asked), Duration::from_secs(3));
        assert_eq!(delay_asked(0, 0.5, asked), Duration::from_millis(3500));
        assert_eq!(delay_asked(3, 1.0, asked), Duration::from_secs(7));
        assert_eq!(delay_asked(6, 1.0, Some(Duration::MAX)), Duration::MAX);
    }

    #[test]
    fn a_short_wait_of_the_server_does_not_shorten_its_clients_own() {
        assert_eq!(delay_asked(3, 0.0, Some(Duration::from_millis(10))), FLOOR);
        assert_eq!(delay_asked(3, 0.0, None), FLOOR);
    }
}
