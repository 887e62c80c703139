//! What callers ask for: who is there, and to be shown as they say.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    Presence,
    user::{Availability, UserPresence},
};
use crate::{
    chat::{
        bulletin::{Bulletin, NodeId},
        notice::Notice,
        store, topic,
    },
    error::{Error, Result},
    hub::{Session, SessionId, Topic},
    id::{RoomId, UserId, UserKey},
};

/// The most bytes of a status text.
const MAX_STATUS_BYTES: usize = 256;
/// Users of whom one call asks.
const MAX_USERS: usize = 100;
/// Rooms that one session watches.
const MAX_ROOMS: usize = 100;

/// How a user wants to be shown.
#[derive(Clone, Debug, Default)]
pub struct PresenceChange {
    /// Whether their device is out of use; `None`: as it is.
    pub away: Option<bool>,
    /// What they say of themselves; `None`: as it is.
    pub status_text: Option<String>,
}

impl PresenceChange {
    fn check(&self) -> Result<()> {
        let Some(text) = &self.status_text else { return Ok(()) };
        if text.len() > MAX_STATUS_BYTES {
            let message = format!("has {} bytes, at most {MAX_STATUS_BYTES} are allowed", text.len());
            return Err(Error::field("status_text", message));
        }
        if text.chars().any(char::is_control) {
            return Err(Error::field("status_text", "has a control character"));
        }
        Ok(())
    }
}

impl Presence {
    /// The presence of those of `users` of whom the caller may know, in their order.
    ///
    /// # Errors
    /// FIELD_INVALID when there are none or too many.
    pub async fn get(&self, caller: &UserKey, users: &[UserId]) -> Result<Vec<UserPresence>> {
        if users.is_empty() || users.len() > MAX_USERS {
            let message = format!("has {} entries, it takes 1 to {MAX_USERS}", users.len());
            return Err(Error::field("user_ids", message));
        }
        let known = store::presence::known(&self.db, caller, users).await?;
        let known: HashMap<UserId, UserPresence> = known.into_iter().map(|p| (p.user.clone(), p)).collect();
        let mut told = HashSet::new();
        let users = users.iter().filter(|user| told.insert((*user).clone()));
        Ok(users.filter_map(|user| known.get(user)).map(|presence| self.as_seen_here(caller, presence)).collect())
    }

    /// A user whose streams are at this node is there, even if that was not written yet.
    fn as_seen_here(&self, caller: &UserKey, presence: &UserPresence) -> UserPresence {
        let user = UserKey { project: caller.project.clone(), user: presence.user.clone() };
        let here = Availability::of(self.hub.devices(&user));
        let state = presence.state.min(here);
        let last_seen_at = presence.last_seen_at.filter(|_| state == Availability::Offline);
        UserPresence { state, last_seen_at, ..presence.clone() }
    }

    /// Shows a user as they say: one of their sessions, or all of them.
    ///
    /// # Errors
    /// FIELD_INVALID for a status text beyond its limits; SESSION_NOT_FOUND, to be tried again while other nodes cannot be
    /// told.
    pub async fn set(
        self: &Arc<Self>,
        user: &UserKey,
        session: Option<SessionId>,
        change: PresenceChange,
    ) -> Result<()> {
        change.check()?;
        match (change.away, session) {
            (Some(away), Some(session)) => self.set_device(user, session, away).await?,
            (Some(away), None) => {
                self.hub.set_all_away(user, away);
                self.teller.tell_user(user, Notice::Devices { user: user.clone(), away });
                self.renewals.reachable()?;
            }
            (None, _) => {}
        }
        self.set_status(user, change.status_text).await
    }

    /// The same of the session on which they say it.
    ///
    /// # Errors
    /// FIELD_INVALID for a status text beyond its limits.
    pub async fn set_on(self: &Arc<Self>, session: &Session, change: PresenceChange) -> Result<()> {
        change.check()?;
        if let Some(away) = change.away {
            self.hub.set_away(session, away);
        }
        self.set_status(session.owner(), change.status_text).await
    }

    async fn set_device(&self, user: &UserKey, session: SessionId, away: bool) -> Result<()> {
        if let Some(session) = self.hub.session(session, user) {
            self.hub.set_away(&session, away);
            return Ok(());
        }
        let question = Uuid::new_v4();
        let notice = Notice::Device { user: user.clone(), session, away, question };
        self.renewals.elsewhere(user, question, Bulletin::Notice(notice)).await
    }

    /// Another node, `asker`, wants a session's device in or out of use. Only the node that has it answers.
    pub(in crate::chat) fn asked(&self, asker: NodeId, user: &UserKey, session: SessionId, away: bool, question: Uuid) {
        if let Some(session) = self.hub.session(session, user) {
            self.hub.set_away(&session, away);
            self.renewals.answer(asker, question, !session.is_over());
        }
    }

    /// It runs by itself once it has begun: a caller that hangs up would end a transaction, and with it a connection, or leave
    /// what was written untold.
    async fn set_status(self: &Arc<Self>, user: &UserKey, status_text: Option<String>) -> Result<()> {
        let Some(text) = status_text else { return Ok(()) };
        // Never closed. Who hangs up while others have their turn leaves nothing to do.
        let turn = self.setting.clone().acquire_owned().await;
        let (presence, user) = (self.clone(), user.clone());
        let set = tokio::spawn(async move {
            let _turn = turn;
            presence.write_status(&user, text).await
        });
        set.await.map_err(|error| Error::internal(&error))?
    }

    async fn write_status(&self, user: &UserKey, text: String) -> Result<()> {
        let changed = {
            // Never closed.
            let _turn = self.writing.acquire().await;
            let mut tx = self.db.begin().await?;
            let changed = store::presence::set_status(&mut tx, user, text, self.clock.now()).await?;
            tx.commit().await?;
            changed
        };
        if let Some(changed) = changed {
            self.tell(vec![(user.clone(), changed)]).await;
        }
        Ok(())
    }

    /// Lets a session watch these rooms, in place of those before, and tells it who is there. Rooms that it does not follow
    /// are passed over.
    ///
    /// # Errors
    /// STORAGE_UNAVAILABLE, OVERLOADED: who is there is told later.
    pub async fn watch(&self, session: &Session, rooms: Vec<RoomId>) -> Result<()> {
        let watched = self.hub.watch(session, topics(session, rooms));
        self.tell_watched(session, watched).await
    }

    /// The same as the session's opening asked for, unless its client has asked for others since. Answers which it watches:
    /// it is yet to be told who is there.
    pub(in crate::chat) fn watch_at_opening(&self, session: &Session, rooms: Vec<RoomId>) -> Vec<Topic> {
        self.hub.watch_at_opening(session, topics(session, rooms))
    }
}

fn topics(session: &Session, rooms: Vec<RoomId>) -> Vec<Topic> {
    rooms.into_iter().map(|room| topic(&session.owner().room(room))).collect()
}

/// Checks the rooms that a session wants to watch; `field` names them in the error.
///
/// # Errors
/// FIELD_INVALID when there are too many, or one is listed twice.
pub fn check_watched(rooms: &[RoomId], field: &str) -> Result<()> {
    if rooms.len() > MAX_ROOMS {
        let message = format!("has {} entries, at most {MAX_ROOMS} are allowed", rooms.len());
        return Err(Error::field(field, message));
    }
    let mut listed = HashSet::new();
    match rooms.iter().position(|room| !listed.insert(room)) {
        Some(twice) => Err(Error::field(format!("{field}[{twice}]"), "is listed twice")),
        None => Ok(()),
    }
}
