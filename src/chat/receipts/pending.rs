//! Cursors that were reported and are not on disk yet: for each member the greatest.
//!
//! They stand in generations: one takes what is reported, the one before it is being written. A reader holds the oldest and
//! walks to the newest, so that what is written while it asks the database is in the one or in the other.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

use super::Cursors;
use crate::id::{RoomKey, UserId};

/// A member's cursors.
pub(in crate::chat) type Reported = (RoomKey, UserId, Cursors);

/// All that waits.
pub(super) struct Pending {
    line: Mutex<Line>,
    limit: usize,
}

struct Line {
    oldest: Arc<Generation>,
    newest: Arc<Generation>,
}

#[derive(Default)]
struct Generation {
    reported: Mutex<Members>,
    next: OnceLock<Arc<Generation>>,
}

#[derive(Default)]
struct Members {
    rooms: HashMap<RoomKey, HashMap<UserId, Cursors>>,
    count: usize,
}

/// What waits from a moment on, whatever is written since.
pub(in crate::chat) struct View(Arc<Generation>);

impl Pending {
    /// Takes in cursors of at most `limit` members.
    pub(super) fn new(limit: usize) -> Self {
        let first = Arc::<Generation>::default();
        Self { line: Mutex::new(Line { oldest: first.clone(), newest: first }), limit }
    }

    /// Takes in what a client reports; `false` if too much waits.
    pub(super) fn report(&self, room: &RoomKey, user: &UserId, cursors: Cursors) -> bool {
        self.line.lock().newest.reported.lock().raise(room, user, cursors, self.limit)
    }

    /// Takes in what must not be refused.
    pub(super) fn keep<'a>(&self, reported: impl Iterator<Item = (&'a RoomKey, &'a UserId, Cursors)>) {
        let line = self.line.lock();
        let mut newest = line.newest.reported.lock();
        for (room, user, cursors) in reported {
            newest.raise(room, user, cursors, usize::MAX);
        }
    }

    /// What waits, to be written now, in the order of rooms and users. [`Pending::written`] is to follow.
    pub(super) fn take(&self) -> Vec<Reported> {
        let mut line = self.line.lock();
        let taken = line.newest.clone();
        let next = Arc::<Generation>::default();
        // It is the newest, so nothing follows it yet.
        if taken.next.set(next.clone()).is_ok() {
            line.newest = next;
        }
        drop(line);
        let mut reported: Vec<Reported> = Vec::new();
        for (room, members) in &taken.reported.lock().rooms {
            reported.extend(members.iter().map(|(user, cursors)| (room.clone(), user.clone(), *cursors)));
        }
        reported.sort_unstable_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        reported
    }

    /// What was taken is on disk, but for `failed`, which waits again.
    pub(super) fn written(&self, failed: &[Reported]) {
        self.keep(failed.iter().map(|(room, user, cursors)| (room, user, *cursors)));
        let mut line = self.line.lock();
        line.oldest = line.newest.clone();
    }

    /// What waits from now on. To be held from before the database is asked.
    pub(super) fn view(&self) -> View {
        View(self.line.lock().oldest.clone())
    }
}

impl Members {
    fn raise(&mut self, room: &RoomKey, user: &UserId, cursors: Cursors, limit: usize) -> bool {
        if let Some(waiting) = self.rooms.get_mut(room).and_then(|members| members.get_mut(user)) {
            waiting.raise(cursors);
            return true;
        }
        if self.count >= limit {
            return false;
        }
        self.rooms.entry(room.clone()).or_default().insert(user.clone(), cursors);
        self.count += 1;
        true
    }
}

impl View {
    /// The cursors of a member that are not on disk.
    pub(in crate::chat) fn of(&self, room: &RoomKey, user: &UserId) -> Cursors {
        let mut cursors = Cursors::default();
        self.walk(|members| {
            if let Some(waiting) = members.rooms.get(room).and_then(|members| members.get(user)) {
                cursors.raise(*waiting);
            }
        });
        cursors
    }

    /// The cursors in a room that are not on disk and that `wanted` holds of, at most `limit`.
    pub(in crate::chat) fn in_room(
        &self,
        room: &RoomKey,
        limit: usize,
        wanted: impl Fn(Cursors) -> bool,
    ) -> Vec<(UserId, Cursors)> {
        let mut found: HashMap<UserId, Cursors> = HashMap::new();
        self.walk(|members| {
            for (user, cursors) in members.rooms.get(room).into_iter().flatten() {
                if wanted(*cursors) && found.len() < limit {
                    found.entry(user.clone()).or_default().raise(*cursors);
                }
            }
        });
        found.into_iter().collect()
    }

    fn walk(&self, mut see: impl FnMut(&Members)) {
        let mut at = Some(&self.0);
        while let Some(generation) = at {
            see(&generation.reported.lock());
            at = generation.next.get();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ProjectId, RoomId};

    fn room() -> RoomKey {
        RoomKey::new(&ProjectId::stored("p".into()), RoomId::stored("r".into()))
    }

    fn user(name: &str) -> UserId {
        UserId::stored(name.into())
    }

    #[test]
    fn a_member_waits_once_with_the_greatest_of_each() {
        let pending = Pending::new(2);
        for cursors in [Cursors::new(1, 1), Cursors::new(5, 2), Cursors::new(3, 3)] {
            assert!(pending.report(&room(), &user("ana"), cursors));
        }
        assert!(pending.report(&room(), &user("ben"), Cursors::new(1, 0)));
        assert!(!pending.report(&room(), &user("cy"), Cursors::new(1, 0)), "too many");
        assert!(pending.report(&room(), &user("ben"), Cursors::new(2, 0)), "who waits already is raised");
        let taken = pending.take();
        assert_eq!(
            taken,
            [(room(), user("ana"), Cursors::new(5, 3)), (room(), user("ben"), Cursors::new(2, 0))],
            "in order"
        );
        assert_eq!(pending.take(), [], "it is being written");
    }

    #[test]
    fn a_view_holds_what_is_being_written_and_what_comes_meanwhile() {
        let pending = Pending::new(10);
        pending.report(&room(), &user("ana"), Cursors::new(3, 1));
        let view = pending.view();
        pending.take();
        assert_eq!(pending.view().of(&room(), &user("ana")), Cursors::new(3, 1), "not on disk yet");
        pending.report(&room(), &user("ana"), Cursors::new(2, 2));
        pending.written(&[]);
        assert_eq!(view.of(&room(), &user("ana")), Cursors::new(3, 2));
        assert_eq!(pending.view().of(&room(), &user("ana")), Cursors::new(2, 2));
        assert_eq!(view.in_room(&room(), 10, |c| c.read >= 2), [(user("ana"), Cursors::new(2, 2))]);
    }

    #[test]
    fn what_could_not_be_written_waits_again_with_what_came_meanwhile() {
        let pending = Pending::new(1);
        pending.report(&room(), &user("ana"), Cursors::new(3, 1));
        let taken = pending.take();
        pending.report(&room(), &user("ben"), Cursors::new(1, 1));
        pending.written(&taken);
        assert_eq!(pending.take().len(), 2, "nothing that was taken in is refused");
    }
}
