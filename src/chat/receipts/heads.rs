//! Up to where rooms are known to go: so that most cursors are checked without the database.

use lru::LruCache;
use parking_lot::Mutex;

use crate::id::RoomKey;

/// Rooms that are remembered: those that were in use last.
const ROOMS: usize = 65_536;

/// The newest message of rooms, as far as this node has heard. Rooms may have newer ones.
pub(super) struct Heads(Mutex<LruCache<RoomKey, u64>>);

impl Heads {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }

    /// A room has a message with this number.
    pub(super) fn raise(&self, room: &RoomKey, seq: u64) {
        let mut heads = self.0.lock();
        match heads.get_mut(room) {
            Some(head) => *head = seq.max(*head),
            None => drop(heads.put(room.clone(), seq)),
        }
        if heads.len() > ROOMS {
            heads.pop_lru();
        }
    }

    /// Whether a room is known to have a message with this number.
    pub(super) fn reach(&self, room: &RoomKey, seq: u64) -> bool {
        self.0.lock().get(room).is_some_and(|head| seq <= *head)
    }
}
