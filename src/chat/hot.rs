//! Hot history: the last events of active rooms, kept in memory as the bytes that readers get.
//!
//! # Contract
//! - The tail of a room is contiguous, and shows no message as it is no more: an edit or a deletion cuts off what it
//!   outdates, and everything before.
//! - It is believed only by a reader who knows from the database where the room stands: what the tail has not reached, it
//!   may not answer for.
//! - What is put in was published on this node before, or its members who left were taken off: so no reader is given
//!   what came after their leaving.
//! - It is bounded in events a room, in bytes over all rooms, and in time after a room's last event.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;

use super::piece::{Mark, Piece};
use crate::{
    clock::{Clock, Timestamp},
    id::RoomKey,
};

/// What a room in memory costs beside its frames, about.
const TAIL_WEIGHT: usize = 256;
/// What a piece costs beside its frames, about.
const PIECE_WEIGHT: usize = 256;

/// The limits of hot history.
#[derive(Clone, Copy, Debug)]
pub struct HotOptions {
    /// Events of a room; 0 keeps nothing.
    pub events: usize,
    /// Bytes of all rooms.
    pub bytes: usize,
    /// How long after its last event a room is kept.
    pub ttl: Duration,
}

/// The tails of the rooms that were active last.
pub struct Hot {
    options: HotOptions,
    clock: Arc<dyn Clock>,
    tails: Mutex<Tails>,
}

struct Tails {
    rooms: LruCache<RoomKey, Tail>,
    bytes: usize,
}

#[derive(Default)]
struct Tail {
    /// Contiguous, oldest first.
    pieces: VecDeque<Piece>,
    events: usize,
    bytes: usize,
    touched: Timestamp,
}

/// What a tail has after a position.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The frames, in order.
    pub(super) frames: Vec<Bytes>,
    /// How many events they are.
    pub(super) events: u64,
    /// The position that they lead to.
    pub(super) reached: u64,
}

/// What a tail has of some messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Created {
    /// The frames of their creations, oldest first.
    Found(Vec<Bytes>),
    /// Something was done to one of them: the database has them as they are.
    Changed,
    /// It does not have all of them, or not up to where the room stands.
    Unknown,
}

impl Hot {
    /// Nothing yet.
    pub fn new(options: HotOptions, clock: Arc<dyn Clock>) -> Self {
        let tails = Mutex::new(Tails { rooms: LruCache::unbounded(), bytes: 0 });
        Self { options, clock, tails }
    }

    /// How many events of a room are kept; 0: none ever are.
    pub(super) fn events(&self) -> usize {
        self.options.events
    }

    /// The frames after `cursor`, about `bytes` of them and at least one event's, if the tail begins there or before and has
    /// reached `target`.
    pub(super) fn read(&self, room: &RoomKey, cursor: u64, target: u64, bytes: usize) -> Option<Found> {
        let mut tails = self.tails.lock();
        let tail = tails.rooms.get(room).filter(|tail| tail.covers(cursor, target))?;
        let (mut frames, mut size, mut reached) = (Vec::new(), 0, cursor);
        for piece in tail.pieces.iter().filter(|piece| piece.last() > cursor) {
            let some = piece.batch().after(reached);
            size += some.len();
            if size > bytes && !frames.is_empty() {
                break;
            }
            frames.push(some);
            reached = piece.last();
        }
        Some(Found { frames, events: reached - cursor, reached })
    }

    /// The frames of the creations of the messages from `from` to `to`, oldest first, if the tail has reached `position`,
    /// has all of them, and nothing was done to any since. `position` is the room's, from the database.
    pub(super) fn created(&self, room: &RoomKey, position: u64, from: u64, to: u64) -> Created {
        let mut tails = self.tails.lock();
        let Some(tail) = tails.rooms.get(room).filter(|tail| tail.last() >= Some(position)) else {
            return Created::Unknown;
        };
        let mut frames = Vec::new();
        let mut wanted = from;
        for piece in &tail.pieces {
            for (position, mark) in piece.marked() {
                match mark {
                    Mark::Created(seq) if *seq == wanted && wanted <= to => {
                        frames.push(piece.batch().part(position, position).bytes().clone());
                        wanted += 1;
                    }
                    Mark::Edited(seq) | Mark::Deleted(seq) | Mark::Reacted(seq) if (from..=to).contains(seq) => {
                        return Created::Changed;
                    }
                    _ => {}
                }
            }
        }
        if wanted > to { Created::Found(frames) } else { Created::Unknown }
    }

    /// Takes in what was just published. A room whose tail it does not continue begins anew with it.
    pub(super) fn insert(&self, room: &RoomKey, piece: &Piece) {
        self.change(room, |tail| tail.push(piece.clone()));
    }

    /// Takes in what was read: consecutive pieces. What the tail has beyond them stays.
    pub(super) fn seed(&self, room: &RoomKey, pieces: Vec<Piece>) {
        self.change(room, |tail| {
            let known = std::mem::take(tail).pieces;
            pieces.into_iter().chain(known).for_each(|piece| tail.push(piece));
        });
    }

    fn change(&self, room: &RoomKey, change: impl FnOnce(&mut Tail)) {
        if self.options.events == 0 {
            return;
        }
        let now = self.clock.now();
        let mut tails = self.tails.lock();
        let tail = tails.rooms.get_or_insert_mut(room.clone(), Tail::default);
        let before = tail.weight();
        change(tail);
        tail.trim(self.options.events);
        tail.touched = now;
        let after = tail.weight();
        tails.bytes = tails.bytes + after - before;
        let too_old = now.minus(self.options.ttl);
        while tails.bytes > self.options.bytes || tails.rooms.peek_lru().is_some_and(|(_, t)| t.touched < too_old) {
            let Some((_, oldest)) = tails.rooms.pop_lru() else { break };
            tails.bytes -= oldest.weight();
        }
    }
}

impl Tail {
    fn first(&self) -> Option<u64> {
        self.pieces.front().map(Piece::first)
    }

    fn last(&self) -> Option<u64> {
        self.pieces.back().map(Piece::last)
    }

    /// Whether it has what comes after `cursor`, up to `target` at least.
    fn covers(&self, cursor: u64, target: u64) -> bool {
        self.first().is_some_and(|first| first <= cursor + 1) && self.last() >= Some(target.max(cursor))
    }

    /// 0 as long as it is empty.
    fn weight(&self) -> usize {
        if self.pieces.is_empty() { 0 } else { self.bytes + self.pieces.len() * PIECE_WEIGHT + TAIL_WEIGHT }
    }

    fn push(&mut self, piece: Piece) {
        let last = self.last().unwrap_or(piece.first() - 1);
        let Some(piece) = piece.after(last) else { return };
        if piece.first() > last + 1 {
            *self = Self::default();
        }
        let outdated = piece.marked().filter(|(_, mark)| mark.is_change()).filter_map(|(at, mark)| {
            let own = piece.marked().filter(|(before, _)| *before < at);
            let mut before = self.pieces.iter().flat_map(Piece::marked).chain(own).rev();
            before.find(|(_, other)| mark.outdates(other)).map(|(position, _)| position)
        });
        let outdated = outdated.max();
        self.events += piece.marks().len();
        self.bytes += piece.size();
        self.pieces.push_back(piece);
        if let Some(position) = outdated {
            self.cut_through(position);
        }
    }

    /// Drops everything up to `position`.
    fn cut_through(&mut self, position: u64) {
        let kept: VecDeque<Piece> = self.pieces.drain(..).filter_map(|piece| piece.after(position)).collect();
        *self = Self {
            events: kept.iter().map(|piece| piece.marks().len()).sum(),
            bytes: kept.iter().map(Piece::size).sum(),
            pieces: kept,
            touched: self.touched,
        };
    }

    fn trim(&mut self, events: usize) {
        while self.pieces.len() > 1 && self.events > events {
            if let Some(oldest) = self.pieces.pop_front() {
                self.events -= oldest.marks().len();
                self.bytes -= oldest.size();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::ManualClock,
        hub::Batch,
        id::{ProjectId, RoomId},
    };

    fn room(name: &str) -> RoomKey {
        RoomKey::new(&ProjectId::stored("p".into()), RoomId::stored(name.into()))
    }

    /// Events from `first` on; each frame is its position as one byte.
    fn piece(first: u64, marks: &[Mark]) -> Piece {
        let bytes: Vec<u8> = (first..first + marks.len() as u64).map(|position| position as u8).collect();
        let ends = (1..=marks.len()).collect();
        Piece::from_parts(Batch::new(first, bytes.into(), ends), marks.to_vec()).unwrap()
    }

    fn hot(events: usize, bytes: usize) -> (Hot, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_000)));
        (Hot::new(HotOptions { events, bytes, ttl: Duration::from_secs(60) }, clock.clone()), clock)
    }

    fn read(hot: &Hot, name: &str, cursor: u64, target: u64) -> Option<Vec<u8>> {
        hot.read(&room(name), cursor, target, 1_000).map(|found| found.frames.concat())
    }

    #[test]
    fn a_tail_answers_for_what_it_has_and_nothing_else() {
        let (hot, _) = hot(100, 100_000);
        hot.insert(&room("a"), &piece(5, &[Mark::Created(1), Mark::Plain]));
        hot.insert(&room("a"), &piece(7, &[Mark::Created(2)]));
        assert_eq!(read(&hot, "a", 4, 7), Some(vec![5, 6, 7]));
        assert_eq!(read(&hot, "a", 5, 7), Some(vec![6, 7]));
        assert_eq!(read(&hot, "a", 7, 7), Some(vec![]));
        assert_eq!(read(&hot, "a", 3, 7), None, "it begins later");
        assert_eq!(read(&hot, "a", 5, 8), None, "the database has more");
        assert_eq!(read(&hot, "b", 0, 0), None);
    }

    #[test]
    fn a_hole_begins_the_tail_anew_and_repeats_are_passed_over() {
        let (hot, _) = hot(100, 100_000);
        hot.insert(&room("a"), &piece(5, &[Mark::Created(1), Mark::Plain]));
        hot.insert(&room("a"), &piece(6, &[Mark::Plain, Mark::Plain]));
        assert_eq!(read(&hot, "a", 4, 7), Some(vec![5, 6, 7]));
        hot.insert(&room("a"), &piece(9, &[Mark::Plain]));
        assert_eq!(read(&hot, "a", 4, 7), None);
        assert_eq!(read(&hot, "a", 8, 9), Some(vec![9]));
    }

    #[test]
    fn an_edit_or_deletion_cuts_off_what_it_outdates() {
        let (hot, _) = hot(100, 100_000);
        hot.insert(&room("a"), &piece(1, &[Mark::Created(1), Mark::Created(2), Mark::Created(3)]));
        hot.insert(&room("a"), &piece(4, &[Mark::Deleted(2)]));
        assert_eq!(read(&hot, "a", 1, 4), None, "message 2 must not be shown");
        assert_eq!(read(&hot, "a", 2, 4), Some(vec![3, 4]));
        hot.insert(&room("a"), &piece(5, &[Mark::Created(4), Mark::Edited(4)]));
        assert_eq!(read(&hot, "a", 2, 6), None, "also within one piece");
        assert_eq!(read(&hot, "a", 5, 6), Some(vec![6]));
    }

    #[test]
    fn what_was_read_comes_before_what_was_published() {
        let (hot, _) = hot(100, 100_000);
        hot.insert(&room("a"), &piece(5, &[Mark::Deleted(2), Mark::Plain]));
        hot.seed(&room("a"), vec![piece(2, &[Mark::Created(1), Mark::Created(2), Mark::Created(3)])]);
        assert_eq!(read(&hot, "a", 1, 6), None, "message 2 must not be shown");
        assert_eq!(read(&hot, "a", 3, 6), Some(vec![4, 5, 6]));
    }

    #[test]
    fn messages_are_given_as_long_as_nothing_was_done_to_them() {
        let (hot, _) = hot(100, 100_000);
        let marks = [Mark::Created(1), Mark::Plain, Mark::Created(2), Mark::Created(3), Mark::Reacted(1)];
        hot.insert(&room("a"), &piece(1, &marks));
        let created = |from, to| hot.created(&room("a"), 5, from, to);
        assert_eq!(created(2, 3), Created::Found(vec![Bytes::from_static(&[3]), Bytes::from_static(&[4])]));
        assert_eq!(created(1, 3), Created::Changed, "somebody reacted to message 1");
        assert_eq!(created(3, 4), Created::Unknown, "there is no message 4");
        assert_eq!(hot.created(&room("a"), 6, 2, 3), Created::Unknown, "the database has more");
    }

    #[test]
    fn it_is_bounded_in_events_bytes_and_time() {
        let (hot, clock) = hot(4, 2_000);
        for position in 1..=9 {
            hot.insert(&room("a"), &piece(position, &[Mark::Plain]));
        }
        assert_eq!(read(&hot, "a", 4, 9), None);
        assert_eq!(read(&hot, "a", 5, 9), Some(vec![6, 7, 8, 9]));
        hot.insert(&room("b"), &piece(1, &[Mark::Plain]));
        hot.insert(&room("c"), &piece(1, &[Mark::Plain]));
        assert_eq!(read(&hot, "a", 5, 9), None, "the room that was used least lately goes first");
        assert!(read(&hot, "b", 0, 1).is_some());
        clock.advance(Duration::from_secs(61));
        hot.insert(&room("c"), &piece(2, &[Mark::Plain]));
        assert_eq!(read(&hot, "b", 0, 1), None, "nothing happened in it for too long");
    }

    #[test]
    fn nothing_is_kept_if_nothing_may_be() {
        let (hot, _) = hot(0, 100_000);
        hot.insert(&room("a"), &piece(1, &[Mark::Plain]));
        assert_eq!(read(&hot, "a", 0, 1), None);
    }
}
