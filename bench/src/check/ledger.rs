//! Everything that callers asked for and were told: what the deployment is held to.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use relay_proto::chat::v1::{Message, SendReceipt};
use serde::Serialize;

use super::violation::{Promise, Violations};
use crate::stamp;

/// Microseconds since this process first asked.
pub(super) type Moment = u64;

/// The time.
pub(super) fn now() -> Moment {
    stamp::now() / 1000
}

/// A message with its id, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sent {
    pub(super) user: String,
    pub(super) room: String,
    pub(super) id: String,
    pub(super) text: String,
    /// Its number in a lane of its sender's.
    pub(super) lane: Option<LaneNumber>,
    pub(super) began: Moment,
    pub(super) acks: Vec<Ack>,
    pub(super) refused: Option<String>,
}

/// A lane, and a number in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct LaneNumber {
    pub(super) lane: String,
    pub(super) number: u64,
}

/// A number that was declared skipped.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Skip {
    pub(super) user: String,
    pub(super) room: String,
    pub(super) lane: LaneNumber,
    pub(super) ending: Ending,
}

/// What a call said the lane expects next.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Expectation {
    pub(super) user: String,
    pub(super) room: String,
    pub(super) lane: LaneNumber,
    pub(super) began: Moment,
    pub(super) ended: Moment,
    pub(super) next: u64,
}

/// An acknowledgement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ack {
    pub(super) at: Moment,
    pub(super) node: usize,
    pub(super) seq: u64,
    pub(super) position: u64,
    pub(super) created_at: (i64, i32),
    pub(super) duplicate: bool,
}

impl Ack {
    pub(super) fn new(node: usize, receipt: &SendReceipt) -> Self {
        let created_at = receipt.created_at.map_or((0, 0), |time| (time.seconds, time.nanos));
        let SendReceipt { seq, position, duplicate, .. } = *receipt;
        Self { at: now(), node, seq, position, created_at, duplicate }
    }

    /// Whether two acknowledgements tell of the same message.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        (self.seq, self.position, self.created_at) == (other.seq, other.position, other.created_at)
    }
}

/// A change to a message.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Change {
    pub(super) user: String,
    pub(super) room: String,
    pub(super) seq: u64,
    pub(super) what: What,
    pub(super) ending: Ending,
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    Edit(String),
    Delete,
    React(String),
    Unreact(String),
}

/// A change of who is in a room.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Passage {
    pub(super) user: String,
    pub(super) room: String,
    pub(super) joins: bool,
    pub(super) ending: Ending,
}

/// When a call began, and how it ended.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ending {
    pub(super) began: Moment,
    pub(super) ended: Option<Moment>,
    /// An attempt ended without an answer: it may have worked, or may yet.
    pub(super) ambiguous: bool,
    pub(super) refused: Option<String>,
}

impl Ending {
    fn open() -> Self {
        Self { began: now(), ended: None, ambiguous: false, refused: None }
    }

    pub(super) fn acknowledged(&self) -> bool {
        self.ended.is_some() && self.refused.is_none()
    }

    fn acknowledged_before(&self, moment: Moment) -> bool {
        self.acknowledged() && self.ended.is_some_and(|ended| ended <= moment)
    }
}

/// What was recorded.
#[derive(Default, Serialize)]
pub(super) struct Records {
    pub(super) sent: Vec<Sent>,
    pub(super) changes: Vec<Change>,
    pub(super) passages: Vec<Passage>,
    pub(super) skips: Vec<Skip>,
    pub(super) expectations: Vec<Expectation>,
    /// The changes of each message: where they stand above.
    #[serde(skip)]
    by_message: HashMap<(String, u64), Vec<usize>>,
    /// The newest message of each room that was acknowledged so far, whenever there was a newer one.
    #[serde(skip)]
    newest: HashMap<String, Vec<(Moment, u64)>>,
}

/// The record, shared by all who take part.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Records>);

impl Ledger {
    /// What was recorded so far.
    pub(super) fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message is about to be sent. Answers with its place in the record.
    pub(super) fn sending(&self, user: &str, room: &str, id: &str, text: &str, lane: Option<LaneNumber>) -> usize {
        let mut records = self.records();
        let [user, room, id, text] = [user, room, id, text].map(str::to_owned);
        records.sent.push(Sent { user, room, id, text, lane, began: now(), acks: Vec::new(), refused: None });
        records.sent.len() - 1
    }

    /// It was acknowledged.
    pub(super) fn acknowledged(&self, place: usize, ack: Ack) {
        let mut records = self.records();
        let room = records.sent[place].room.clone();
        let newest = records.newest.entry(room).or_default();
        if newest.last().is_none_or(|(_, seq)| *seq < ack.seq) {
            newest.push((ack.at, ack.seq));
        }
        records.sent[place].acks.push(ack);
    }

    /// It was refused.
    pub(super) fn refused(&self, place: usize, why: String) {
        self.records().sent[place].refused = Some(why);
    }

    /// A message is about to be changed.
    pub(super) fn changing(&self, user: &str, room: &str, seq: u64, what: What) -> usize {
        let mut records = self.records();
        let place = records.changes.len();
        records.by_message.entry((room.to_owned(), seq)).or_default().push(place);
        records.changes.push(Change { user: user.into(), room: room.into(), seq, what, ending: Ending::open() });
        place
    }

    /// The change ended.
    pub(super) fn changed(&self, place: usize, ambiguous: bool, refused: Option<String>) {
        let ending = &mut self.records().changes[place].ending;
        (ending.ended, ending.ambiguous, ending.refused) = (Some(now()), ambiguous, refused);
    }

    /// Somebody is about to join or leave.
    pub(super) fn passing(&self, user: &str, room: &str, joins: bool) -> usize {
        let mut records = self.records();
        records.passages.push(Passage { user: user.into(), room: room.into(), joins, ending: Ending::open() });
        records.passages.len() - 1
    }

    /// They have, or not.
    pub(super) fn passed(&self, place: usize, ambiguous: bool, refused: Option<String>) {
        let ending = &mut self.records().passages[place].ending;
        (ending.ended, ending.ambiguous, ending.refused) = (Some(now()), ambiguous, refused);
    }

    /// A number is about to be declared skipped.
    pub(super) fn skipping(&self, user: &str, room: &str, lane: LaneNumber) -> usize {
        let mut records = self.records();
        records.skips.push(Skip { user: user.into(), room: room.into(), lane, ending: Ending::open() });
        records.skips.len() - 1
    }

    /// It was, or not.
    pub(super) fn skipped(&self, place: usize, ambiguous: bool, refused: Option<String>) {
        let ending = &mut self.records().skips[place].ending;
        (ending.ended, ending.ambiguous, ending.refused) = (Some(now()), ambiguous, refused);
    }

    /// A call that began at a time has said what a lane expects next.
    pub(super) fn expects(&self, user: &str, room: &str, lane: LaneNumber, began: Moment, next: u64) {
        let [user, room] = [user, room].map(str::to_owned);
        self.records().expectations.push(Expectation { user, room, lane, began, ended: now(), next });
    }

    /// A message of the room that was acknowledged lately: whose it is, and its seq.
    pub(super) fn recent(&self, room: &str, random: &mut fastrand::Rng) -> Option<u64> {
        let records = self.records();
        let newest = records.newest.get(room)?.last()?.1;
        Some(newest.saturating_sub(random.u64(0..30)).max(1))
    }

    /// Whether somebody began to delete a message.
    pub(super) fn deletion_began(&self, room: &str, seq: u64) -> bool {
        let records = self.records();
        records.of_message(room, seq).any(|change| change.what == What::Delete)
    }

    /// Holds a page of the newest messages against what had been acknowledged when it was asked for.
    pub(super) fn judge_page(
        &self,
        asked: Moment,
        node: usize,
        room: &str,
        messages: &[Message],
        violations: &Violations,
    ) {
        let records = self.records();
        let newest = records.newest.get(room).map_or(&[][..], Vec::as_slice);
        let known = newest.partition_point(|(at, _)| *at < asked).checked_sub(1).map_or(0, |last| newest[last].1);
        let listed = messages.first().map_or(0, |message| message.seq);
        let place = format!("ListMessages of {room} from node {node}, asked at {asked} us");
        if listed < known {
            let what = format!("{place}: the newest is {listed}, but {known} was acknowledged before");
            violations.add(Promise::Lost, what);
        }
        if messages.windows(2).any(|pair| pair[0].seq != pair[1].seq + 1) {
            violations.add(Promise::Lost, format!("{place}: the numbers have a hole or do not descend"));
        }
        for message in messages {
            if let Some(wrong) = records.stale(asked, message) {
                violations.add(Promise::Agreement, format!("{place}: message {}: {wrong}", message.seq));
            }
        }
    }
}

impl Records {
    /// The changes of a message, in the order in which they began.
    pub(super) fn of_message(&self, room: &str, seq: u64) -> impl Iterator<Item = &Change> {
        let places = self.by_message.get(&(room.to_owned(), seq));
        places.into_iter().flatten().map(|place| &self.changes[*place])
    }

    /// What is old about a message that was asked for at a time.
    fn stale(&self, asked: Moment, message: &Message) -> Option<String> {
        let changes: Vec<&Change> = self.of_message(&message.room_id, message.seq).collect();
        let deleted = changes.iter().any(|c| c.what == What::Delete && c.ending.acknowledged_before(asked));
        if deleted && (message.deleted_at.is_none() || !message.text.is_empty()) {
            return Some("its deletion was acknowledged before, and here it is".into());
        }
        if message.deleted_at.is_some() {
            let began = changes.iter().any(|c| c.what == What::Delete);
            return (!began).then(|| "nobody deleted it, and it is deleted".into());
        }
        let edits = || {
            changes.iter().filter_map(|c| match &c.what {
                What::Edit(text) => Some((text, &c.ending)),
                _ => None,
            })
        };
        let (last, _) = edits().rfind(|(_, ending)| ending.acknowledged_before(asked))?;
        let later = edits().any(|(text, ending)| !ending.acknowledged_before(asked) && *text == message.text);
        let sure = edits().all(|(_, ending)| !ending.ambiguous);
        (sure && !later && *last != message.text)
            .then(|| "it has an older text than the one acknowledged before".into())
    }
}
