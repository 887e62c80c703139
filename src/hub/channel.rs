//! A topic's subscribers on this node, each with the position up to which it has been given the topic's events.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use parking_lot::Mutex;

use super::{Batch, Session, SessionId};
use crate::id::ProjectId;

/// What events are published under: a name in a project.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic {
    /// The tenant.
    pub project: ProjectId,
    /// The name.
    pub name: Arc<str>,
}

/// How a session stands to a topic after frames from the log were queued for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// It has everything that was published: live events come by themselves again.
    Live,
    /// More is in the log.
    Behind,
    /// It does not follow the topic any more, or has moved on in another way.
    Gone,
}

/// What takes a session that is behind further.
#[derive(Clone, Debug)]
pub struct Step {
    /// The frames of the events up to `reached`, in order.
    pub frames: Vec<Bytes>,
    /// The position that they lead to.
    pub reached: u64,
    /// A position that the session must reach before it is live, because the log has it.
    pub end: u64,
}

/// Where a session that is served from the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Everything up to here is queued or sent.
    pub cursor: u64,
    /// It is known that its user has the topic, and may get the events up to here; `None`: that is to be looked up.
    pub until: Option<u64>,
}

/// One topic on this node.
#[derive(Default)]
pub(super) struct Channel {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Everything up to here was published here, or lies before `floor`; what comes after it will be published. `None`:
    /// nobody has found out where the topic stands.
    head: Option<u64>,
    /// Everything from here to `head` was published here: who lost the topic by it was taken off.
    floor: u64,
    subscribers: IndexMap<SessionId, Subscriber>,
    /// How many of them watch.
    watchers: usize,
    /// Set once it is out of the registry: a session that found it just before must look again.
    closed: bool,
}

struct Subscriber {
    session: Arc<Session>,
    /// Everything up to here is queued or sent.
    cursor: u64,
    /// What the last heartbeat told.
    told: u64,
    /// Whether it gets events as they are published; else it is served from the log.
    live: bool,
    /// See [`Behind::until`].
    until: Option<u64>,
    /// Whether it gets the states that only those get who ask for them.
    watches: bool,
}

impl Channel {
    /// Adds a session that is served from the log after `cursor`. Answers whether the channel knew where the topic stands
    /// before; `None`: the channel is closed, take another.
    pub(super) fn add(&self, session: &Arc<Session>, at: Behind) -> Option<bool> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.insert(session, at, false);
        Some(state.head.is_some())
    }

    /// Adds a session that has everything before `position`, whose event is about to be published: it is live, unless
    /// the channel stands elsewhere. `None`: the channel is closed, take another.
    pub(super) fn join(&self, session: &Arc<Session>, position: u64) -> Option<bool> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        let cursor = position - 1;
        let live = state.stands_at(cursor) == cursor;
        state.insert(session, Behind { cursor, until: live.then_some(cursor) }, live);
        Some(live)
    }

    /// Removes a session; `true` if the channel is now empty, and closed.
    pub(super) fn remove(&self, session: SessionId) -> bool {
        let mut state = self.state.lock();
        let watched = state.subscribers.swap_remove(&session).is_some_and(|subscriber| subscriber.watches);
        state.watchers -= usize::from(watched);
        state.closed = state.subscribers.is_empty();
        state.closed
    }

    /// Who follows.
    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        self.state.lock().subscribers.values().map(|s| s.session.clone()).collect()
    }

    /// Up to where everything was published here, if that is known.
    pub(super) fn head(&self) -> Option<u64> {
        self.state.lock().head
    }

    /// The log was seen to stand at `last`. Answers whether the channel lags behind it.
    pub(super) fn observe(&self, last: u64) -> bool {
        self.state.lock().stands_at(last) < last
    }

    /// Queues `batch` for every live subscriber; answers those that fell behind by it, and how many got it.
    pub(super) fn publish(&self, topic: &Topic, batch: &Batch) -> (Vec<Arc<Session>>, usize) {
        let mut state = self.state.lock();
        let (mut fell_behind, mut reached) = (Vec::new(), 0);
        if state.stands_at(batch.first() - 1) < batch.first() - 1 {
            // Somebody found out where the topic stands since the publisher asked: what lies between was not published here.
            state.floor = batch.first();
        }
        state.head = state.head.max(Some(batch.last()));
        for subscriber in state.subscribers.values_mut().filter(|s| s.live && s.cursor < batch.last()) {
            let contiguous = subscriber.cursor + 1 >= batch.first();
            if contiguous && subscriber.session.offer(batch.after(subscriber.cursor)) {
                subscriber.cursor = batch.last();
                reached += 1;
            } else {
                fell_behind.push(subscriber.fall_behind(topic));
            }
        }
        (fell_behind, reached)
    }

    /// Tells all subscribers how something is now. Answers how many there are.
    pub(super) fn tell(&self, state: &super::State) -> usize {
        let channel = self.state.lock();
        for subscriber in channel.subscribers.values() {
            subscriber.session.put(state);
        }
        channel.subscribers.len()
    }

    /// A subscriber watches, or does not any more.
    pub(super) fn set_watching(&self, session: SessionId, watches: bool) {
        let mut state = self.state.lock();
        let Some(subscriber) = state.subscribers.get_mut(&session) else { return };
        let before = std::mem::replace(&mut subscriber.watches, watches);
        state.watchers = state.watchers - usize::from(before) + usize::from(watches);
    }

    /// Whether anybody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.state.lock().watchers > 0
    }

    /// Tells all who watch how some things are now. `false`: some did not get all.
    pub(super) fn tell_watchers(&self, states: &[super::State]) -> bool {
        let channel = self.state.lock();
        let mut complete = true;
        for subscriber in channel.subscribers.values().filter(|_| channel.watchers > 0).filter(|s| s.watches) {
            for state in states {
                complete &= subscriber.session.put(state);
            }
        }
        complete
    }

    /// Goes on at `end`, with events left out: whoever lacks some is served from the log. Answers who.
    pub(super) fn skip_to(&self, topic: &Topic, end: u64) -> Vec<Arc<Session>> {
        let mut state = self.state.lock();
        if state.head < Some(end) {
            (state.head, state.floor) = (Some(end), end + 1);
        }
        let lack = state.subscribers.values_mut().filter(|s| s.live && s.cursor < end);
        lack.map(|subscriber| subscriber.fall_behind(topic)).collect()
    }

    /// Where a session is served from the log; `None` if it is not.
    pub(super) fn behind(&self, session: SessionId) -> Option<Behind> {
        let state = self.state.lock();
        let &Subscriber { cursor, until, .. } = state.subscribers.get(&session).filter(|s| !s.live)?;
        let head = state.head.unwrap_or_default();
        let until = match until {
            // What was published here since, it may have as well.
            Some(until) if until + 1 >= state.floor => Some(until.max(head)),
            // Who has the topic still is among what this node does not know.
            Some(until) if cursor >= until && until < head => None,
            until => until,
        };
        Some(Behind { cursor, until })
    }

    /// Takes a session that is behind at `cursor` to `reached`, with the frames that lead there, whatever its queue holds.
    /// One that has reached `end`, and all that was published since, is live.
    pub(super) fn advance(&self, session: SessionId, cursor: u64, step: Step) -> Advance {
        let mut state = self.state.lock();
        let head = state.head;
        let Some(subscriber) = state.subscribers.get_mut(&session).filter(|s| !s.live && s.cursor == cursor) else {
            return Advance::Gone;
        };
        for frames in step.frames {
            subscriber.session.push(frames);
        }
        subscriber.cursor = step.reached;
        subscriber.until = subscriber.until.max(Some(step.end));
        subscriber.live = Some(subscriber.cursor) >= head.max(subscriber.until);
        if !subscriber.live {
            return Advance::Behind;
        }
        state.stands_at(step.reached);
        Advance::Live
    }

    /// The session's position, if it moved since this was last asked.
    pub(super) fn moved(&self, session: SessionId) -> Option<u64> {
        let mut state = self.state.lock();
        let subscriber = state.subscribers.get_mut(&session).filter(|s| s.told != s.cursor)?;
        subscriber.told = subscriber.cursor;
        Some(subscriber.cursor)
    }
}

impl State {
    /// Where the topic stands: at `position`, if nobody has found out before.
    fn stands_at(&mut self, position: u64) -> u64 {
        *self.head.get_or_insert_with(|| {
            self.floor = position + 1;
            position
        })
    }

    fn insert(&mut self, session: &Arc<Session>, Behind { cursor, until }: Behind, live: bool) {
        let subscriber = Subscriber { session: session.clone(), cursor, told: cursor, live, until, watches: false };
        self.subscribers.entry(session.id()).or_insert(subscriber);
    }
}

impl Subscriber {
    fn fall_behind(&mut self, topic: &Topic) -> Arc<Session> {
        self.live = false;
        // What was published to a live session, it may have.
        self.until = self.until.max(Some(self.cursor));
        self.session.mark_behind(topic.clone());
        self.session.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        id::{UserId, UserKey},
    };

    #[test]
    fn who_lacks_what_was_not_published_here_is_looked_up() {
        let project = ProjectId::stored("p".into());
        let topic = Topic { project: project.clone(), name: "r".into() };
        let ana = UserKey { project, user: UserId::stored("ana".into()) };
        let session = Arc::new(Session::new(ana, 1_000, Timestamp(0), Timestamp(0)));
        let channel = Channel::default();
        assert_eq!(channel.add(&session, Behind { cursor: 60, until: Some(60) }), Some(false));
        let step = Step { frames: Vec::new(), reached: 60, end: 60 };
        assert_eq!(channel.advance(session.id(), 60, step), Advance::Live);
        // Ana may have lost the topic by 61 to 69.
        let (fell_behind, _) = channel.publish(&topic, &Batch::new(70, Bytes::from_static(b"a"), vec![1]));
        assert_eq!(fell_behind.len(), 1);
        assert_eq!(channel.behind(session.id()), Some(Behind { cursor: 60, until: None }));
    }
}
