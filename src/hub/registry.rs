//! The node's sessions and channels.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::{Advance, Batch, Behind, Session, SessionId, Step, Topic, channel::Channel, names, session::Follows};
use crate::{
    bus::Bus,
    clock::Timestamp,
    error::{Error, Reason, Result},
    id::UserKey,
};

/// Called when a session falls behind on a topic; the callee serves it from the log. It must not block.
pub type OnBehind = Box<dyn Fn(Arc<Session>) + Send + Sync>;

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
    bus: Arc<dyn Bus>,
    channels: RwLock<HashMap<Topic, Arc<Channel>>>,
    owners: Mutex<HashMap<UserKey, Vec<Arc<Session>>>>,
    sessions: RwLock<HashMap<SessionId, Arc<Session>>>,
    on_behind: std::sync::OnceLock<OnBehind>,
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
        }
    }

    /// Says who serves sessions from the log. Once, before the first session.
    pub fn on_behind(&self, callee: OnBehind) {
        // A second callee would be a fault of the composition; the first stays.
        let _ = self.on_behind.set(callee);
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
        Ok(session)
    }

    /// Takes a session off everything.
    pub fn close(&self, session: &Arc<Session>) {
        session.close();
        self.sessions.write().remove(&session.id());
        {
            let mut owners = self.owners.lock();
            if let Some(of_user) = owners.get_mut(session.owner()) {
                of_user.retain(|other| other.id() != session.id());
                if of_user.is_empty() {
                    owners.remove(session.owner());
                    self.bus.unwatch(&names::of_user(session.owner()));
                }
            }
        }
        let topics = {
            let mut follows = session.follows.lock();
            follows.closed = true;
            std::mem::take(&mut follows.topics)
        };
        for topic in topics.into_keys() {
            self.leave_channel(&topic, session.id());
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

    /// A session that is being opened is about to look up what its user follows.
    pub fn look(&self, session: &Session) {
        if let Some(opening) = &mut session.follows.lock().opening {
            opening.joined = false;
        }
    }

    /// Lets a session that is being opened follow a topic that its user had at position `since`, behind at `cursor`.
    pub fn follow_behind(&self, session: &Arc<Session>, topic: &Topic, cursor: u64, since: u64) -> Followed {
        let mut follows = session.follows.lock();
        let lost = follows.opening.as_ref().and_then(|opening| opening.lost.get(topic)).copied();
        if follows.closed || lost.is_some_and(|lost| lost > since) || follows.topics.contains_key(topic) {
            return Followed::Not;
        }
        follows.topics.insert(topic.clone(), since);
        let at = Behind { cursor, until: Some(since) };
        match self.in_channel(topic, |channel| channel.add(session, at)) {
            true => Followed::Known,
            false => Followed::New,
        }
    }

    /// Whether a session follows a topic.
    pub fn follows(&self, session: &Session, topic: &Topic) -> bool {
        session.follows.lock().topics.contains_key(topic)
    }

    /// Queues what `frames` makes of which topics a session follows. Nothing changes meanwhile.
    pub fn tell(&self, session: &Session, frames: impl FnOnce(&dyn Fn(&Topic) -> bool) -> Vec<Bytes>) {
        let follows = session.follows.lock();
        for frame in frames(&|topic| follows.topics.contains_key(topic)) {
            session.push(frame);
        }
    }

    /// The opening is over, unless the user got a topic since the session looked: `false`, look again.
    pub fn opened(&self, session: &Session) -> bool {
        let mut follows = session.follows.lock();
        let done = follows.opening.as_ref().is_none_or(|opening| !opening.joined);
        if done {
            follows.opening = None;
        }
        done
    }

    /// Lets all sessions of a user, who got it at `position`, follow a topic from there on; those that did not before are
    /// told by `joined`. With `next`, the event of that position is published next, and they are live from it on; else
    /// they are served from the log, once it says that the user has the topic. Those that are being opened find it by
    /// themselves, with what their client holds.
    pub fn follow(&self, owner: &UserKey, topic: &Topic, position: u64, joined: &Bytes, next: bool) {
        for session in self.of(owner) {
            {
                let mut follows = session.follows.lock();
                if follows.closed || follows.topics.contains_key(topic) {
                    continue;
                }
                if let Some(opening) = &mut follows.opening {
                    opening.joined = true;
                    continue;
                }
                follows.topics.insert(topic.clone(), position);
                session.push(joined.clone());
                let at = Behind { cursor: position - 1, until: None };
                let live = self.in_channel(topic, |channel| match next {
                    true => channel.join(&session, position),
                    false => channel.add(&session, at).map(|_| false),
                });
                if live {
                    continue;
                }
                session.mark_behind(topic.clone());
            }
            self.catch_up(session);
        }
    }

    /// Takes all sessions of a user, who lost it at `position`, off a topic; those that followed it are told by `left`. One
    /// that knows that the user has it again stays.
    pub fn unfollow(&self, owner: &UserKey, topic: &Topic, position: u64, left: &Bytes) {
        for session in self.of(owner) {
            self.take_off(&session, topic, position, left);
        }
    }

    /// Takes everybody off a topic that ends, and tells them by `left`.
    pub fn dissolve(&self, topic: &Topic, left: &Bytes) {
        // Once more for those who came meanwhile, with what they had looked up before.
        for _ in 0..2 {
            let channel = self.channels.read().get(topic).cloned();
            for session in channel.iter().flat_map(|channel| channel.sessions()) {
                self.take_off(&session, topic, u64::MAX, left);
            }
        }
    }

    fn take_off(&self, session: &Session, topic: &Topic, position: u64, left: &Bytes) {
        let mut follows = session.follows.lock();
        if let Some(opening) = &mut follows.opening {
            // The newest counts: news of an older loss may come later, from what Redis kept or what was read again.
            let lost = opening.lost.entry(topic.clone()).or_default();
            *lost = position.max(*lost);
        }
        if follows.topics.get(topic).is_some_and(|since| *since < position) {
            self.drop_topic(session, &mut follows, topic, left);
        }
    }

    /// Takes a session off a topic on which it is still behind at `cursor`, and tells it by `left`: the log says that the
    /// user has lost it, and nothing newer has been heard.
    pub fn take_off_behind(&self, session: &Session, topic: &Topic, cursor: u64, left: &Bytes) {
        let mut follows = session.follows.lock();
        if self.behind(session, topic).is_some_and(|behind| behind.cursor == cursor) {
            self.drop_topic(session, &mut follows, topic, left);
        }
    }

    fn drop_topic(&self, session: &Session, follows: &mut Follows, topic: &Topic, left: &Bytes) {
        follows.topics.remove(topic);
        // First off the channel: what is being read for it just now must not come after the word that it is over.
        self.leave_channel(topic, session.id());
        session.push(left.clone());
    }

    fn of(&self, owner: &UserKey) -> Vec<Arc<Session>> {
        self.owners.lock().get(owner).cloned().unwrap_or_default()
    }

    /// Whether anybody here follows `topic`: if not, there is nothing to encode.
    pub fn is_followed(&self, topic: &Topic) -> bool {
        self.channels.read().contains_key(topic)
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

    /// Does something with the topic's channel, which is made if there is none.
    fn in_channel<T>(&self, topic: &Topic, act: impl Fn(&Channel) -> Option<T>) -> T {
        loop {
            let channel = self.channels.read().get(topic).cloned();
            let channel = channel.unwrap_or_else(|| {
                self.channels.write().entry(topic.clone()).or_insert_with(|| self.new_channel(topic)).clone()
            });
            if let Some(done) = act(&channel) {
                return done;
            }
        }
    }

    /// Under the lock of all channels, as the end of one is: so the last word to the bus is the true one.
    fn new_channel(&self, topic: &Topic) -> Arc<Channel> {
        self.bus.watch(names::of_topic(topic));
        Arc::default()
    }

    fn leave_channel(&self, topic: &Topic, session: SessionId) {
        // Under the write lock, so that nobody joins a channel that is on its way out.
        let mut channels = self.channels.write();
        if channels.get(topic).is_some_and(|channel| channel.remove(session)) {
            channels.remove(topic);
            self.bus.unwatch(&names::of_topic(topic));
        }
    }
}

/// What [`Hub::follow_behind`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The session follows the topic, in whose channel all that happens was published before.
    Known,
    /// The session follows the topic, of which this node knew nothing: what happened since it was looked up may not have
    /// been published here.
    New,
    /// The session followed it already, or its user has lost it since.
    Not,
}

/// What [`Hub::due`] found.
#[derive(Debug)]
pub struct Due {
    /// Its token expires soon, and it has not been told yet.
    pub warn: bool,
    /// A heartbeat is due, with these positions.
    pub heartbeat: Option<Vec<(Topic, u64)>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::LocalBus,
        id::{ProjectId, UserId},
    };

    #[test]
    fn an_old_loss_does_not_hide_a_newer_one_from_a_session_that_is_being_opened() {
        let options = HubOptions {
            queue_bytes: 1_000,
            max_streams_per_user: 1,
            heartbeat_interval: Duration::from_secs(15),
            renew_warning: Duration::from_secs(60),
        };
        let hub = Hub::new(options, Arc::new(LocalBus::Alone));
        let project = ProjectId::stored("p".into());
        let ana = UserKey { project: project.clone(), user: UserId::stored("ana".into()) };
        let now = Timestamp::from_seconds(1_000);
        let session = hub.open(ana.clone(), now, now, |_| Bytes::new()).unwrap();
        let topic = Topic { project, name: "r".into() };
        hub.look(&session);
        hub.unfollow(&ana, &topic, 40, &Bytes::new());
        hub.unfollow(&ana, &topic, 20, &Bytes::new());
        assert_eq!(hub.follow_behind(&session, &topic, 30, 30), Followed::Not);
        assert_eq!(hub.follow_behind(&session, &topic, 50, 50), Followed::New, "they have it again");
    }
}
