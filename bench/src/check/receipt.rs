//! Receipts as they were reported and as they were told: the record of them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use relay_proto::chat::v1::{MembershipState, Receipt};
use serde::Serialize;

use super::{
    ledger::{Moment, now},
    violation::{Promise, Violations},
};

/// How far somebody has got and read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Cursor {
    pub(super) delivered: u64,
    pub(super) read: u64,
}

impl Cursor {
    /// The greater of both.
    pub(super) fn or(self, other: Self) -> Self {
        Self { delivered: self.delivered.max(other.delivered), read: self.read.max(other.read) }
    }

    /// Whether neither cursor is lower than the other's.
    pub(super) fn reaches(self, other: Self) -> bool {
        self.delivered >= other.delivered && self.read >= other.read
    }
}

impl From<&Receipt> for Cursor {
    fn from(receipt: &Receipt) -> Self {
        Self { delivered: receipt.delivered_seq, read: receipt.read_seq }
    }
}

/// A member of a room.
pub(super) type Place = (String, String);

/// A report of somebody's own cursor.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) user: String,
    pub(super) room: String,
    pub(super) cursor: Cursor,
    pub(super) began: Moment,
    pub(super) answered: bool,
    /// It went over a stream.
    pub(super) frame: bool,
}

/// A cursor as somebody was told it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sight {
    pub(super) user: String,
    pub(super) room: String,
    pub(super) cursor: Cursor,
    pub(super) asked: Moment,
    pub(super) told: Moment,
    pub(super) whence: Whence,
    pub(super) node: usize,
}

/// Who told a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Whence {
    /// ListReceipts.
    List,
    /// An answer about the caller's own state.
    Own,
    /// A stream.
    Stream,
}

/// What was recorded.
#[derive(Default)]
pub(super) struct Cursors {
    pub(super) reports: Vec<Report>,
    /// What lists and answers said, and of what streams said that which was new.
    pub(super) sights: Vec<Sight>,
    /// How often streams told a cursor.
    pub(super) words: usize,
    pub(super) lists: usize,
    /// The newest message of a room that somebody was delivered.
    delivered: HashMap<Place, u64>,
    highest: HashMap<Place, Cursor>,
}

/// The record, shared by all who take part.
#[derive(Default)]
pub(super) struct Receipts(Mutex<Cursors>);

impl Receipts {
    /// What was recorded so far.
    pub(super) fn cursors(&self) -> MutexGuard<'_, Cursors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody was delivered a message.
    pub(super) fn delivered(&self, user: &str, room: &str, seq: u64) {
        let mut cursors = self.cursors();
        let newest = cursors.delivered.entry((user.to_owned(), room.to_owned())).or_default();
        *newest = seq.max(*newest);
    }

    /// The newest message of a room that a user was delivered. 0: none.
    pub(super) fn newest(&self, user: &str, room: &str) -> u64 {
        self.cursors().delivered.get(&(user.to_owned(), room.to_owned())).copied().unwrap_or(0)
    }

    /// A cursor is about to be reported. Answers with its place in the record.
    pub(super) fn reporting(&self, user: &str, room: &str, cursor: Cursor, frame: bool) -> usize {
        let mut cursors = self.cursors();
        let [user, room] = [user, room].map(str::to_owned);
        // What is read is delivered.
        let cursor = Cursor { delivered: cursor.delivered.max(cursor.read), read: cursor.read };
        cursors.reports.push(Report { user, room, cursor, began: now(), answered: false, frame });
        cursors.reports.len() - 1
    }

    /// The report was answered.
    pub(super) fn reported(&self, place: usize) {
        self.cursors().reports[place].answered = true;
    }

    /// The highest cursor that a user has reported of a room.
    pub(super) fn highest_report(&self, user: &str, room: &str) -> Cursor {
        let cursors = self.cursors();
        let own = cursors.reports.iter().filter(|report| report.user == user && report.room == room);
        own.fold(Cursor::default(), |highest, report| highest.or(report.cursor))
    }

    /// A page of receipts was listed.
    pub(super) fn listed(&self, room: &str, page: &[Receipt], asked: Moment, node: usize) {
        let mut cursors = self.cursors();
        cursors.lists += 1;
        for receipt in page {
            let (user, room, cursor) = (receipt.user_id.clone(), room.to_owned(), receipt.into());
            cursors.sights.push(Sight { user, room, cursor, asked, told: now(), whence: Whence::List, node });
        }
    }

    /// Somebody was told how they stand themselves.
    pub(super) fn own(&self, user: &str, state: &MembershipState, asked: Moment, node: usize) {
        let cursor = Cursor { delivered: state.delivered_seq, read: state.read_seq };
        let (user, room) = (user.to_owned(), state.room_id.clone());
        self.cursors().sights.push(Sight { user, room, cursor, asked, told: now(), whence: Whence::Own, node });
    }

    /// A stream told a cursor. Only what is higher than all that streams told before is kept.
    pub(super) fn told(&self, sight: &Sight) {
        let mut cursors = self.cursors();
        cursors.words += 1;
        let highest = cursors.highest.entry((sight.user.clone(), sight.room.clone())).or_default();
        if !highest.reaches(sight.cursor) {
            *highest = highest.or(sight.cursor);
            cursors.sights.push(sight.clone());
        }
    }
}

/// Holds what somebody was told of their own state against itself.
pub(super) fn judge_state(place: &str, state: &MembershipState, violations: &Violations) {
    let MembershipState { delivered_seq, read_seq, last_seq, unread_count, .. } = *state;
    let consistent = read_seq <= delivered_seq && delivered_seq <= last_seq;
    if !consistent || Some(unread_count) != last_seq.checked_sub(read_seq) {
        violations.add(Promise::Contract, format!("{place}: the state is not of one piece: {state:?}"));
    }
}
