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
    /// The frames of the events up to `reached`; `None` if there are none.
    pub frames: Option<Bytes>,
    /// The position that they lead to.
    pub reached: u64,
    /// The log's newest position when they were read.
    pub end: u64,
}

/// One topic on this node.
#[derive(Default)]
pub(super) struct Channel {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest position published here; 0 before the first.
    head: u64,
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
}

impl Channel {
    /// Adds a session that has everything up to `cursor`. `false`: the channel is closed, take another.
    pub(super) fn add(&self, session: &Arc<Session>, cursor: u64, live: bool) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        let subscriber = Subscriber { session: session.clone(), cursor, told: cursor, live };
        state.subscribers.entry(session.id()).or_insert(subscriber);
        true
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

    /// Queues `batch` for every live subscriber; answers those that fell behind by it, and how many got it.
    pub(super) fn publish(&self, topic: &Topic, batch: &Batch) -> (Vec<Arc<Session>>, usize) {
        let mut state = self.state.lock();
        let (mut fell_behind, mut reached) = (Vec::new(), 0);
        state.head = state.head.max(batch.last());
        for subscriber in state.subscribers.values_mut().filter(|s| s.live && s.cursor < batch.last()) {
            let contiguous = subscriber.cursor + 1 >= batch.first();
            if contiguous && subscriber.session.offer(batch.after(subscriber.cursor)) {
                subscriber.cursor = batch.last();
                reached += 1;
            } else {
                subscriber.live = false;
                subscriber.session.mark_behind(topic.clone());
                fell_behind.push(subscriber.session.clone());
            }
        }
        (fell_behind, reached)
    }

    /// The position up to which a session that is behind has the events; `None` if it is not behind.
    pub(super) fn behind_at(&self, session: SessionId) -> Option<u64> {
        let state = self.state.lock();
        state.subscribers.get(&session).filter(|s| !s.live).map(|s| s.cursor)
    }

    /// Takes a session that is behind at `cursor` to `reached`, with the frames that lead there, whatever its queue holds.
    /// `end` is the log's newest position when they were read: a session that has reached it, and all that was published
    /// since, is live.
    pub(super) fn advance(&self, session: SessionId, cursor: u64, step: Step) -> Advance {
        let mut state = self.state.lock();
        let head = state.head;
        let Some(subscriber) = state.subscribers.get_mut(&session).filter(|s| !s.live && s.cursor == cursor) else {
            return Advance::Gone;
        };
        if let Some(frames) = step.frames {
            subscriber.session.push(frames);
        }
        subscriber.cursor = step.reached;
        subscriber.live = subscriber.cursor >= head.max(step.end);
        if subscriber.live { Advance::Live } else { Advance::Behind }
    }

    /// The session's position, if it moved since this was last asked.
    pub(super) fn moved(&self, session: SessionId) -> Option<u64> {
        let mut state = self.state.lock();
        let subscriber = state.subscribers.get_mut(&session).filter(|s| s.told != s.cursor)?;
        subscriber.told = subscriber.cursor;
        Some(subscriber.cursor)
    }
}
