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
    /// Everything up to here was published here, or lies before what this node knows of; what comes after it will be.
    /// `None`: nobody has found out where the topic stands.
    head: Option<u64>,
    subscribers: IndexMap<SessionId, Subscriber>,
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
        let live = *state.head.get_or_insert(cursor) == cursor;
        state.insert(session, Behind { cursor, until: live.then_some(cursor) }, live);
        Some(live)
    }

    /// Removes a session; `true` if the channel is now empty, and closed.
    pub(super) fn remove(&self, session: SessionId) -> bool {
        let mut state = self.state.lock();
        state.subscribers.swap_remove(&session);
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
        *self.state.lock().head.get_or_insert(last) < last
    }

    /// Queues `batch` for every live subscriber; answers those that fell behind by it, and how many got it.
    pub(super) fn publish(&self, topic: &Topic, batch: &Batch) -> (Vec<Arc<Session>>, usize) {
        let mut state = self.state.lock();
        let (mut fell_behind, mut reached) = (Vec::new(), 0);
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

    /// Goes on at `end`, with events left out: whoever lacks some is served from the log. Answers who.
    pub(super) fn skip_to(&self, topic: &Topic, end: u64) -> Vec<Arc<Session>> {
        let mut state = self.state.lock();
        state.head = state.head.max(Some(end));
        let lack = state.subscribers.values_mut().filter(|s| s.live && s.cursor < end);
        let fell_behind = lack.map(|subscriber| {
            let session = subscriber.fall_behind(topic);
            // Who has the topic still is among what was left out.
            subscriber.until = None;
            session
        });
        fell_behind.collect()
    }

    /// Where a session is served from the log; `None` if it is not.
    pub(super) fn behind(&self, session: SessionId) -> Option<Behind> {
        let state = self.state.lock();
        let subscriber = state.subscribers.get(&session).filter(|s| !s.live)?;
        Some(Behind { cursor: subscriber.cursor, until: subscriber.until.map(|u| u.max(state.head.unwrap_or(u))) })
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
        state.head = head.or(Some(step.reached));
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
    fn insert(&mut self, session: &Arc<Session>, Behind { cursor, until }: Behind, live: bool) {
        let subscriber = Subscriber { session: session.clone(), cursor, told: cursor, live, until };
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
