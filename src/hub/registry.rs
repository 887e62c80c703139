//! The node's sessions and channels.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::{Advance, Batch, Behind, Session, SessionId, State, Step, Topic, channel::Channel, names};
use crate::{
    bus::Bus,
    clock::Timestamp,
    error::{Error, Reason, Result},
    id::UserKey,
};

/// Called when a session falls behind on a topic; the callee serves it from the log. It must not block.
pub type OnBehind = Box<dyn Fn(Arc<Session>) + Send + Sync>;

/// What happened to the sessions that a user has here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// One was opened.
    Opened,
    /// One is closed.
    Closed {
        /// Whether the server ended it: its client may be on its way back.
        by_server: bool,
        /// Whether it was their last.
        last: bool,
    },
    /// A device is in use again, or is not any more.
    Changed,
}

/// Called after a user's sessions changed; the callee asks [`Hub::devices`] how they are now, because of two calls at once
/// either may come first. It must not block.
pub type OnAttendance = Box<dyn Fn(&UserKey, Attendance) + Send + Sync>;

/// The sessions that a user has here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// How many there are.
    pub open: usize,
    /// How many of them are not in use.
    pub away: usize,
}

/// The hub's limits.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// Bytes that wait for one reader.
    pub queue_bytes: usize,
    /// Streams of one user on this node.
    pub max_streams_per_user: usize,
    /// How often each stream carries a heartbeat.
    pub heartbeat_interval: Duration,
    /// How long before its token's expiry a stream is warned.
    pub renew_warning: Duration,
}

/// Everybody who is connected to this node. It watches on the bus what they follow: each topic, and each user.
pub struct Hub {
    options: HubOptions,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) channels: RwLock<HashMap<Topic, Arc<Channel>>>,
    owners: Mutex<HashMap<UserKey, Vec<Arc<Session>>>>,
    sessions: RwLock<HashMap<SessionId, Arc<Session>>>,
    on_behind: std::sync::OnceLock<OnBehind>,
    on_attendance: std::sync::OnceLock<OnAttendance>,
    /// Sessions that watch something.
    pub(super) watching: AtomicUsize,
}

impl Hub {
    /// A hub without anybody.
    pub fn new(options: HubOptions, bus: Arc<dyn Bus>) -> Self {
        Self {
            options,
            bus,
            channels: RwLock::default(),
            owners: Mutex::default(),
            sessions: RwLock::default(),
            on_behind: std::sync::OnceLock::new(),
            on_attendance: std::sync::OnceLock::new(),
            watching: AtomicUsize::new(0),
        }
    }

    /// Says who serves sessions from the log. Once, before the first session.
    pub fn on_behind(&self, callee: OnBehind) {
        // A second callee would be a fault of the composition; the first stays.
        let _ = self.on_behind.set(callee);
    }

    /// Says who is told when users come and go. Once, before the first session.
    pub fn on_attendance(&self, callee: OnAttendance) {
        // A second callee would be a fault of the composition; the first stays.
        let _ = self.on_attendance.set(callee);
    }

    fn attendance(&self, owner: &UserKey, what: Attendance) {
        if let Some(callee) = self.on_attendance.get() {
            callee(owner, what);
        }
    }

    /// Opens a session of `owner` that lives until `expires_at`, with its first frame. [`Hub::close`] takes it off again.
    ///
    /// # Errors
    /// TOO_MANY_STREAMS when the user has as many as they may.
    pub fn open(
        &self,
        owner: UserKey,
        expires_at: Timestamp,
        now: Timestamp,
        first: impl FnOnce(&Session) -> Bytes,
    ) -> Result<Arc<Session>> {
        let beat_at = now.plus(self.options.heartbeat_interval);
        let session = Arc::new(Session::new(owner.clone(), self.options.queue_bytes, expires_at, beat_at));
        session.push(first(&session));
        {
            let mut owners = self.owners.lock();
            let of_user = owners.entry(owner.clone()).or_default();
            if of_user.len() >= self.options.max_streams_per_user {
                return Err(Error::retryable(
                    Reason::TooManyStreams,
                    format!("the user has {} open streams, which is the limit", of_user.len()),
                    Duration::from_secs(5),
                ));
            }
            of_user.push(session.clone());
            if of_user.len() == 1 {
                self.bus.watch(names::of_user(&owner));
            }
        }
        self.sessions.write().insert(session.id(), session.clone());
        self.attendance(&owner, Attendance::Opened);
        Ok(session)
    }

    /// Takes a session off everything.
    pub fn close(&self, session: &Arc<Session>) {
        let by_server = session.close();
        self.sessions.write().remove(&session.id());
        let (mut was_here, mut last) = (false, false);
        {
            let mut owners = self.owners.lock();
            if let Some(of_user) = owners.get_mut(session.owner()) {
                let before = of_user.len();
                of_user.retain(|other| other.id() != session.id());
                (was_here, last) = (of_user.len() < before, of_user.is_empty());
                if last {
                    owners.remove(session.owner());
                    self.bus.unwatch(&names::of_user(session.owner()));
                }
            }
        }
        let topics = {
            let mut follows = session.follows.lock();
            follows.closed = true;
            if !std::mem::take(&mut follows.watched).is_empty() {
                self.watching.fetch_sub(1, Ordering::Relaxed);
            }
            std::mem::take(&mut follows.topics)
        };
        for topic in topics.into_keys() {
            self.leave_channel(&topic, session.id());
        }
        if was_here {
            self.attendance(session.owner(), Attendance::Closed { by_server, last });
        }
    }

    /// The sessions that a user has here.
    pub fn devices(&self, owner: &UserKey) -> Devices {
        let owners = self.owners.lock();
        let sessions = owners.get(owner).map(Vec::as_slice).unwrap_or_default();
        Devices { open: sessions.len(), away: sessions.iter().filter(|session| session.is_away()).count() }
    }

    /// Everybody who has sessions here.
    pub fn owners(&self) -> Vec<UserKey> {
        self.owners.lock().keys().cloned().collect()
    }

    /// The device of a session is in use, or is not any more.
    pub fn set_away(&self, session: &Session, away: bool) {
        if session.set_away(away) {
            self.attendance(session.owner(), Attendance::Changed);
        }
    }

    /// The same of all sessions that a user has here.
    pub fn set_all_away(&self, owner: &UserKey, away: bool) {
        for session in self.of(owner) {
            self.set_away(&session, away);
        }
    }

    /// The session called `id`, if it is `owner`'s.
    pub fn session(&self, id: SessionId, owner: &UserKey) -> Option<Arc<Session>> {
        self.sessions.read().get(&id).filter(|s| s.owner() == owner).cloned()
    }

    /// How many sessions are open.
    pub fn session_count(&self) -> usize {
        self.sessions.read().len()
    }

    /// All sessions, as they are now.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions.read().values().cloned().collect()
    }

    /// Gives `batch` to all who follow `topic`; answers how many got it at once. The others get it from the log.
    pub fn publish(&self, topic: &Topic, batch: &Batch) -> usize {
        let Some(channel) = self.channels.read().get(topic).cloned() else { return 0 };
        let (fell_behind, reached) = channel.publish(topic, batch);
        for session in fell_behind {
            self.catch_up(session);
        }
        reached
    }

    /// Tells all who follow `topic` here how something is now. Answers how many they are.
    pub fn tell_topic(&self, topic: &Topic, state: &State) -> usize {
        let channel = self.channels.read().get(topic).cloned();
        channel.map_or(0, |channel| channel.tell(state))
    }

    /// Tells all sessions of a user here how something is now.
    pub fn tell_owner(&self, owner: &UserKey, state: &State) {
        for session in self.of(owner) {
            session.put(state);
        }
    }

    /// Queues a frame for all sessions of a user here, after what waits.
    pub fn push_to_owner(&self, owner: &UserKey, frame: &Bytes) {
        for session in self.of(owner) {
            session.push(frame.clone());
        }
    }

    /// Whether a user has a session here.
    pub fn is_here(&self, owner: &UserKey) -> bool {
        self.owners.lock().contains_key(owner)
    }

    /// The sessions that follow a topic here.
    pub fn following(&self, topic: &Topic) -> Vec<Arc<Session>> {
        let channel = self.channels.read().get(topic).cloned();
        channel.map(|channel| channel.sessions()).unwrap_or_default()
    }

    /// Has the session served from the log, unless that runs already.
    pub fn catch_up(&self, session: Arc<Session>) {
        if let Some(callee) = self.on_behind.get()
            && session.start_catching_up()
        {
            callee(session);
        }
    }

    /// Up to where a topic was published here; `None`: nobody here follows it. `Some(None)`: that is not known yet.
    pub fn head(&self, topic: &Topic) -> Option<Option<u64>> {
        Some(self.channels.read().get(topic)?.head())
    }

    /// The log was seen to stand at `last`. Answers whether what was published here lags behind it.
    pub fn observe(&self, topic: &Topic, last: u64) -> bool {
        self.channels.read().get(topic).is_some_and(|channel| channel.observe(last))
    }

    /// Goes on at `end`, with events left out: whoever lacks some is served from the log.
    pub fn skip_to(&self, topic: &Topic, end: u64) {
        let Some(channel) = self.channels.read().get(topic).cloned() else { return };
        for session in channel.skip_to(topic, end) {
            self.catch_up(session);
        }
    }

    /// All topics that anybody here follows.
    pub fn topics(&self) -> Vec<Topic> {
        self.channels.read().keys().cloned().collect()
    }

    /// Whether a user has a session here that does not follow a topic.
    pub fn lacks(&self, user: &UserKey, topic: &Topic) -> bool {
        self.of(user).iter().any(|session| !self.follows(session, topic))
    }

    /// Where a session is behind on a topic; `None` if it is not.
    pub fn behind(&self, session: &Session, topic: &Topic) -> Option<Behind> {
        self.channels.read().get(topic).cloned()?.behind(session.id())
    }

    /// Takes a session that is behind at `cursor` a step further; see [`Advance`].
    pub fn advance(&self, session: &Session, topic: &Topic, cursor: u64, step: Step) -> Advance {
        let channel = self.channels.read().get(topic).cloned();
        let Some(channel) = channel else { return Advance::Gone };
        let advance = channel.advance(session.id(), cursor, step);
        if advance == Advance::Behind {
            session.mark_behind(topic.clone());
        }
        advance
    }

    /// What is due on `session` at `now`: a heartbeat with the positions that moved (at most `max_positions`), a warning.
    pub fn due(&self, session: &Session, now: Timestamp, max_positions: usize) -> Due {
        let warn = session.take_warning(now, self.options.renew_warning);
        let beat_at = session.beat_at.load(Ordering::Relaxed);
        // What waits already says that the stream is alive.
        // A clock that was set back must not silence the stream until it has caught up.
        let beat_at = Timestamp(beat_at).min(now.plus(self.options.heartbeat_interval));
        let early = now < beat_at && Timestamp(session.beat_at.load(Ordering::Relaxed)) == beat_at;
        if early || !session.is_idle() {
            return Due { warn, heartbeat: None };
        }
        session.beat_at.store(now.plus(self.options.heartbeat_interval).0, Ordering::Relaxed);
        let topics: Vec<Topic> = session.follows.lock().topics.keys().cloned().collect();
        let channels = self.channels.read();
        let moved = topics.into_iter().filter_map(|topic| {
            let position = channels.get(&topic)?.moved(session.id())?;
            Some((topic, position))
        });
        Due { warn, heartbeat: Some(moved.take(max_positions).collect()) }
    }

    pub(super) fn of(&self, owner: &UserKey) -> Vec<Arc<Session>> {
        self.owners.lock().get(owner).cloned().unwrap_or_default()
    }
}

/// What [`Hub::due`] found.
#[derive(Debug)]
pub struct Due {
    /// Its token expires soon, and it has not been told yet.
    pub warn: bool,
    /// A heartbeat is due, with these positions.
    pub heartbeat: Option<Vec<(Topic, u64)>>,
}
