//! A transaction of the log: the database's, with the counters of the rooms it touches and the events it makes.

use std::collections::HashMap;

use crate::{
    chat::{
        event::{Event, EventBody},
        store::{self, append::Counters},
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
    pub(super) rooms: HashMap<RoomKey, Counters>,
    pub(super) events: Vec<Event>,
}

/// Where a unit stood before an operation, to go back to if it fails.
pub(super) struct Savepoint {
    rooms: HashMap<RoomKey, Counters>,
    events: usize,
}

impl Unit {
    pub(super) async fn begin(db: &Db, now: Timestamp) -> Result<Self> {
        Ok(Self { tx: db.begin().await?, now, rooms: HashMap::new(), events: Vec::new() })
    }

    /// The room's counters.
    ///
    /// # Errors
    /// ROOM_NOT_FOUND.
    pub(in crate::chat) async fn counters(&mut self, room: &RoomKey) -> Result<&mut Counters> {
        if !self.rooms.contains_key(room) {
            let loaded = store::rooms::load_counters(&mut self.tx, room).await?.ok_or_else(Error::room_not_found)?;
            self.rooms.insert(room.clone(), loaded);
        }
        self.rooms.get_mut(room).ok_or_else(Error::room_not_found)
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

    /// Writes the counters and commits; answers with the events, in order.
    pub(super) async fn commit(mut self) -> Result<Vec<Event>> {
        store::append::save(&mut self.tx, &self.rooms).await?;
        self.tx.commit().await?;
        Ok(self.events)
    }

    pub(super) async fn savepoint(&mut self) -> Result<Savepoint> {
        self.tx.execute("SAVEPOINT operation", Args::new()).await?;
        Ok(Savepoint { rooms: self.rooms.clone(), events: self.events.len() })
    }

    pub(super) async fn keep(&mut self) -> Result<()> {
        self.tx.execute("RELEASE SAVEPOINT operation", Args::new()).await.map(drop)
    }

    pub(super) async fn undo(&mut self, savepoint: Savepoint) -> Result<()> {
        self.rooms = savepoint.rooms;
        self.events.truncate(savepoint.events);
        self.tx.execute("ROLLBACK TO SAVEPOINT operation", Args::new()).await?;
        self.keep().await
    }
}
