//! A stream's token is renewed by a call that may reach any node: the one that has the stream is asked over the bus.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout};
use uuid::Uuid;

use super::bulletin::{Bulletin, NodeId};
use crate::{
    bus::{Bus, Health},
    clock::Timestamp,
    error::{Error, Reason, Result},
    hub::{Hub, SessionId, names},
    id::UserKey,
};

/// How long the other nodes have to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Renewals of one node that wait for an answer.
const MOST: usize = 10_000;

/// Renews sessions, wherever they are.
pub struct Renewals {
    node: NodeId,
    bus: Arc<dyn Bus>,
    /// By the session, or by another name of the question. Several calls may renew one session at once.
    waiting: Mutex<HashMap<Uuid, Vec<oneshot::Sender<bool>>>>,
}

impl Renewals {
    /// Those of the node `node`, which listens on its own channel from now on.
    pub fn new(node: NodeId, bus: Arc<dyn Bus>) -> Self {
        bus.watch(names::of_node(node));
        Self { node, bus, waiting: Mutex::default() }
    }

    /// Lets a session of `user` live until `expires_at`.
    ///
    /// # Errors
    /// SESSION_NOT_FOUND when it is on no node that answers; the same, to be tried again, while nodes cannot be asked.
    pub async fn renew(&self, hub: &Hub, user: &UserKey, session: SessionId, expires_at: Timestamp) -> Result<()> {
        if let Some(session) = hub.session(session, user) {
            return if session.renew(expires_at) { Ok(()) } else { Err(ending()) };
        }
        let question = Bulletin::Renew { user: user.clone(), session, expires_at };
        self.elsewhere(user, session, question).await
    }

    /// Has another node do something to a session that is not here, by a question that its answer names by `name`.
    ///
    /// # Errors
    /// Those of [`Renewals::renew`].
    pub(super) async fn elsewhere(&self, user: &UserKey, name: Uuid, question: Bulletin) -> Result<()> {
        match self.ask(user, name, question).await {
            Some(true) => Ok(()),
            Some(false) => Err(ending()),
            None => {
                self.reachable()?;
                Err(Error::new(Reason::SessionNotFound, "the caller has no such stream"))
            }
        }
    }

    /// Whether what is to be done to sessions that are not here gets to their nodes, as far as is known.
    ///
    /// # Errors
    /// SESSION_NOT_FOUND, to be tried again.
    pub(super) fn reachable(&self) -> Result<()> {
        match self.bus.health() {
            Health::Down | Health::Deaf => {
                let message = "streams on other nodes than this one cannot be reached now";
                Err(Error::retryable(Reason::SessionNotFound, message, Duration::from_secs(1)))
            }
            Health::Alone | Health::Silent | Health::Up => Ok(()),
        }
    }

    async fn ask(&self, user: &UserKey, name: Uuid, question: Bulletin) -> Option<bool> {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if matches!(self.bus.health(), Health::Alone | Health::Silent) || waiting.len() >= MOST {
                return None;
            }
            waiting.entry(name).or_default().push(answer);
        }
        self.bus.publish(&names::of_user(user), question.encode(self.node), false);
        // The channel's end is dropped with it: what nobody waits for any more is known by that.
        let answered = timeout(PATIENCE, answered).await;
        self.forget(name);
        answered.ok()?.ok()
    }

    /// Drops what nobody waits for any more.
    fn forget(&self, name: Uuid) {
        let mut waiting = self.waiting.lock();
        if let Some(answers) = waiting.get_mut(&name) {
            answers.retain(|answer| !answer.is_closed());
            if answers.is_empty() {
                waiting.remove(&name);
            }
        }
    }

    /// Another node, `asker`, wants a session renewed. Only the node that has it answers.
    pub(super) fn asked(&self, asker: NodeId, hub: &Hub, user: &UserKey, session: Uuid, expires_at: Timestamp) {
        if let Some(found) = hub.session(session, user) {
            self.answer(asker, session, found.renew(expires_at));
        }
    }

    /// Answers a question of that name of another node.
    pub(super) fn answer(&self, asker: NodeId, name: Uuid, done: bool) {
        let answer = Bulletin::Renewed { session: name, renewed: done };
        self.bus.publish(&names::of_node(asker), answer.encode(self.node), false);
    }

    /// The node that has a session answered.
    pub(super) fn answered(&self, session: Uuid, renewed: bool) {
        for waiting in self.waiting.lock().remove(&session).into_iter().flatten() {
            // Whoever asked may have gone.
            let _ = waiting.send(renewed);
        }
    }
}

fn ending() -> Error {
    Error::new(Reason::SessionNotFound, "the stream is ending")
}
