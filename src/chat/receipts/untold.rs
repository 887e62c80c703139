//! What other nodes may have missed: what was told while the bus was away, or shortly before it was found to be.

use std::{collections::HashSet, mem};

use indexmap::IndexSet;
use tokio::time::{Duration, Instant};

use super::Cursors;
use crate::{
    hub::Topic,
    id::{RoomKey, UserId, UserKey},
};

/// How long what was told is remembered, at least: within it, a bus that is away is found to be.
const REMEMBERED: Duration = Duration::from_secs(15);

/// A member of a room.
pub(super) type Member = (RoomKey, UserId);

/// A user, and another of whom they said whether they are blocked.
pub(super) type Block = (UserKey, UserId);

/// Of whom something was told. Not what: it is old when it is told again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) moved: IndexSet<Member>,
    pub(super) settings: IndexSet<Member>,
    pub(super) blocks: IndexSet<Block>,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.moved.extend(other.moved);
        self.settings.extend(other.settings);
        self.blocks.extend(other.blocks);
    }
}

/// Something that is made up for, though not again and again.
#[derive(Default)]
struct Rarely {
    due: bool,
    /// When it was made up for.
    at: Option<Instant>,
}

impl Rarely {
    /// Whether to make up for it now.
    fn take(&mut self) -> bool {
        let now = self.due && self.at.is_none_or(|at| at.elapsed() >= REMEMBERED);
        if now {
            *self = Self { due: false, at: Some(Instant::now()) };
        }
        now
    }
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
    /// Something that arrived was dropped.
    lost: Rarely,
    /// Something that was told was dropped. Until it is told again nothing is forgotten.
    unsent: Rarely,
    /// What is to be told again, as it is then.
    again: Told,
    /// When what users blocked is to be told once more: other nodes may come back later than this one, and cannot look up
    /// what they missed of it.
    settled_at: Option<Instant>,
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
            lost: Rarely::default(),
            unsent: Rarely::default(),
            again: Told::default(),
            settled_at: None,
        }
    }

    /// The cursors of these were told, or were to be.
    pub(super) fn remember(&mut self, room: &RoomKey, members: &[(UserId, Cursors)]) {
        if self.is_linked() {
            for (user, _) in members.iter().take(self.limit.saturating_sub(self.told.moved.len())) {
                self.told.moved.insert((room.clone(), user.clone()));
            }
        }
    }

    /// The cursors of these are to be told again.
    pub(super) fn tell_again(&mut self, members: impl IntoIterator<Item = Member>) {
        self.again.moved.extend(members);
    }

    /// What is to be told again now.
    pub(super) fn take_again(&mut self) -> Told {
        if self.unsent.take() {
            self.again.add(mem::take(&mut self.before));
            self.again.add(mem::take(&mut self.told));
        }
        if self.settled_at.take_if(|at| *at <= Instant::now()).is_some() {
            self.again.blocks.extend(self.before.blocks.iter().chain(&self.told.blocks).cloned());
        }
        mem::take(&mut self.again)
    }

    /// The same of settings.
    pub(super) fn remember_settings(&mut self, room: &RoomKey, user: &UserId) {
        if self.is_linked() && self.told.settings.len() < self.limit {
            self.told.settings.insert((room.clone(), user.clone()));
        }
    }

    /// The same of what a user blocked.
    pub(super) fn remember_block(&mut self, user: &UserKey, other: &UserId) {
        if self.is_linked() && self.told.blocks.len() < self.limit {
            self.told.blocks.insert((user.clone(), other.clone()));
        }
    }

    /// Whether there is a bus.
    fn is_linked(&self) -> bool {
        self.up || self.away
    }

    /// Forgets what was told long ago.
    pub(super) fn forget(&mut self) {
        if !self.away && !self.unsent.due && self.since.elapsed() >= REMEMBERED {
            self.before = mem::take(&mut self.told);
            self.since = Instant::now();
        }
    }

    /// The bus is away.
    pub(super) fn down(&mut self) {
        (self.up, self.away) = (false, true);
        self.told.add(mem::take(&mut self.before));
    }

    /// The bus is there; `topics` are followed here. What others may have missed is to be told again.
    pub(super) fn up(&mut self, topics: Vec<Topic>) {
        self.up = true;
        if mem::take(&mut self.away) {
            self.missed = topics.into_iter().collect();
            self.again.add(mem::take(&mut self.told));
            self.settled_at = Some(Instant::now() + REMEMBERED);
        }
    }

    /// Whether something of a topic may have been missed, which is told once.
    pub(super) fn take_missed(&mut self, topic: &Topic) -> bool {
        self.missed.remove(topic)
    }

    /// Something that was told lately was dropped before it was sent.
    pub(super) fn unsent(&mut self) {
        self.unsent.due = true;
    }

    /// Something that arrived was dropped.
    pub(super) fn lost(&mut self) {
        self.lost.due = true;
    }

    /// Whether to make up now for what was dropped: this node may have missed something of any topic.
    pub(super) fn take_lost(&mut self) -> bool {
        self.lost.take()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::id::{ProjectId, RoomId};

    #[test]
    fn what_was_told_around_an_outage_is_told_again_once() {
        let room = RoomKey::new(&ProjectId::stored("p".into()), RoomId::stored("r".into()));
        let (ana, ben) = (UserId::stored("ana".into()), UserId::stored("ben".into()));
        let topic = crate::chat::topic(&room);
        let mut untold = Untold::new(10);
        let outage = |untold: &mut Untold| {
            untold.down();
            untold.remember(&room, &[(ben.clone(), Cursors::new(4, 4)), (ana.clone(), Cursors::new(3, 3))]);
            untold.up(vec![topic.clone()]);
            untold.take_again().moved.into_iter().collect::<Vec<_>>()
        };
        untold.remember(&room, &[(ana.clone(), Cursors::new(1, 1))]);
        untold.up(vec![topic.clone()]);
        assert_eq!(untold.take_again(), Told::default(), "there was nobody to tell");
        assert!(!untold.take_missed(&topic), "the first time nothing was missed");
        untold.remember(&room, &[(ana.clone(), Cursors::new(3, 2))]);
        let again = outage(&mut untold);
        assert_eq!(again, [(room.clone(), ana.clone()), (room.clone(), ben.clone())]);
        assert!(untold.take_missed(&topic) && !untold.take_missed(&topic));
        untold.down();
        untold.up(Vec::new());
        assert_eq!(untold.take_again(), Told::default());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_into_a_link_that_was_dead_for_long_already_is_told_again() {
        let room = RoomKey::new(&ProjectId::stored("p".into()), RoomId::stored("r".into()));
        let ana = UserId::stored("ana".into());
        let mut untold = Untold::new(10);
        untold.up(Vec::new());
        untold.remember(&room, &[(ana.clone(), Cursors::new(1, 1))]);
        untold.remember_settings(&room, &ana);
        advance(REMEMBERED).await;
        untold.forget();
        advance(REMEMBERED - Duration::from_secs(1)).await;
        untold.forget();
        untold.down();
        untold.up(Vec::new());
        let member = IndexSet::from([(room, ana)]);
        assert_eq!(untold.take_again(), Told { moved: member.clone(), settings: member, ..Told::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_blocked_is_told_again_and_once_more_when_all_nodes_are_back() {
        let project = ProjectId::stored("p".into());
        let (ana, ben) = (UserKey { project, user: UserId::stored("ana".into()) }, UserId::stored("ben".into()));
        let blocks = || Told { blocks: IndexSet::from([(ana.clone(), ben.clone())]), ..Told::default() };
        let mut untold = Untold::new(10);
        untold.up(Vec::new());
        untold.down();
        untold.remember_block(&ana, &ben);
        untold.up(Vec::new());
        assert_eq!(untold.take_again(), blocks());
        untold.remember_block(&ana, &ben);
        for _ in 0..14 {
            advance(Duration::from_secs(1)).await;
            untold.forget();
            assert_eq!(untold.take_again(), Told::default());
        }
        advance(Duration::from_secs(1)).await;
        assert_eq!(untold.take_again(), blocks());
        advance(REMEMBERED).await;
        assert_eq!(untold.take_again(), Told::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_loss_soon_after_another_is_made_up_for_in_its_time() {
        let mut untold = Untold::new(10);
        assert!(!untold.take_lost());
        untold.lost();
        assert!(untold.take_lost() && !untold.take_lost());
        advance(REMEMBERED / 2).await;
        untold.lost();
        assert!(!untold.take_lost(), "not again and again");
        advance(REMEMBERED / 2).await;
        assert!(untold.take_lost() && !untold.take_lost());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_and_not_sent_is_told_again_but_not_again_and_again() {
        let room = RoomKey::new(&ProjectId::stored("p".into()), RoomId::stored("r".into()));
        let members = |names: &[&str]| {
            names.iter().map(|name| (room.clone(), UserId::stored((*name).into()))).collect::<IndexSet<Member>>()
        };
        let mut untold = Untold::new(10);
        untold.up(Vec::new());
        let tell = |untold: &mut Untold, name: &str| {
            untold.remember(&room, &[(UserId::stored(name.into()), Cursors::new(1, 1))]);
        };
        tell(&mut untold, "ana");
        untold.unsent();
        assert_eq!(untold.take_again().moved, members(&["ana"]));
        tell(&mut untold, "ana");
        untold.unsent();
        for name in ["ben", "cy", "dan"] {
            advance(REMEMBERED / 4).await;
            tell(&mut untold, name);
            assert_eq!(untold.take_again(), Told::default(), "not again and again");
            untold.forget();
        }
        advance(REMEMBERED / 4).await;
        untold.forget();
        assert_eq!(untold.take_again().moved, members(&["ana", "ben", "cy", "dan"]));
        assert_eq!(untold.take_again(), Told::default());
    }
}
