//! What changed goes to those who watch. In each room in order: what is older than what was told is not told, and a look at a
//! room that was overtaken by a change is taken again.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{sync::mpsc, time::Instant};

use super::{
    Presence,
    rooms::{Age, Look},
    user::UserPresence,
};
use crate::{
    chat::{frame::Frame, room_of, topic},
    error::Result,
    hub::{Session, State, StateKey, Topic},
    id::{RoomKey, UserKey},
};

/// Users whose newest version is kept in mind, twice.
const VERSIONS: usize = 65_536;
/// How often it is seen to rooms that are due.
const TICK: Duration = Duration::from_millis(100);
/// Rooms that are looked at together.
const TOGETHER: usize = 128;
/// A room that is watched is looked at after so many of its intervals, whatever is heard: a word may be lost without a trace.
const ANYWAY: u32 = 6;
/// How often a look is taken again that was overtaken.
const TRIES: usize = 3;

/// What is heard of a room.
#[derive(Debug)]
pub(super) enum Heard {
    /// These changed; nobody in particular in a room that is too large.
    Changed(RoomKey, Vec<UserPresence>),
    /// Who is a member changed, or words may have been lost.
    Look(Vec<Topic>),
}

/// The rooms that are watched here.
#[derive(Default)]
pub(super) struct Watched {
    rooms: HashMap<Topic, Room>,
    versions: Versions,
    /// Counts the changes that were told.
    changes: u64,
}

struct Room {
    /// The last change that was told.
    changed: u64,
    /// What was told last of the room as a whole, in short, unless something changed since; 0: nothing.
    told: u64,
    /// When it was told.
    told_at: Instant,
    /// When it is to be looked at.
    due: Option<Instant>,
    /// Those who watch know only some of those who are there.
    sample: bool,
}

impl Room {
    fn look_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// The newest versions that were told.
#[derive(Default)]
struct Versions {
    recent: HashMap<UserKey, u64>,
    older: HashMap<UserKey, u64>,
}

impl Versions {
    /// Whether nothing newer of the user was told; from now on nothing older is.
    fn is_news(&mut self, user: UserKey, version: u64) -> bool {
        let known = self.recent.get(&user).or_else(|| self.older.get(&user)).copied().unwrap_or_default();
        if version < known {
            return false;
        }
        if self.recent.len() >= VERSIONS {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(user, version);
        true
    }
}

impl Presence {
    /// Another node tells of a change.
    pub(in crate::chat) fn heard(&self, room: RoomKey, users: Vec<UserPresence>) {
        self.hand_over(Heard::Changed(room, users));
    }

    /// Somebody joined a room or left it.
    pub(in crate::chat) fn members_changed(&self, topic: &Topic) {
        if self.hub.anybody_watches() && self.hub.is_watched(topic) {
            self.hand_over(Heard::Look(vec![topic.clone()]));
        }
    }

    /// From now on what happens in these rooms is heard: what happened just before may not have been.
    pub(in crate::chat) fn hears(&self, topics: Vec<Topic>) {
        if self.hub.anybody_watches() {
            self.hand_over(Heard::Look(topics));
        }
    }

    /// Words may have been lost.
    pub(in crate::chat) fn doubt(&self) {
        self.doubt.store(true, Ordering::Relaxed);
    }

    fn hand_over(&self, heard: Heard) {
        if self.heard.try_send(heard).is_err() {
            self.doubt();
        }
    }

    /// Handles what is heard.
    pub(super) async fn listen(&self, mut heard: mpsc::Receiver<Heard>) {
        while let Some(heard) = heard.recv().await {
            match heard {
                Heard::Changed(room, users) => self.deliver(&room, &users),
                Heard::Look(topics) => {
                    let (mut watched, now) = (self.watched.lock(), Instant::now());
                    for topic in topics {
                        if let Some(room) = watched.rooms.get_mut(&topic) {
                            room.look_at(now);
                        }
                    }
                }
            }
        }
    }

    /// Tells those who watch a room here of a change. In a room that is too large for it, and where it could not be told to
    /// everybody, the room is told anew instead, in its time.
    pub(super) fn deliver(&self, room: &RoomKey, users: &[UserPresence]) {
        let topic = topic(room);
        if !self.hub.is_watched(&topic) {
            return;
        }
        let mut watched = self.watched.lock();
        let Watched { rooms, versions, changes } = &mut *watched;
        let Some(known) = rooms.get_mut(&topic) else { return };
        let news: Vec<State> = users
            .iter()
            .filter(|user| versions.is_news(room.user(&user.user), user.version))
            .map(|user| self.state_of(user))
            .collect();
        *changes += 1;
        (known.changed, known.told) = (*changes, 0);
        if !self.hub.tell_watchers(&topic, &news) || known.sample || users.is_empty() {
            known.look_at(known.told_at + self.options.room_interval);
        }
    }

    fn state_of(&self, user: &UserPresence) -> State {
        let key = StateKey { kind: "presence", of: user.user.as_str().into() };
        State { key, frame: self.encoder.frame(&Frame::Presence(user.clone())), instead: None, kept: false }
    }

    /// Tells a session who is there, in rooms that it watches from now on.
    ///
    /// # Errors
    /// Those of the look-up; they are looked at again soon.
    pub(in crate::chat) async fn tell_watched(&self, session: &Session, mut topics: Vec<Topic>) -> Result<()> {
        {
            let (mut watched, now) = (self.watched.lock(), Instant::now());
            for topic in &topics {
                let new = || Room { changed: 0, told: 0, told_at: now, due: None, sample: false };
                watched.rooms.entry(topic.clone()).or_insert_with(new);
            }
        }
        for _ in 0..TRIES {
            if topics.is_empty() {
                return Ok(());
            }
            let start = self.watched.lock().changes;
            let looks = self.look_at(&topics, Age::Recent).await;
            let (mut watched, now) = (self.watched.lock(), Instant::now());
            let mut failure = None;
            topics.retain(|topic| {
                let Some(room) = watched.rooms.get_mut(topic) else { return false };
                match looks.get(topic) {
                    Some(Ok(Some(look))) => {
                        session.put(&state(topic, look));
                        if look.sample {
                            // It may be as old as the interval is long.
                            room.look_at(now + self.options.room_interval);
                        }
                        room.sample |= look.sample;
                        !look.sample && room.changed > start
                    }
                    Some(Err(error)) => {
                        failure = Some(error.clone());
                        room.look_at(now + self.options.room_interval);
                        false
                    }
                    Some(Ok(None)) | None => false,
                }
            });
            if let Some(error) = failure {
                return Err(error);
            }
        }
        let (mut watched, now) = (self.watched.lock(), Instant::now());
        for topic in topics {
            if let Some(room) = watched.rooms.get_mut(&topic) {
                room.look_at(now);
            }
        }
        Ok(())
    }

    async fn look_at(&self, topics: &[Topic], age: Age) -> HashMap<Topic, Result<Option<Arc<Look>>>> {
        let looks = topics.iter().map(async |topic| (topic.clone(), self.looks.at(room_of(topic), age).await));
        join_all(looks).await.into_iter().collect()
    }

    /// Tells anew who is in rooms where that is due.
    pub(super) async fn look_after(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut all_at = Instant::now();
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let every = self.options.room_interval * if self.bus.health().delivers() { ANYWAY } else { 1 };
            if self.doubt.swap(false, Ordering::Relaxed) || now >= all_at + every {
                all_at = now;
                self.look_at_all(now);
            }
            loop {
                let topics = self.take_due(now);
                if topics.is_empty() {
                    break;
                }
                let start = self.watched.lock().changes;
                for (topic, look) in self.look_at(&topics, Age::Fresh).await {
                    self.tell_anew(topic, look, start);
                }
            }
        }
    }

    fn look_at_all(&self, now: Instant) {
        let mut watched = self.watched.lock();
        watched.rooms.retain(|topic, room| {
            room.look_at(now);
            self.hub.is_watched(topic)
        });
    }

    fn take_due(&self, now: Instant) -> Vec<Topic> {
        let mut watched = self.watched.lock();
        let due = watched.rooms.iter_mut().filter(|(_, room)| room.due.is_some_and(|due| due <= now)).take(TOGETHER);
        let take = |(topic, room): (&Topic, &mut Room)| {
            room.due = None;
            topic.clone()
        };
        due.map(take).collect()
    }

    /// Tells those who watch a room who is there, unless they know it.
    fn tell_anew(&self, topic: Topic, look: Result<Option<Arc<Look>>>, start: u64) {
        let (mut watched, now) = (self.watched.lock(), Instant::now());
        let Entry::Occupied(mut known) = watched.rooms.entry(topic) else { return };
        let look = match look {
            Ok(Some(look)) => look,
            // The room is no more: nobody can follow it.
            Ok(None) => {
                known.remove();
                return;
            }
            // It was logged where it failed.
            Err(_) => return known.get_mut().look_at(now + self.options.room_interval),
        };
        let mut hash = DefaultHasher::new();
        look.frame.hash(&mut hash);
        let short = hash.finish().max(1);
        let state = state(known.key(), &look);
        let overtaken = known.get().changed > start;
        if overtaken && !look.sample {
            return known.get_mut().look_at(now);
        }
        if known.get().told != short {
            self.hub.tell_watchers(known.key(), std::slice::from_ref(&state));
        }
        let room = known.get_mut();
        (room.told, room.told_at, room.sample) = (short, now, look.sample);
        if overtaken {
            room.told = 0;
            room.look_at(now + self.options.room_interval);
        }
    }
}

/// Who is in a room, as a state. It is kept however many wait: a session watches few rooms, and nothing else would tell it.
fn state(topic: &Topic, look: &Look) -> State {
    let key = StateKey { kind: "room_presence", of: topic.name.clone() };
    State { key, frame: look.frame.clone(), instead: None, kept: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ProjectId, UserId};

    #[test]
    fn what_is_older_than_what_was_told_is_no_news() {
        let mut versions = Versions::default();
        let user = |n: usize| UserKey { project: ProjectId::stored("p".into()), user: UserId::stored(n.to_string()) };
        assert!(versions.is_news(user(0), 5));
        assert!(versions.is_news(user(0), 5), "of another room");
        assert!(!versions.is_news(user(0), 4));
        for n in 1..=VERSIONS {
            assert!(versions.is_news(user(n), 1));
        }
        assert!(!versions.is_news(user(0), 4), "it is kept in mind for a while");
        assert!(versions.recent.len() + versions.older.len() <= 2 * VERSIONS);
    }
}
