//! Lanes: the order that a sender gives their messages by numbering them.
//!
//! What is here knows one lane as it is stored; who waits for whom, and how long, is the log's (`log::waiting`).

use std::sync::Arc;

use super::ranges::Ranges;
use crate::{
    error::{Error, Reason, Result},
    id::{RoomKey, UserId},
};

/// How far a number may be ahead of the one that the lane expects.
pub(super) const MAX_LANE_AHEAD: u64 = 1_000;
/// The most numbers that are skipped at once.
pub(super) const MAX_LANE_SKIP: u64 = 1_000;
/// The most runs of missing numbers that are remembered one by one.
const MAX_MISSING: usize = 64;

/// A lane, named for the whole server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LaneKey {
    pub(super) room: RoomKey,
    pub(super) sender: UserId,
    pub(super) lane: Arc<str>,
}

/// How far a lane has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lane {
    /// The highest number that was written, skipped or passed over, with none before it to wait for.
    pub(super) last: u64,
    /// Numbers below `last` that were passed over: they did not come in time, and may still come.
    pub(super) missing: Ranges,
    /// Numbers beyond `last + 1` that will not come.
    pub(super) skipped: Ranges,
}

impl Lane {
    /// The number that it expects next.
    pub(super) fn next(&self) -> u64 {
        self.last + 1
    }

    /// Takes a message's number, which is to be written now; answers how many right before it are missing. `None`: its
    /// turn has not come, and it does not `pass` over those before it.
    ///
    /// # Errors
    /// `LANE_NUMBER_USED`, `LANE_JUMP_TOO_FAR`.
    pub(super) fn take(&mut self, number: u64, pass: bool) -> Result<Option<u64>> {
        let next = self.next();
        if number < next {
            return self.take_late(number).map(Some);
        }
        if self.skipped.contains(number) {
            return Err(self.used(number));
        }
        if number - next > MAX_LANE_AHEAD {
            return Err(self.jump("client_seq", number));
        }
        if number > next && !pass {
            return Ok(None);
        }
        let mut gap = Ranges::default();
        gap.insert(next, number - 1);
        for (first, last) in self.skipped.runs() {
            gap.remove(first, last);
        }
        for (first, last) in gap.runs() {
            self.missing.insert(first, last);
        }
        self.missing.shorten(MAX_MISSING);
        self.advance(number);
        Ok(Some(gap.count()))
    }

    fn take_late(&mut self, number: u64) -> Result<u64> {
        let (first, _) = self.missing.around(number).ok_or_else(|| self.used(number))?;
        self.missing.remove(number, number);
        Ok(number - first)
    }

    /// Waits for these numbers no more. Those that were used stay so. Answers whether it changed anything.
    ///
    /// # Errors
    /// `LANE_JUMP_TOO_FAR`.
    pub(super) fn skip(&mut self, first: u64, last: u64) -> Result<bool> {
        if first > self.next() + MAX_LANE_AHEAD {
            return Err(self.jump("first_client_seq", first));
        }
        let before = self.clone();
        self.missing.remove(first, last);
        self.skipped.insert(first.max(self.next()), last);
        self.advance(self.last);
        Ok(*self != before)
    }

    /// All up to `number` is over, and what was skipped right after it.
    fn advance(&mut self, number: u64) {
        self.last = number;
        self.skipped.remove(0, number);
        if let Some((_, last)) = self.skipped.around(number + 1) {
            self.skipped.remove(0, last);
            self.last = last;
        }
    }

    /// The number was used by another message, or will not come.
    pub(super) fn used(&self, number: u64) -> Error {
        let text = format!("{number} was used by another message, or skipped; the lane expects {} next", self.next());
        Error::field_for(Reason::LaneNumberUsed, "client_seq", text)
    }

    fn jump(&self, field: &str, number: u64) -> Error {
        let text =
            format!("is {number}, at most {MAX_LANE_AHEAD} ahead of {}, which the lane expects next", self.next());
        Error::field_for(Reason::LaneJumpTooFar, field, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(result: Result<Option<u64>>) -> Reason {
        result.unwrap_err().reason()
    }

    #[test]
    fn numbers_are_taken_in_turn_and_once() {
        let mut lane = Lane::default();
        assert_eq!(lane.take(2, false), Ok(None));
        assert_eq!(lane.take(1, false), Ok(Some(0)));
        assert_eq!(lane.take(2, false), Ok(Some(0)));
        assert_eq!(reason(lane.take(2, false)), Reason::LaneNumberUsed);
        assert_eq!(reason(lane.take(1, true)), Reason::LaneNumberUsed);
        assert_eq!(lane.next(), 3);
    }

    #[test]
    fn what_was_passed_over_may_still_come_once() {
        let mut lane = Lane::default();
        assert_eq!(lane.take(5, true), Ok(Some(4)));
        assert_eq!(lane.take(3, false), Ok(Some(2)), "1 and 2 are missing before it");
        assert_eq!(lane.take(4, false), Ok(Some(0)));
        assert_eq!(reason(lane.take(3, false)), Reason::LaneNumberUsed);
        assert_eq!(lane.take(8, true), Ok(Some(2)));
        assert_eq!(lane.missing.count(), 4, "1, 2, 6 and 7");
        assert_eq!(lane.next(), 9);
    }

    #[test]
    fn what_was_skipped_is_not_waited_for_and_not_taken() {
        let mut lane = Lane::default();
        assert_eq!(lane.skip(1, 2), Ok(true));
        assert_eq!(lane.next(), 3);
        assert_eq!(reason(lane.take(2, false)), Reason::LaneNumberUsed);
        // Beyond what comes next: remembered until the lane is there.
        assert_eq!(lane.skip(5, 6), Ok(true));
        assert_eq!(lane.next(), 3);
        assert_eq!(reason(lane.take(5, true)), Reason::LaneNumberUsed);
        assert_eq!(lane.take(3, false), Ok(Some(0)));
        assert_eq!(lane.take(4, false), Ok(Some(0)));
        assert_eq!((lane.next(), lane.skipped.is_empty()), (7, true));
        assert_eq!(lane.skip(1, 6), Ok(false), "used ones stay as they are");
        // One that was passed over is not missing any more.
        assert_eq!(lane.take(9, true), Ok(Some(2)));
        assert_eq!(lane.skip(7, 7), Ok(true));
        assert_eq!(reason(lane.take(7, false)), Reason::LaneNumberUsed);
        assert_eq!(lane.take(8, false), Ok(Some(0)));
    }

    #[test]
    fn skipped_numbers_within_a_gap_are_not_missing() {
        let mut lane = Lane::default();
        lane.skip(2, 3).unwrap();
        lane.skip(6, 8).unwrap();
        assert_eq!(lane.take(5, true), Ok(Some(2)), "1 and 4");
        assert_eq!(lane.next(), 9);
        assert_eq!(lane.missing.count(), 2);
    }

    #[test]
    fn nothing_is_taken_from_far_ahead() {
        let mut lane = Lane::default();
        assert_eq!(reason(lane.take(1_000_000, true)), Reason::LaneJumpTooFar);
        assert_eq!(reason(lane.take(1_002, false)), Reason::LaneJumpTooFar);
        assert_eq!(lane.take(1_001, false), Ok(None));
        assert_eq!(lane.skip(1_002, 1_002).unwrap_err().reason(), Reason::LaneJumpTooFar);
        assert_eq!(lane.skip(1_001, 2_000), Ok(true));
        assert_eq!(lane.next(), 1);
    }

    #[test]
    fn of_many_gaps_none_is_forgotten() {
        let mut lane = Lane::default();
        for number in (2..=400).step_by(2) {
            assert_eq!(lane.take(number, true), Ok(Some(1)));
        }
        assert_eq!(lane.missing.runs().count(), MAX_MISSING);
        for number in (1..400).step_by(2) {
            assert!(lane.take(number, false).is_ok(), "{number}");
        }
    }
}
