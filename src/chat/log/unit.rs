//! A transaction of the log: the database's, with the counters of the rooms it touches and the events it makes.

use std::collections::HashMap;

use crate::{
    chat::{
        event::{Event, EventBody},
        lane::LaneKey,
        store::{self, known::Counters},
    },
    clock::Timestamp,
    db::{Args, Db, Tx},
    error::{Error, Result},
    id::{RoomKey, UserId},
};

/// A transaction in the making. Operations read and write through it, and tell what happened by [`Unit::append`].
pub(in crate::chat) struct Unit {
    pub(in crate::chat) tx: Tx,
    /// One moment for all that is written together.
    pub(in crate::chat) now: Timestamp,
    rooms: HashMap<RoomKey, Tracked>,
    pub(super) events: Vec<Event>,
    /// The lanes that moved, and the last number of each.
    pub(in crate::chat) moved: Vec<(LaneKey, u64)>,
    /// What the running operation touched, as it was before: the way back if it fails.
    before: HashMap<RoomKey, Counters>,
    events_before: usize,
    moved_before: usize,
}

/// What a transaction does that is left to commit.
pub(super) struct Filled {
    pub(super) tx: Tx,
    pub(super) events: Vec<Event>,
    pub(super) moved: Vec<(LaneKey, u64)>,
}

/// A room's counters, as they are in this transaction and as they are stored.
struct Tracked {
    current: Counters,
    stored: Counters,
}

impl Unit {
    pub(super) async fn begin(db: &Db, now: Timestamp) -> Result<Self> {
        let tx = db.begin().await?;
        Ok(Self {
            tx,
            now,
            rooms: HashMap::new(),
            events: Vec::new(),
            moved: Vec::new(),
            before: HashMap::new(),
            events_before: 0,
            moved_before: 0,
        })
    }

    /// Makes sure that nobody else changes these rooms until the end of the transaction.
    pub(super) async fn lock(&mut self, rooms: Vec<RoomKey>) -> Result<()> {
        store::append::lock(&mut self.tx, rooms).await
    }

    /// The room's counters, to read and to change.
    ///
    /// # Errors
    /// ROOM_NOT_FOUND.
    pub(in crate::chat) async fn counters(&mut self, room: &RoomKey) -> Result<&mut Counters> {
        if !self.rooms.contains_key(room) {
            let loaded = store::rooms::load_counters(&mut self.tx, room).await?.ok_or_else(Error::room_not_found)?;
            self.track(room, &loaded);
        }
        match self.rooms.get_mut(room) {
            Some(tracked) if !tracked.current.deleted => {
                self.before.entry(room.clone()).or_insert_with(|| tracked.current.clone());
                Ok(&mut tracked.current)
            }
            _ => Err(Error::room_not_found()),
        }
    }

    /// The counters of a room that was loaded with others; what this transaction did to them counts.
    pub(super) fn track(&mut self, room: &RoomKey, loaded: &Counters) -> &mut Counters {
        let fresh = || Tracked { current: loaded.clone(), stored: loaded.clone() };
        &mut self.rooms.entry(room.clone()).or_insert_with(fresh).current
    }

    /// Gives the room's next position to an event and writes it.
    pub(in crate::chat) async fn append(&mut self, room: &RoomKey, actor: &UserId, body: EventBody) -> Result<u64> {
        let counters = self.counters(room).await?;
        counters.last_position += 1;
        let position = counters.last_position;
        let event = Event { room: room.clone(), position, at: self.now, actor: actor.clone(), body };
        store::events::insert(&mut self.tx, &event).await?;
        self.events.push(event);
        Ok(position)
    }

    /// Writes the counters that moved; answers with the transaction, which is left to commit.
    pub(super) async fn finish(mut self) -> Result<Filled> {
        let moved: Vec<_> =
            self.rooms.iter().filter(|(_, t)| t.current != t.stored).map(|(key, t)| (key, &t.current)).collect();
        store::append::save(&mut self.tx, &moved).await?;
        Ok(Filled { tx: self.tx, events: self.events, moved: self.moved })
    }

    /// From here on, [`Unit::undo`] leads back here.
    pub(super) async fn savepoint(&mut self) -> Result<()> {
        self.before.clear();
        self.events_before = self.events.len();
        self.moved_before = self.moved.len();
        self.tx.execute("SAVEPOINT operation", Args::new()).await.map(drop)
    }

    pub(super) async fn keep(&mut self) -> Result<()> {
        self.tx.execute("RELEASE SAVEPOINT operation", Args::new()).await.map(drop)
    }

    pub(super) async fn undo(&mut self) -> Result<()> {
        for (room, before) in self.before.drain() {
            if let Some(tracked) = self.rooms.get_mut(&room) {
                tracked.current = before;
            }
        }
        self.events.truncate(self.events_before);
        self.moved.truncate(self.moved_before);
        self.tx.execute("ROLLBACK TO SAVEPOINT operation", Args::new()).await?;
        self.keep().await
    }
}
