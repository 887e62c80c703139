//! What other nodes may have missed: what was told while the bus was away, or shortly before it was found to be.

use std::{collections::HashSet, mem};

use indexmap::{IndexMap, IndexSet};
use tokio::time::{Duration, Instant};

use super::Cursors;
use crate::{
    hub::Topic,
    id::{RoomKey, UserId},
};

/// How long what was told is remembered, at least: within it, a bus that is away is found to be.
const REMEMBERED: Duration = Duration::from_secs(15);

/// What was told, conflated.
#[derive(Default)]
struct Told {
    moved: IndexMap<RoomKey, IndexMap<UserId, Cursors>>,
    settings: IndexSet<(RoomKey, UserId)>,
    count: usize,
}

/// What is to be told after an outage.
#[derive(Default)]
pub(super) struct Outage {
    pub(super) moved: Vec<(RoomKey, Vec<(UserId, Cursors)>)>,
    pub(super) settings: Vec<(RoomKey, UserId)>,
}

/// What other nodes may have missed, and this one.
pub(super) struct Untold {
    limit: usize,
    /// Whether the bus was there once, and is away.
    away: bool,
    up: bool,
    /// While it is away: all since before. Else what was told lately.
    told: Told,
    /// What was told before that.
    before: Told,
    since: Instant,
    /// The rooms of which this node may have missed something.
    missed: HashSet<Topic>,
    lost_at: Option<Instant>,
}

impl Untold {
    /// Remembers at most `limit` members, twice.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            away: false,
            up: false,
            told: Told::default(),
            before: Told::default(),
            since: Instant::now(),
            missed: HashSet::new(),
            lost_at: None,
        }
    }

    /// This was told, or was to be.
    pub(super) fn remember(&mut self, room: &RoomKey, members: &[(UserId, Cursors)]) {
        if self.is_linked() {
            for (user, cursors) in members {
                self.told.raise(room, user, *cursors, self.limit);
            }
        }
    }

    /// The same of settings.
    pub(super) fn remember_settings(&mut self, room: &RoomKey, user: &UserId) {
        if self.is_linked() && self.told.settings.len() < self.limit {
            self.told.settings.insert((room.clone(), user.clone()));
        }
    }

    /// Whether there is a bus.
    fn is_linked(&self) -> bool {
        self.up || self.away
    }

    /// Forgets what was told long ago.
    pub(super) fn forget(&mut self) {
        if !self.away && self.since.elapsed() >= REMEMBERED {
            self.before = mem::take(&mut self.told);
            self.since = Instant::now();
        }
    }

    /// The bus is away.
    pub(super) fn down(&mut self) {
        (self.up, self.away) = (false, true);
        for (room, members) in mem::take(&mut self.before).moved {
            for (user, cursors) in members {
                self.told.raise(&room, &user, cursors, self.limit * 2);
            }
        }
    }

    /// The bus is there; `topics` are followed here. Answers what is to be told again.
    pub(super) fn up(&mut self, topics: Vec<Topic>) -> Outage {
        self.up = true;
        if !mem::take(&mut self.away) {
            return Outage::default();
        }
        self.missed = topics.into_iter().collect();
        let Told { moved, settings, .. } = mem::take(&mut self.told);
        let moved = moved.into_iter().map(|(room, members)| (room, members.into_iter().collect()));
        Outage { moved: moved.collect(), settings: settings.into_iter().collect() }
    }

    /// Whether something of a topic may have been missed, which is told once.
    pub(super) fn take_missed(&mut self, topic: &Topic) -> bool {
        self.missed.remove(topic)
    }

    /// Something that arrived was dropped: whether to make up for it. Not again and again.
    pub(super) fn lost(&mut self) -> bool {
        let due = self.lost_at.is_none_or(|at| at.elapsed() >= REMEMBERED);
        if due {
            self.lost_at = Some(Instant::now());
        }
        due
    }
}

impl Told {
    fn raise(&mut self, room: &RoomKey, user: &UserId, cursors: Cursors, limit: usize) {
        if let Some(told) = self.moved.get_mut(room).and_then(|members| members.get_mut(user)) {
            told.raise(cursors);
        } else if self.count < limit {
            self.moved.entry(room.clone()).or_default().insert(user.clone(), cursors);
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ProjectId, RoomId};

    #[test]
    fn what_was_told_around_an_outage_is_told_again_once() {
        let room = RoomKey::new(&ProjectId::stored("p".into()), RoomId::stored("r".into()));
        let (ana, ben) = (UserId::stored("ana".into()), UserId::stored("ben".into()));
        let topic = crate::chat::topic(&room);
        let mut untold = Untold::new(10);
        untold.remember(&room, &[(ana.clone(), Cursors::new(1, 1))]);
        assert!(untold.up(vec![topic.clone()]).moved.is_empty(), "there was nobody to tell");
        assert!(!untold.take_missed(&topic), "the first time nothing was missed");
        untold.remember(&room, &[(ana.clone(), Cursors::new(3, 2))]);
        untold.down();
        untold.remember(&room, &[(ben.clone(), Cursors::new(4, 4)), (ana.clone(), Cursors::new(3, 3))]);
        let outage = untold.up(vec![topic.clone()]);
        assert_eq!(outage.moved, [(room, vec![(ana, Cursors::new(3, 3)), (ben, Cursors::new(4, 4))])]);
        assert!(untold.take_missed(&topic) && !untold.take_missed(&topic));
        untold.down();
        assert!(untold.up(Vec::new()).moved.is_empty());
    }
}
