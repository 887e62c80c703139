//! Writing who is there: all users whose sessions changed, in one transaction; then who shares a room with them is told.

use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::{Presence, dirty::Change, user::UserPresence};
use crate::{
    chat::{bulletin::NodeId, notice::Notice, store},
    error::Result,
    id::{RoomKey, UserKey},
};

/// How often it is written.
const EVERY: Duration = Duration::from_millis(200);
/// Users in one transaction.
pub(super) const BATCH: usize = 1_000;
/// How long to wait after a failure.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a transaction is tried that others are in the way of.
const TRIES: usize = 5;
/// Users whose rooms are looked up at once: each may be in thousands.
const LOOKED_UP: usize = 200;

impl Presence {
    /// Writes what is due, again and again.
    pub(super) async fn flush(&self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // What changes meanwhile is left for the next tick: else a busy node would write without end, few users at a time.
            let mut full = true;
            while full && !self.is_leaving() {
                let changes = self.dirty.lock().take(Instant::now(), BATCH, |user| self.hub.devices(user));
                if changes.is_empty() {
                    break;
                }
                full = changes.len() >= BATCH;
                match self.write(&changes, None).await {
                    Ok(told) => {
                        self.dirty.lock().written(&changes);
                        self.tell(told).await;
                    }
                    // It was logged where it failed.
                    Err(_) => {
                        self.dirty.lock().failed(changes, Instant::now() + AGAIN);
                        break;
                    }
                }
            }
        }
    }

    /// Writes changes of devices at this node, or at a dead one; nothing, if that one lives again. Answers the presence of
    /// the users for whom it changed what is told.
    pub(super) async fn write(&self, changes: &[Change], dead: Option<NodeId>) -> Result<Vec<(UserKey, UserPresence)>> {
        // Never closed.
        let _turn = self.writing.acquire().await;
        let mut tries = 1;
        loop {
            let (mut tx, now) = (self.db.begin().await?, self.clock.now());
            if let Some(dead) = dead
                && !store::presence::is_dead(&mut tx, dead, now).await?
            {
                return Ok(Vec::new());
            }
            match store::presence::write(&mut tx, dead.unwrap_or(self.node), changes, now).await {
                Ok(told) => return tx.commit().await.map(|()| told),
                Err(_) if tx.collided() && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells who shares a room with these users how they are now.
    pub(super) async fn tell(&self, told: Vec<(UserKey, UserPresence)>) {
        if !self.linked && !self.hub.anybody_watches() {
            return;
        }
        for some in told.chunks(LOOKED_UP) {
            let users: Vec<UserKey> = some.iter().map(|(user, _)| user.clone()).collect();
            let Ok(found) = store::presence::rooms_of(&self.db, &users).await else {
                // It was logged where it failed. Those who watch here are made good; others when they look by themselves.
                self.doubt.store(true, Ordering::Relaxed);
                continue;
            };
            let of: HashMap<&UserKey, &UserPresence> = some.iter().map(|(user, presence)| (user, presence)).collect();
            let mut rooms: HashMap<RoomKey, Vec<UserPresence>> = HashMap::new();
            for (user, (room, members)) in found {
                let changed = rooms.entry(user.room(room)).or_default();
                if members <= self.options.full_room_members
                    && let Some(presence) = of.get(&user)
                {
                    changed.push((*presence).clone());
                }
            }
            for (n, (room, users)) in rooms.into_iter().enumerate() {
                self.teller.tell_room(&room, Notice::Presence { room: room.clone(), users: users.clone() });
                self.deliver(&room, &users);
                if n % 64 == 63 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}
