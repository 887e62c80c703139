//! Who types where, as far as this node knows, and when that is to be told.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use indexmap::IndexMap;
use tokio::time::Instant;

use crate::id::{RoomKey, UserId, UserKey};

/// Users that type in one room, at most; more are passed over.
const TYPISTS: usize = 1_000;
/// Rooms in which somebody types, at most.
const ROOMS: usize = 20_000;
/// Users that are told; of the others only how many there are.
const TOLD: usize = 20;
/// A room is told anew at most this often, and more rarely the more there are who follow it.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a user said that they type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// At this node.
    Here,
    /// At another, which told it.
    Elsewhere,
}

/// What came of a word that somebody types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// The other nodes are to be told.
    Tell,
    /// They were told a moment ago.
    Known,
    /// There is no place for it.
    Full,
}

/// Who types in a room, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    /// The first of them, in the order in which they began.
    pub(super) users: Vec<UserId>,
    /// How many there are.
    pub(super) count: usize,
}

/// What is due.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Rooms in which it changed who types.
    pub(super) rooms: Vec<RoomKey>,
    /// Users of this node who have not said it again.
    pub(super) expired: Vec<(RoomKey, UserId)>,
}

/// Who types where.
pub(super) struct Typists {
    timeout: Duration,
    rooms: HashMap<RoomKey, Room>,
    /// When to look at each room.
    agenda: BTreeSet<(Instant, RoomKey)>,
    /// Where users type who said so here.
    here: HashMap<UserKey, Vec<RoomKey>>,
}

struct Room {
    typists: IndexMap<UserId, Typist>,
    /// It changed since it was told.
    changed: bool,
    /// Not to be told before.
    quiet_until: Instant,
    /// When it stands in the agenda.
    look_at: Instant,
}

struct Typist {
    until: Instant,
    /// When the other nodes were told last; `None`: one of them told this one.
    told: Option<Instant>,
    /// Until when they may, as it was when somebody looked here.
    may_until: Option<Instant>,
}

impl Typists {
    /// Nobody. Who does not say it again stops after `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, rooms: HashMap::new(), agenda: BTreeSet::new(), here: HashMap::new() }
    }

    /// In how many rooms somebody types, or did a moment ago.
    pub(super) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Whether a user types who was found to be allowed to, less than the timeout ago.
    pub(super) fn may_go_on(&self, room: &RoomKey, user: &UserId, now: Instant) -> bool {
        let typist = self.rooms.get(room).and_then(|room| room.typists.get(user));
        typist.and_then(|typist| typist.may_until).is_some_and(|until| now < until)
    }

    /// A user who types was found to be allowed to.
    pub(super) fn vouch(&mut self, room: &RoomKey, user: &UserId, now: Instant) {
        let typist = self.rooms.get_mut(room).and_then(|room| room.typists.get_mut(user));
        if let Some(typist) = typist {
            typist.may_until = Some(now + self.timeout);
        }
    }

    /// Whether anybody types.
    pub(super) fn anybody(&self, room: &RoomKey) -> bool {
        self.rooms.get(room).is_some_and(|room| !room.typists.is_empty())
    }

    /// Who types.
    pub(super) fn list(&self, room: &RoomKey) -> List {
        let typists = self.rooms.get(room).map(|room| &room.typists);
        let users = typists.iter().flat_map(|typists| typists.keys()).take(TOLD).cloned().collect();
        List { users, count: typists.map_or(0, IndexMap::len) }
    }

    /// A user types. What another node tells holds longer: its own word that it is over comes first, unless it is gone.
    pub(super) fn begin(&mut self, key: &RoomKey, user: &UserId, origin: Origin, now: Instant) -> Begun {
        if !self.rooms.contains_key(key) && self.rooms.len() >= ROOMS {
            return Begun::Full;
        }
        let third = self.timeout / 3;
        let room = self.rooms.entry(key.clone()).or_insert_with(|| Room::new(now));
        if !room.typists.contains_key(user) && room.typists.len() >= TYPISTS {
            return Begun::Full;
        }
        let mut began = false;
        let typist = room.typists.entry(user.clone()).or_insert_with(|| {
            began = true;
            Typist { until: now, told: None, may_until: None }
        });
        let begun = match origin {
            Origin::Elsewhere => {
                typist.until = typist.until.max(now + self.timeout + third);
                Begun::Known
            }
            Origin::Here => {
                typist.until = now + self.timeout;
                let tell = typist.told.is_none_or(|told| now >= told + third);
                if typist.told.is_none() {
                    self.here.entry(key.user(user)).or_default().push(key.clone());
                }
                if tell {
                    typist.told = Some(now);
                }
                if tell { Begun::Tell } else { Begun::Known }
            }
        };
        if began {
            room.changed = true;
            self.plan(key, now);
        }
        begun
    }

    /// A user does not type any more. Answers whether they did.
    pub(super) fn end(&mut self, key: &RoomKey, user: &UserId, now: Instant) -> bool {
        let Some(room) = self.rooms.get_mut(key) else { return false };
        let Some(typist) = room.typists.shift_remove(user) else { return false };
        room.changed = true;
        if typist.told.is_some() {
            self.forget(key, user);
        }
        self.plan(key, now);
        true
    }

    /// Nobody types in a room any more, and nobody is to be told.
    pub(super) fn erase(&mut self, key: &RoomKey) {
        let Some(room) = self.rooms.remove(key) else { return };
        self.agenda.remove(&(room.look_at, key.clone()));
        for user in room.typists.keys() {
            self.forget(key, user);
        }
    }

    /// Where a user types who said so here.
    pub(super) fn of(&self, user: &UserKey) -> Vec<RoomKey> {
        self.here.get(user).cloned().unwrap_or_default()
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// Takes what is due at `now`.
    pub(super) fn take(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        while let Some((at, key)) = self.agenda.first().cloned()
            && at <= now
        {
            self.agenda.pop_first();
            let Some(room) = self.rooms.get_mut(&key) else { continue };
            let over = room.typists.extract_if(.., |_, typist| typist.until <= now);
            for (user, typist) in over.collect::<Vec<_>>() {
                room.changed = true;
                if typist.told.is_some() {
                    due.expired.push((key.clone(), user));
                }
            }
            let tell = room.changed && room.quiet_until <= now;
            if tell {
                (room.changed, room.quiet_until) = (false, now + PAUSE);
                due.rooms.push(key.clone());
            }
            if room.typists.is_empty() && !room.changed && !tell && room.quiet_until <= now {
                self.rooms.remove(&key);
            } else {
                self.plan(&key, now);
            }
        }
        for (room, user) in &due.expired {
            self.forget(room, user);
        }
        due
    }

    /// A room was told to so many: for a while it is not told again, so that it costs a bounded amount of work.
    pub(super) fn told(&mut self, key: &RoomKey, followers: usize, now: Instant) {
        if let Some(room) = self.rooms.get_mut(key) {
            let followers = u32::try_from(followers).unwrap_or(u32::MAX);
            room.quiet_until = now + PAUSE + (PAUSE / 1_000).saturating_mul(followers);
            self.plan(key, now);
        }
    }

    /// Puts the room into the agenda.
    fn plan(&mut self, key: &RoomKey, now: Instant) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        self.agenda.remove(&(room.look_at, key.clone()));
        let over = room.typists.values().map(|typist| typist.until).min();
        room.look_at = if room.changed { room.quiet_until.max(now) } else { over.unwrap_or(room.quiet_until) };
        self.agenda.insert((room.look_at, key.clone()));
    }

    fn forget(&mut self, room: &RoomKey, user: &UserId) {
        let user = room.user(user);
        if let Some(rooms) = self.here.get_mut(&user) {
            rooms.retain(|other| other != room);
            if rooms.is_empty() {
                self.here.remove(&user);
            }
        }
    }
}

impl Room {
    fn new(now: Instant) -> Self {
        Self { typists: IndexMap::new(), changed: false, quiet_until: now, look_at: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ProjectId, RoomId};

    const TIMEOUT: Duration = Duration::from_secs(6);

    fn key(room: &str) -> RoomKey {
        RoomKey { project: ProjectId::stored("p".into()), room: RoomId::stored(room.into()) }
    }

    fn user(name: &str) -> UserId {
        UserId::stored(name.into())
    }

    #[test]
    fn others_are_told_of_a_beginning_at_once_and_of_its_renewal_each_third_of_the_timeout() {
        let (mut typists, start) = (Typists::new(TIMEOUT), Instant::now());
        let (room, ana) = (key("r"), user("ana"));
        let mut told = Vec::new();
        for second in 0..6 {
            let now = start + Duration::from_secs(second);
            told.push(typists.begin(&room, &ana, Origin::Here, now) == Begun::Tell);
        }
        assert_eq!(told, [true, false, true, false, true, false]);
        assert!(typists.end(&room, &ana, start));
        assert!(!typists.end(&room, &ana, start));
        assert!(typists.of(&room.user(&ana)).is_empty());
    }

    #[test]
    fn who_says_nothing_more_stops_by_themselves_and_the_room_is_forgotten() {
        let (mut typists, start) = (Typists::new(TIMEOUT), Instant::now());
        let (room, ana, ben) = (key("r"), user("ana"), user("ben"));
        typists.begin(&room, &ana, Origin::Here, start);
        typists.begin(&room, &ben, Origin::Elsewhere, start);
        assert_eq!(typists.take(start).rooms, std::slice::from_ref(&room));
        assert!(typists.take(start + Duration::from_secs(5)).rooms.is_empty());
        let due = typists.take(start + TIMEOUT);
        assert_eq!((due.rooms, due.expired), (vec![room.clone()], vec![(room.clone(), ana)]));
        assert_eq!(typists.list(&room), List { users: vec![ben], count: 1 }, "its node says when it is over");
        assert_eq!(typists.take(start + TIMEOUT * 4 / 3).rooms, std::slice::from_ref(&room));
        assert!(!typists.anybody(&room));
        typists.take(start + 2 * TIMEOUT);
        assert_eq!((typists.rooms(), typists.next()), (0, None));
    }

    #[test]
    fn a_room_is_told_once_for_all_that_changes_within_a_pause() {
        let (mut typists, start) = (Typists::new(TIMEOUT), Instant::now());
        let room = key("r");
        let mut told = 0;
        for n in 0..1_000 {
            let now = start + Duration::from_millis(n);
            typists.begin(&room, &user(&n.to_string()), Origin::Here, now);
            told += typists.take(now).rooms.len();
        }
        assert_eq!(told, 10);
        let list = typists.list(&room);
        assert_eq!((list.users.len(), list.users[0].as_str(), list.count), (TOLD, "0", 1_000));
        assert_eq!(typists.begin(&room, &user("more"), Origin::Here, start), Begun::Full);
        typists.erase(&room);
        assert_eq!((typists.rooms(), typists.next(), typists.here.len()), (0, None, 0));
    }
}
