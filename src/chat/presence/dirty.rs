//! Whose presence is to be written: users whose sessions at this node changed since it was written last.

use std::collections::HashMap;

use tokio::time::Instant;

use super::user::Availability;
use crate::{clock::Timestamp, hub::Devices, id::UserKey};

/// What is to be written of a user's devices at one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::chat) struct Change {
    /// Who.
    pub(in crate::chat) user: UserKey,
    /// What the devices amount to.
    pub(in crate::chat) state: Availability,
    /// When the last one went, if they are offline.
    pub(in crate::chat) seen_at: Timestamp,
}

/// Whose presence is to be written.
#[derive(Default)]
pub(super) struct Dirty {
    due: HashMap<UserKey, Due>,
    /// What was written of each user who has devices here; `None`: nobody knows, so it is written again whatever it is.
    written: HashMap<UserKey, Option<Availability>>,
}

#[derive(Clone, Copy)]
struct Due {
    /// When to look.
    at: Instant,
    /// Without a session they are offline only from here on.
    gone_from: Instant,
    /// When the last session was closed.
    seen_at: Timestamp,
}

impl Dirty {
    /// The sessions of a user changed.
    pub(super) fn changed(&mut self, user: &UserKey, now: Instant) {
        let first = Due { at: now, gone_from: now, seen_at: Timestamp(0) };
        let due = self.due.entry(user.clone()).or_insert(first);
        due.at = due.at.min(now);
    }

    /// A session of a user was closed at `seen_at`. Without another they are offline from `gone_from` on.
    pub(super) fn closed(&mut self, user: &UserKey, gone_from: Instant, seen_at: Timestamp) {
        let due = self.due.entry(user.clone()).or_insert(Due { at: gone_from, gone_from, seen_at });
        due.gone_from = due.gone_from.max(gone_from);
        due.seen_at = seen_at;
    }

    /// Takes at most `most` changes that are due, by user. `devices` says what sessions a user has.
    pub(super) fn take(&mut self, now: Instant, most: usize, devices: impl Fn(&UserKey) -> Devices) -> Vec<Change> {
        let mut changes = Vec::new();
        let written = &self.written;
        self.due.retain(|user, due| {
            if due.at > now || changes.len() >= most {
                return true;
            }
            let state = Availability::of(devices(user));
            if state == Availability::Offline && due.gone_from > now {
                due.at = due.gone_from;
                return true;
            }
            let before = written.get(user).copied().unwrap_or(Some(Availability::Offline));
            if before != Some(state) {
                changes.push(Change { user: user.clone(), state, seen_at: due.seen_at });
            }
            false
        });
        changes.sort_unstable_by(|a, b| a.user.cmp(&b.user));
        changes
    }

    /// Changes were written.
    pub(super) fn written(&mut self, changes: &[Change]) {
        for Change { user, state, .. } in changes {
            match state {
                Availability::Offline => drop(self.written.remove(user)),
                there => drop(self.written.insert(user.clone(), Some(*there))),
            }
        }
    }

    /// Changes could not be written, or nobody knows whether they were, and are due again at `again`.
    pub(super) fn failed(&mut self, changes: Vec<Change>, again: Instant) {
        for Change { user, seen_at, .. } in changes {
            self.written.insert(user.clone(), None);
            self.due.entry(user).or_insert(Due { at: again, gone_from: again, seen_at });
        }
    }

    /// Nothing of what was written need be there any more, and something that was taken away meanwhile may be: these users
    /// are to be written, and all who had devices here. Who has none any more went at `seen_at`, as far as is known.
    pub(super) fn forget(&mut self, users: Vec<UserKey>, now: Instant, seen_at: Timestamp) {
        for written in self.written.values_mut() {
            *written = None;
        }
        for user in self.written.keys().cloned().chain(users).collect::<Vec<_>>() {
            self.due.entry(user.clone()).or_insert(Due { at: now, gone_from: now, seen_at });
            self.changed(&user, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::{ProjectId, UserId};

    const DELAY: Duration = Duration::from_millis(500);

    fn user(name: &str) -> UserKey {
        UserKey { project: ProjectId::stored("p".into()), user: UserId::stored(name.into()) }
    }

    fn devices(open: usize, away: usize) -> impl Fn(&UserKey) -> Devices {
        move |_| Devices { open, away }
    }

    fn states(changes: &[Change]) -> Vec<Availability> {
        changes.iter().map(|change| change.state).collect()
    }

    #[test]
    fn who_comes_back_before_the_delay_is_over_was_never_gone() {
        let (mut dirty, start, ana) = (Dirty::default(), Instant::now(), user("ana"));
        dirty.changed(&ana, start);
        let changes = dirty.take(start, 10, devices(1, 0));
        assert_eq!(states(&changes), [Availability::Online]);
        dirty.written(&changes);
        dirty.closed(&ana, start + DELAY, Timestamp(7));
        assert!(dirty.take(start, 10, devices(0, 0)).is_empty());
        dirty.changed(&ana, start);
        assert!(dirty.take(start + DELAY, 10, devices(1, 0)).is_empty(), "as it was written");
        dirty.closed(&ana, start + 2 * DELAY, Timestamp(9));
        // Something else happens to them meanwhile: that they have no session counts only in its time.
        dirty.changed(&ana, start + DELAY);
        assert!(dirty.take(start + DELAY, 10, devices(0, 0)).is_empty());
        let changes = dirty.take(start + 2 * DELAY, 10, devices(0, 0));
        assert_eq!((states(&changes), changes[0].seen_at), (vec![Availability::Offline], Timestamp(9)));
    }

    #[test]
    fn a_user_is_away_only_with_all_devices() {
        let (mut dirty, now, ana) = (Dirty::default(), Instant::now(), user("ana"));
        for (open, away, expected) in
            [(2, 1, Availability::Online), (2, 2, Availability::Away), (1, 0, Availability::Online)]
        {
            dirty.changed(&ana, now);
            let changes = dirty.take(now, 10, devices(open, away));
            assert_eq!(states(&changes), [expected]);
            dirty.written(&changes);
        }
    }

    #[test]
    fn what_could_not_be_written_is_taken_again_and_what_was_lost_is_written_anew() {
        let (mut dirty, now) = (Dirty::default(), Instant::now());
        for name in ["b", "a", "c"] {
            dirty.changed(&user(name), now);
        }
        assert_eq!(dirty.take(now, 2, devices(1, 0)).len(), 2);
        let last = dirty.take(now, 2, devices(1, 0));
        assert_eq!(last.len(), 1);
        dirty.failed(last.clone(), now + DELAY);
        assert!(dirty.take(now, 10, devices(1, 0)).is_empty());
        assert_eq!(dirty.take(now + DELAY, 10, devices(1, 0)), last);
        dirty.written(&last);
        dirty.forget(vec![user("b"), user("a"), user("c")], now, Timestamp(0));
        let all = dirty.take(now, 10, devices(1, 0));
        let names: Vec<_> = all.iter().map(|change| change.user.user.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn who_went_while_nobody_knew_what_was_written_is_written_as_gone() {
        let (mut dirty, now, ana, ben) = (Dirty::default(), Instant::now(), user("ana"), user("ben"));
        // Ana's coming may or may not be written, and she goes.
        dirty.changed(&ana, now);
        let coming = dirty.take(now, 10, devices(1, 0));
        dirty.failed(coming, now);
        assert_eq!(states(&dirty.take(now, 10, devices(0, 0))), [Availability::Offline]);
        // Ben goes while the node's lease is over.
        dirty.changed(&ben, now);
        let coming = dirty.take(now, 10, devices(1, 0));
        dirty.written(&coming);
        dirty.forget(Vec::new(), now, Timestamp(5));
        let gone = dirty.take(now, 10, devices(0, 0));
        let of_ben = gone.iter().find(|change| change.user == ben).unwrap();
        assert_eq!((of_ben.state, of_ben.seen_at), (Availability::Offline, Timestamp(5)));
    }
}
