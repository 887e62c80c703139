//! The task that tells users how they stand in rooms, on all their streams here, after something about it changed.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Membership, Shared};
use crate::{
    chat::{Frame, store},
    hub::{State, StateKey},
    id::{RoomKey, UserId},
};

/// Memberships that are looked up by one statement.
const TOGETHER: usize = 512;
/// How long a look-up that failed waits for the next.
const AGAIN: Duration = Duration::from_secs(1);

/// The memberships that are to be told; each once, and only of users who are connected here.
#[derive(Default)]
pub(super) struct Stale {
    /// Whether it is to be told in its place between the events: the user has just joined.
    waiting: Mutex<IndexMap<(RoomKey, UserId), bool>>,
    changed: Notify,
}

impl Stale {
    pub(super) fn mark(&self, room: &RoomKey, user: &UserId, joined: bool) {
        *self.waiting.lock().entry((room.clone(), user.clone())).or_default() |= joined;
        self.changed.notify_one();
    }

    fn take(&self) -> Vec<((RoomKey, UserId), bool)> {
        let mut waiting = self.waiting.lock();
        let most = waiting.len().min(TOGETHER);
        waiting.drain(..most).collect()
    }
}

/// Tells users how they stand.
pub struct Devices {
    shared: Arc<Shared>,
}

impl Devices {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Tells until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.shared.stale.changed.notified()).await.is_some() {
            loop {
                let stale = self.shared.stale.take();
                if stale.is_empty() {
                    break;
                }
                if !self.tell(&stale).await {
                    for ((room, user), joined) in &stale {
                        self.shared.stale.mark(room, user, *joined);
                    }
                    // Until then; or until the node stops, which nobody need be told of.
                    let _ = stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
                    break;
                }
            }
        }
    }

    /// `false`: the database did not answer.
    async fn tell(&self, stale: &[((RoomKey, UserId), bool)]) -> bool {
        let view = self.shared.pending.view();
        let wanted: Vec<_> = stale.iter().map(|((room, user), _)| (room, user)).collect();
        let Ok(mut found) = store::receipts::states(&self.shared.db, &wanted).await else { return false };
        for (key, joined) in stale {
            // Who is not a member any more is told so by an event.
            let Some(state) = found.remove(key) else { continue };
            let (room, user) = key;
            self.put(room, user, state.raised(view.of(room, user)), *joined);
        }
        true
    }

    fn put(&self, room: &RoomKey, user: &UserId, state: Membership, joined: bool) {
        let owner = room.user(user);
        let frame = self.shared.encoder.frame(&Frame::Memberships(vec![state]));
        if joined {
            // After the verdict: a client that takes it for news of the room's past would forget it by the verdict.
            return self.shared.hub.push_to_owner(&owner, &frame);
        }
        let key = StateKey { kind: "membership", of: room.room.shared() };
        self.shared.hub.tell_owner(&owner, &State { key, frame, instead: None, kept: true });
    }
}
