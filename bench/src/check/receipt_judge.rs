//! Receipts never go back, but for what a killed node had not written yet.

use std::collections::{BTreeSet, HashMap};

use super::{
    fault::FaultKind,
    ledger::Moment,
    play::Befallen,
    receipt::{Cursor, Cursors, Sight, Whence},
    violation::{Promise, Violations},
    words::Setback,
};

/// Within this what was told is on disk: `chat.receipt_interval`, 1 s, and as much again for a busy machine.
const WRITTEN: Moment = 2_000_000;

/// The case of receipts.
pub(super) struct ReceiptJudge<'a> {
    pub(super) faults: &'a [Befallen],
    pub(super) violations: &'a Violations,
}

impl ReceiptJudge<'_> {
    /// Judges what lists and answers said, one after another.
    pub(super) fn run(&self, cursors: &Cursors) {
        let mut places: HashMap<(&str, &str), Vec<&Sight>> = HashMap::new();
        for sight in &cursors.sights {
            places.entry((&sight.room, &sight.user)).or_default().push(sight);
        }
        for sights in places.into_values() {
            self.what_is_written_stays(&sights);
            for node in sights.iter().map(|sight| sight.node).collect::<BTreeSet<_>>() {
                self.lists_follow_each_other(&sights, node);
            }
        }
    }

    /// A stream told a lower cursor after a higher one. Words of two nodes may cross, which is why a client takes the greater;
    /// after a while, only a node that was killed in between can have forgotten what it told.
    pub(super) fn setback(&self, at: &str, setback: &Setback) {
        let Setback { before, after } = setback;
        let crossed = after.told < self.written(before.told);
        if !crossed && !self.may_be_forgotten(before) {
            let what = format!("{at}: a stream told {before:?}, and then {after:?}");
            self.violations.add(Promise::Lost, what);
        }
    }

    /// Whatever was told, by whomever: once it is on disk, no list and no answer is behind it.
    fn what_is_written_stays(&self, sights: &[&Sight]) {
        let mut written: Vec<(Moment, &Sight)> = sights
            .iter()
            .filter(|sight| !self.may_be_forgotten(sight))
            .map(|sight| (self.written(sight.told), *sight))
            .collect();
        written.sort_by_key(|(at, _)| *at);
        let mut asked: Vec<&Sight> = sights.iter().copied().filter(|sight| sight.whence != Whence::Stream).collect();
        asked.sort_by_key(|sight| sight.asked);
        let (mut highest, mut written) = (Highest::default(), written.into_iter().peekable());
        for sight in asked {
            while let Some((_, before)) = written.next_if(|(at, _)| *at < sight.asked) {
                highest.take(before);
            }
            self.hold(&highest, sight, "which had been on disk");
        }
    }

    /// Where nothing breaks, what a node is asked for after another answer of its own is not behind that. Another node may
    /// be behind until it is on disk.
    fn lists_follow_each_other(&self, sights: &[&Sight], node: usize) {
        let of_node = |sight: &&Sight| sight.whence != Whence::Stream && sight.node == node;
        let lists = || sights.iter().copied().filter(of_node);
        let mut told: Vec<&Sight> = lists().collect();
        told.sort_by_key(|sight| sight.told);
        let mut asked: Vec<&Sight> = lists().collect();
        asked.sort_by_key(|sight| sight.asked);
        let (mut highest, mut calm, mut told) = (Highest::default(), 0, told.into_iter().peekable());
        for sight in asked {
            let since = self.calm_since(sight.told);
            if since != calm {
                (highest, calm) = (Highest::default(), since);
            }
            while let Some(before) = told.next_if(|before| before.told < sight.asked) {
                if before.asked > calm {
                    highest.take(before);
                }
            }
            self.hold(&highest, sight, "which the same node had told before");
        }
    }

    fn hold(&self, highest: &Highest<'_>, sight: &Sight, why: &str) {
        let before = [(highest.delivered, sight.cursor.delivered), (highest.read, sight.cursor.read)];
        let of = |place: usize, cursor: Cursor| if place == 0 { cursor.delivered } else { cursor.read };
        for (place, (before, now)) in before.into_iter().enumerate() {
            let Some(before) = before.filter(|before| of(place, before.cursor) > now) else { continue };
            self.violations.add(Promise::Lost, format!("a receipt went back: {sight:?}, after {before:?}, {why}"));
            return;
        }
    }

    /// When something is on disk that was told at a time. While Postgres is away, nothing is written.
    fn written(&self, told: Moment) -> Moment {
        let mut at = told + WRITTEN;
        for one in self.faults.iter().filter(|one| holds_writing_up(one.fault.kind)) {
            if one.began <= at && one.ended + WRITTEN > at {
                at = one.ended + WRITTEN;
            }
        }
        at
    }

    /// Whether a node was killed that may not have written it.
    fn may_be_forgotten(&self, sight: &Sight) -> bool {
        let (from, to) = (sight.told.saturating_sub(self.written(sight.told) - sight.told), self.written(sight.told));
        self.faults.iter().any(|one| one.fault.kind == FaultKind::Kill && (from..=to).contains(&one.began))
    }

    /// The end of the last fault before a moment that keeps cursors from disk, and what was to be written after it.
    fn calm_since(&self, moment: Moment) -> Moment {
        let harmful = |one: &&Befallen| one.fault.kind == FaultKind::Kill || holds_writing_up(one.fault.kind);
        let before = self.faults.iter().filter(harmful).filter(|one| one.began <= moment);
        before.map(|one| one.ended + WRITTEN).max().unwrap_or(0)
    }
}

/// The highest of each cursor, and who told it.
#[derive(Clone, Default)]
struct Highest<'a> {
    delivered: Option<&'a Sight>,
    read: Option<&'a Sight>,
}

impl<'a> Highest<'a> {
    fn take(&mut self, sight: &'a Sight) {
        if self.delivered.is_none_or(|before| before.cursor.delivered < sight.cursor.delivered) {
            self.delivered = Some(sight);
        }
        if self.read.is_none_or(|before| before.cursor.read < sight.cursor.read) {
            self.read = Some(sight);
        }
    }
}

fn holds_writing_up(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::PostgresRestart | FaultKind::CutPostgres)
}
