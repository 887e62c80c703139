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
        // It goes after the channel's end, also when the caller hangs up.
        let _asking = Asking { renewals: self, name };
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if matches!(self.bus.health(), Health::Alone | Health::Silent) || waiting.len() >= MOST {
                return None;
            }
            waiting.entry(name).or_default().push(answer);
        }
        self.bus.publish(&names::of_user(user), question.encode(self.node), false);
        timeout(PATIENCE, answered).await.ok()?.ok()
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

/// A question that somebody waits for. Dropped after its channel's end, by which it is known that nobody does any more.
struct Asking<'r> {
    renewals: &'r Renewals,
    name: Uuid,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.renewals.forget(self.name);
    }
}

fn ending() -> Error {
    Error::new(Reason::SessionNotFound, "the stream is ending")
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use bytes::Bytes;
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::{
        bus::Channel,
        id::{ProjectId, UserId},
    };

    /// A bus on which nobody answers.
    struct Nobody;

    impl Bus for Nobody {
        fn watch(&self, _: Channel) {}
        fn unwatch(&self, _: &Channel) {}
        fn publish(&self, _: &Channel, _: Bytes, _: bool) {}
        fn forget(&self, _: &Channel) {}

        fn recent<'a>(&'a self, _: &'a Channel) -> BoxFuture<'a, Result<Vec<Bytes>>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn health(&self) -> Health {
            Health::Up
        }
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_question_whose_caller_hung_up() {
        let renewals = Renewals::new(NodeId::nil(), Arc::new(Nobody));
        let user = UserKey { project: ProjectId::stored("p".into()), user: UserId::stored("ana".into()) };
        let [same, other] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let ask = |name| {
            let question = Bulletin::Renewed { session: name, renewed: true };
            Box::pin(renewals.ask(&user, name, question))
        };
        let mut all = [ask(same), ask(same), ask(other)];
        for question in &mut all {
            assert_eq!(futures_util::poll!(question), Poll::Pending);
        }
        let [first, second, third] = all;
        drop((first, third));
        assert_eq!(renewals.waiting.lock().len(), 1, "somebody else asks the same");
        renewals.answered(same, true);
        assert_eq!(second.await, Some(true));
        assert!(renewals.waiting.lock().is_empty());
    }
}
