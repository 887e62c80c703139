//! Holds what stands in the log in lanes against how it was numbered.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::{
    brief::Brief,
    judge::Log,
    ledger::{Expectation, LaneNumber, Moment, Records, Sent, Skip},
    violation::{Promise, Violations},
};

/// How much shorter than the setting a wait may look: clocks and timers are read at different ends.
const SLACK: Duration = Duration::from_millis(50);

/// The case of lanes.
pub(super) struct LaneJudge<'a> {
    pub(super) records: &'a Records,
    pub(super) violations: &'a Violations,
    /// How long a message waits for those before it. None: it is not known.
    pub(super) wait: Option<Duration>,
}

/// A lane of a sender in one room.
type Lane<'a> = (&'a str, &'a str);

/// How far a lane has come, reading the log.
#[derive(Default)]
struct Course {
    last: u64,
    /// Passed over, and not there yet.
    missing: BTreeSet<u64>,
    there: BTreeSet<u64>,
}

/// A message in a lane as the log has it.
struct Entry<'a> {
    room: &'a str,
    sender: &'a str,
    id: &'a str,
    seq: u64,
    place: &'a LaneNumber,
    /// How many before it were missing, as the log says.
    missing: u64,
}

impl LaneJudge<'_> {
    /// Judges the log of a room. Answers how many messages of lanes it has, and how many gaps were passed over.
    pub(super) fn room(&self, room: &str, log: &Log) -> (usize, usize) {
        let sent: HashMap<(&str, &str), &Sent> = self.of_room(room);
        let mut skips: HashMap<(&str, &LaneNumber), &Skip> = HashMap::new();
        for skip in self.records.skips.iter().filter(|skip| skip.room == room) {
            skips.insert((&skip.user, &skip.lane), skip);
        }
        let mut courses: HashMap<Lane<'_>, Course> = HashMap::new();
        let (mut messages, mut gaps) = (0, 0);
        for event in log {
            let Brief::Created { seq, sender, id, lane, .. } = event else { continue };
            let known = sent.get(&(sender.as_str(), id.as_str())).copied();
            let asked = known.and_then(|sent| sent.lane.as_ref());
            if known.is_some() && asked != lane.as_ref().map(|(place, _)| place) {
                self.accuse(Promise::Contract, format!("{room}: {id} was sent as {asked:?}, and stands as {lane:?}"));
            }
            let Some((place, missing)) = lane else { continue };
            messages += 1;
            gaps += usize::from(*missing > 0);
            let entry = Entry { room, sender, id, seq: *seq, place, missing: *missing };
            let course = courses.entry((sender, &place.lane)).or_default();
            self.entry(&entry, course, known, &skips);
        }
        self.skipped_ones_are_not_there(room, log, &skips, &sent);
        (messages, gaps)
    }

    fn of_room(&self, room: &str) -> HashMap<(&str, &str), &Sent> {
        let sent = self.records.sent.iter().filter(|sent| sent.room == room);
        sent.map(|sent| ((sent.user.as_str(), sent.id.as_str()), sent)).collect()
    }

    fn entry(
        &self,
        entry: &Entry<'_>,
        course: &mut Course,
        sent: Option<&Sent>,
        skips: &HashMap<(&str, &LaneNumber), &Skip>,
    ) {
        let number = entry.place.number;
        if !course.there.insert(number) {
            self.accuse_entry(Promise::Double, entry, "stands there twice".into());
            return;
        }
        if number <= course.last {
            if !course.missing.remove(&number) {
                let last = course.last;
                self.accuse_entry(Promise::Order, entry, format!("stands after {last}, and was not missing before it"));
            }
            return;
        }
        let gap: BTreeSet<u64> = (course.last + 1..number).collect();
        let began = sent.map_or(0, |sent| sent.began);
        let written = sent.and_then(|sent| sent.acks.first()).map_or(Moment::MAX, |ack| ack.at);
        let skip = |number: &u64| {
            let lane = LaneNumber { lane: entry.place.lane.clone(), number: *number };
            skips.get(&(entry.sender, &lane)).map(|skip| &skip.ending)
        };
        // Between its beginning and its end a declaration counts or not.
        let surely =
            |number: &&u64| skip(number).is_some_and(|e| e.acknowledged() && e.ended.is_some_and(|e| e < began));
        let perhaps = |number: &&u64| skip(number).is_some_and(|ending| ending.began < written);
        let most = gap.len() - gap.iter().filter(surely).count();
        let least = gap.len() - gap.iter().filter(perhaps).count();
        if !(least as u64..=most as u64).contains(&entry.missing) {
            let what = format!(
                "follows {}: it says that {} before it were missing; those not skipped are {least} to {most}",
                course.last, entry.missing
            );
            self.accuse_entry(Promise::Order, entry, what);
        }
        course.missing.extend(gap);
        course.last = number;
        let waited = written.saturating_sub(began);
        if entry.missing > 0
            && sent.is_some()
            && self.wait.is_some_and(|wait| Duration::from_micros(waited) + SLACK < wait)
        {
            let what = format!("passed over {} after {} ms", entry.missing, waited / 1000);
            self.accuse_entry(Promise::Order, entry, what);
        }
    }

    /// A number that was skipped is free for nobody; what was under way then was written before that, or not at all.
    fn skipped_ones_are_not_there(
        &self,
        room: &str,
        log: &Log,
        skips: &HashMap<(&str, &LaneNumber), &Skip>,
        sent: &HashMap<(&str, &str), &Sent>,
    ) {
        for event in log {
            let Brief::Created { seq, sender, id, lane: Some((place, _)), .. } = event else { continue };
            let Some(skip) = skips.get(&(sender.as_str(), place)) else { continue };
            let Some(skipped) = skip.ending.ended.filter(|_| skip.ending.acknowledged()) else { continue };
            let later = sent.values().filter(|other| other.began > skipped);
            let first = later.filter_map(|other| other.acks.first()).map(|ack| ack.seq).min();
            let own = sent.get(&(sender.as_str(), id.as_str())).is_some_and(|own| own.began > skipped);
            if own || first.is_some_and(|first| first < *seq) {
                let what = format!(
                    "{room}: number {} of {} of {sender} was declared skipped at {skipped} us, and written as {seq} later",
                    place.number, place.lane
                );
                self.accuse(Promise::Order, what);
            }
        }
    }

    /// What a lane expects never goes back, for calls that follow each other.
    pub(super) fn expectations(&self) {
        let mut lanes: HashMap<(&str, &str, &str), Vec<&Expectation>> = HashMap::new();
        for one in &self.records.expectations {
            lanes.entry((&one.room, &one.user, &one.lane.lane)).or_default().push(one);
        }
        for words in lanes.into_values() {
            let mut ended: Vec<&Expectation> = words.clone();
            ended.sort_by_key(|one| one.ended);
            let mut begun = words;
            begun.sort_by_key(|one| one.began);
            let (mut newest, mut ended): (Option<&Expectation>, _) = (None, ended.into_iter().peekable());
            for one in begun {
                while let Some(before) = ended.next_if(|before| before.ended < one.began) {
                    if newest.is_none_or(|newest| newest.next < before.next) {
                        newest = Some(before);
                    }
                }
                if let Some(newest) = newest.filter(|newest| newest.next > one.next) {
                    let what = format!("what the lane expects went back: {newest:?}, and then {one:?}");
                    self.accuse(Promise::Order, what);
                }
            }
        }
    }

    fn accuse_entry(&self, promise: Promise, entry: &Entry<'_>, what: String) {
        let Entry { room, sender, id, seq, place: LaneNumber { lane, number }, .. } = entry;
        self.accuse(promise, format!("{room}: number {number} of {lane} of {sender} (message {seq}, {id}) {what}"));
    }

    fn accuse(&self, promise: Promise, what: String) {
        self.violations.add(promise, what);
    }
}
