//! The newest matches of many rooms, by looking through their newest messages: what is common is found at once. What is rare
//! would take for ever, and is left to the index.

use super::MIN_TIME;
use crate::{
    chat::store::search::{self, Place, Seen, Stretch, Wanted},
    clock::Timestamp,
    db::Db,
    error::Result,
};

/// Messages looked through at first, over all rooms.
const FIRST: u64 = 1_024;
/// Rooms looked into at once.
const ROOMS: usize = 32;
/// The most messages looked through at once.
const MOST: u64 = 8_192;
/// The most in all.
const MOST_IN_ALL: u64 = 50_000;
/// The fewest of a room.
const FEWEST: u64 = 16;

/// What is to be looked through.
pub(super) struct Walk<'w> {
    wanted: &'w Wanted<'w>,
    rooms: Vec<Ahead>,
    /// What matched so far.
    found: Vec<Place>,
    walked: u64,
    /// Messages of all rooms.
    messages: u64,
}

/// What of a room was not looked through yet.
struct Ahead {
    room: usize,
    /// Nothing before this time and seq was seen.
    before: (Timestamp, u64),
    /// Messages a microsecond, as far as was seen; `None` before the first look.
    density: Option<f64>,
    done: bool,
}

impl<'w> Walk<'w> {
    /// A walk over the wanted rooms, whose newest messages are not after `newest`, from before `start` on.
    pub(super) fn new(wanted: &'w Wanted<'w>, newest: &[Timestamp], start: &Place, messages: u64) -> Self {
        let ahead = |(room, newest): (usize, &Timestamp)| {
            let seq = wanted.rooms.get(room).map_or(0, |id| match id.cmp(&start.room) {
                std::cmp::Ordering::Less => i64::MAX as u64,
                std::cmp::Ordering::Equal => start.seq,
                std::cmp::Ordering::Greater => 0,
            });
            let before = (start.sent_at, seq).min((wanted.until, 0)).min((*newest, i64::MAX as u64));
            Ahead { room, before, density: None, done: before.0 < wanted.from }
        };
        let rooms = newest.iter().enumerate().map(ahead).collect();
        Self { wanted, rooms, found: Vec::new(), walked: 0, messages }
    }

    /// The newest `limit` matches, or all if there are fewer; `None` if that would take too long.
    pub(super) async fn newest(mut self, db: &Db, limit: usize) -> Result<Option<Vec<Place>>> {
        loop {
            if let Some(found) = self.settled(limit) {
                return Ok(Some(found));
            }
            let Some(length) = self.next_length(limit) else { return Ok(None) };
            let stretches = self.stretches(length);
            let seen = search::walk(db, self.wanted, &stretches).await?;
            self.note(&stretches, seen);
        }
    }

    /// The answer, if nothing that was not seen can change it.
    fn settled(&mut self, limit: usize) -> Option<Vec<Place>> {
        self.found.sort_unstable_by(|a, b| b.cmp(a));
        let ahead = self.rooms.iter().filter(|room| !room.done).filter_map(|room| self.place(room)).max();
        let settled = match &ahead {
            Some(ahead) => self.found.partition_point(|found| found >= ahead),
            None => self.found.len(),
        };
        (ahead.is_none() || settled >= limit).then(|| {
            self.found.truncate(settled.min(limit));
            std::mem::take(&mut self.found)
        })
    }

    /// All that is ahead in a room lies before this.
    fn place(&self, room: &Ahead) -> Option<Place> {
        let id = self.wanted.rooms.get(room.room)?.clone();
        Some(Place { sent_at: room.before.0, room: id, seq: room.before.1 })
    }

    /// How many messages to look through next; `None`: asking the index is faster, as far as one can tell by what was seen.
    fn next_length(&self, limit: usize) -> Option<u64> {
        if self.walked == 0 {
            return Some(FIRST);
        }
        let share = self.found.len() as f64 / self.walked as f64;
        let needed = limit as f64 / share;
        // The index answers with all that match, and each of them is looked at.
        let all = share * self.messages as f64;
        let fast = share > 0.0 && needed <= all.max(2.0 * FIRST as f64) && self.walked < MOST_IN_ALL;
        fast.then(|| ((needed - self.walked as f64) as u64).clamp(FIRST, MOST))
    }

    /// About `length` messages: in each room down to the same moment.
    fn stretches(&mut self, length: u64) -> Vec<Stretch> {
        let mut open: Vec<&Ahead> = self.rooms.iter().filter(|room| !room.done).collect();
        open.sort_unstable_by_key(|room| std::cmp::Reverse(&room.before));
        let fresh = (length / open.len().clamp(1, ROOMS) as u64).max(FEWEST);
        let moment = moment(&open, length as f64, fresh as f64);
        let mut stretches = Vec::new();
        for room in open {
            // The first is the newest: without it nothing gets settled.
            if !stretches.is_empty() && (room.before.0.0 as f64) < moment || stretches.len() >= ROOMS {
                break;
            }
            let length = match room.density {
                Some(density) => FEWEST + ((room.before.0.0 as f64 - moment).max(0.0) * density) as u64,
                None => fresh,
            };
            stretches.push(Stretch { room: room.room, before: room.before, length: length.min(MOST) });
        }
        stretches
    }

    fn note(&mut self, stretches: &[Stretch], seen: Vec<Seen>) {
        for stretch in stretches {
            let whole = seen.iter().find(|seen| seen.room == stretch.room && seen.number == stretch.length);
            let Some(room) = self.rooms.get_mut(stretch.room) else { continue };
            self.walked += stretch.length;
            match whole {
                Some(last) => {
                    let span = (stretch.before.0.0.saturating_sub(last.at.0.0)).max(1);
                    room.density = Some(stretch.length as f64 / span as f64);
                    room.before = last.at;
                }
                None => room.done = true,
            }
        }
        for Seen { room, at, .. } in seen.into_iter().filter(|seen| seen.matches) {
            let Some(room) = self.wanted.rooms.get(room) else { continue };
            self.found.push(Place { sent_at: at.0, room: room.clone(), seq: at.1 });
        }
    }
}

/// The moment down to which these rooms have about `length` messages, as dense as they were; a room that was not looked into
/// counts as `fresh`.
fn moment(open: &[&Ahead], length: f64, fresh: f64) -> f64 {
    let messages = |moment: f64| -> f64 {
        let count = |room: &&Ahead| match (room.before.0.0 as f64 - moment, room.density) {
            (..=0.0, _) => 0.0,
            (_, None) => fresh,
            (span, Some(density)) => FEWEST as f64 + span * density,
        };
        open.iter().map(count).sum()
    };
    let (mut low, mut high) = (MIN_TIME.0 as f64, open.first().map_or(0.0, |room| room.before.0.0 as f64));
    for _ in 0..60 {
        let middle = low + (high - low) / 2.0;
        if messages(middle) > length { low = middle } else { high = middle }
    }
    low
}
