//! Pieces that came before what belongs before them: they wait until it comes, or is read from the log.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::piece::Piece;
use crate::hub::Topic;

/// How long what is missing may take to come by itself: nodes that write to one room overtake each other by moments.
const PATIENCE: Duration = Duration::from_millis(50);
/// The most bytes that wait for one topic, and for all. What comes beyond them is read from the log.
const MOST_BYTES: usize = 4 << 20;
const MOST_BYTES_IN_ALL: usize = 64 << 20;
/// A hole that the log does not fill in so many reads, ever further apart, is none: the database has lost what came after
/// it, as one that is set back does.
const MOST_READS: u32 = 8;

/// What waits, by topic.
#[derive(Default)]
pub(super) struct Ahead {
    topics: HashMap<Topic, Waiting>,
    /// Of all topics.
    bytes: usize,
}

struct Waiting {
    /// By the position of their first event.
    pieces: BTreeMap<u64, Piece>,
    bytes: usize,
    /// When the log is to be read; `None` while it is being read.
    due: Option<Instant>,
    /// While it is being read: it is to be read once more, because it has grown.
    again: bool,
    /// How often it was read and the hole stayed.
    reads: u32,
    /// The database was seen to have more: the log is to be read, whatever comes by itself meanwhile.
    lags: bool,
}

impl Ahead {
    /// Lets a piece wait. Without `patience` the log is due at once.
    pub(super) fn put(&mut self, topic: &Topic, piece: Piece, patience: bool) {
        let room = MOST_BYTES_IN_ALL.saturating_sub(self.bytes);
        let waiting = self.waiting(topic, if patience { PATIENCE } else { Duration::ZERO });
        let size = piece.size();
        if size > room || waiting.bytes + size > MOST_BYTES || waiting.pieces.contains_key(&piece.first()) {
            return;
        }
        waiting.bytes += size;
        waiting.pieces.insert(piece.first(), piece);
        self.bytes += size;
    }

    /// Has the log read for a topic, unless it is sooner. Without `patience` it is due at once.
    pub(super) fn read(&mut self, topic: &Topic, patience: bool) {
        let wait = if patience { PATIENCE } else { Duration::ZERO };
        let waiting = self.waiting(topic, wait);
        waiting.again |= waiting.due.is_none();
        waiting.lags = true;
        waiting.due = waiting.due.map(|due| due.min(Instant::now() + wait));
    }

    fn waiting(&mut self, topic: &Topic, wait: Duration) -> &mut Waiting {
        let due = Some(Instant::now() + wait);
        let fresh = || Waiting { pieces: BTreeMap::new(), bytes: 0, due, again: false, reads: 0, lags: false };
        self.topics.entry(topic.clone()).or_insert_with(fresh)
    }

    /// The piece that follows `head`, if it waits; those that are older are dropped.
    pub(super) fn next(&mut self, topic: &Topic, head: u64) -> Option<Piece> {
        let waiting = self.topics.get_mut(topic)?;
        while let Some(first) = waiting.pieces.first_entry().filter(|first| *first.key() <= head + 1) {
            let piece = first.remove();
            waiting.bytes -= piece.size();
            waiting.reads = 0;
            self.bytes -= piece.size();
            if let Some(piece) = piece.after(head) {
                return Some(piece);
            }
        }
        if waiting.pieces.is_empty() && waiting.due.is_some() && !waiting.lags {
            self.forget(topic);
        }
        None
    }

    /// When the next topic is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.topics.values().filter_map(|waiting| waiting.due).min()
    }

    /// The topics whose log is to be read now; each until [`Ahead::done`].
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Topic> {
        let due = self.topics.iter_mut().filter(|(_, waiting)| waiting.due.is_some_and(|due| due <= now));
        due.map(|(topic, waiting)| {
            waiting.due = None;
            waiting.lags = false;
            topic.clone()
        })
        .collect()
    }

    /// The log of a topic was read; what still waits behind a hole is due again after `wait`.
    pub(super) fn done(&mut self, topic: &Topic, wait: Option<Duration>) {
        let Some(waiting) = self.topics.get_mut(topic) else { return };
        let again = std::mem::take(&mut waiting.again).then_some(Duration::ZERO);
        let wait = wait.or(again);
        waiting.due = Some(Instant::now() + wait.unwrap_or(PATIENCE * (1 << waiting.reads)));
        waiting.lags |= wait.is_some();
        waiting.reads += u32::from(wait.is_none());
        if wait.is_none() && (waiting.pieces.is_empty() || waiting.reads >= MOST_READS) {
            self.forget(topic);
        }
    }

    /// Nobody follows the topic any more.
    pub(super) fn forget(&mut self, topic: &Topic) {
        self.bytes -= self.topics.remove(topic).map_or(0, |waiting| waiting.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chat::piece::Mark, hub::Batch, id::ProjectId};

    fn topic() -> Topic {
        Topic { project: ProjectId::stored("p".into()), name: "r".into() }
    }

    fn piece(position: u64) -> Piece {
        let batch = Batch::new(position, bytes::Bytes::from_static(b"a"), vec![1]);
        Piece::from_parts(batch, vec![Mark::Plain]).unwrap()
    }

    #[test]
    fn what_came_too_early_is_given_when_its_turn_comes() {
        let mut ahead = Ahead::default();
        ahead.put(&topic(), piece(3), true);
        assert!(ahead.next(&topic(), 1).is_none());
        assert_eq!(ahead.next(&topic(), 2).map(|piece| piece.first()), Some(3));
        assert!(ahead.next(&topic(), 3).is_none());
        assert!(ahead.due().is_none(), "nothing is missing any more");
    }

    #[test]
    fn what_the_database_has_is_read_even_if_some_of_it_comes_by_itself() {
        let mut ahead = Ahead::default();
        ahead.read(&topic(), false);
        assert!(ahead.next(&topic(), 49).is_none());
        assert_eq!(ahead.take_due(Instant::now()).len(), 1, "50 may still be missing");
        ahead.done(&topic(), None);
        assert!(ahead.due().is_none());
    }
}
