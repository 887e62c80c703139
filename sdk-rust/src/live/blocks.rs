//! Whom the user has blocked: read once, and kept up to date by an event stream.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Client, Error};

/// The blocked users, as far as they are known.
#[derive(Default)]
pub(crate) struct Blocks(Mutex<State>);

#[derive(Default)]
struct State {
    /// `None`: the server is to be asked.
    users: Option<Arc<BTreeSet<String>>>,
    /// Counts what happened to them, so that a list that was read meanwhile is not taken for new.
    changes: u64,
}

impl Blocks {
    /// A user was blocked, or it was taken back.
    pub(crate) fn changed(&self, user_id: &str, blocked: bool) {
        let mut state = self.state();
        state.changes += 1;
        let Some(users) = &mut state.users else { return };
        let users = Arc::make_mut(users);
        if blocked {
            users.insert(user_id.to_owned());
        } else {
            users.remove(user_id);
        }
    }

    /// A stream was opened: changes before it may have been missed.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.changes += 1;
        state.users = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// The users whom the user has blocked. An application hides their messages in groups:
    ///
    /// ```no_run
    /// # async fn run(client: relay_sdk::Client, messages: Vec<relay_sdk::Message>) -> Result<(), relay_sdk::Error> {
    /// let blocked = client.blocked_users().await?;
    /// let shown = messages.iter().filter(|message| !blocked.contains(&message.sender_id));
    /// # let _ = shown.count();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It is read from the server once while an event stream of this client is open and polled, which keeps it up to date;
    /// without one, at each call.
    ///
    /// # Errors
    /// As every call.
    pub async fn blocked_users(&self) -> Result<Arc<BTreeSet<String>>, Error> {
        loop {
            let before = {
                let state = self.live().blocks.state();
                if let Some(users) = &state.users
                    && self.live().uplink.is_open()
                {
                    return Ok(users.clone());
                }
                state.changes
            };
            let users = Arc::new(self.read_blocked_users().await?);
            let mut state = self.live().blocks.state();
            if state.changes == before {
                state.users = Some(users.clone());
                return Ok(users);
            }
        }
    }

    async fn read_blocked_users(&self) -> Result<BTreeSet<String>, Error> {
        let (mut users, mut page) = (BTreeSet::new(), None);
        loop {
            let read = self.list_blocked_users(500, page).await?;
            users.extend(read.items);
            page = read.next;
            if page.is_none() {
                return Ok(users);
            }
        }
    }

    pub(crate) fn blocks(&self) -> &Blocks {
        &self.live().blocks
    }
}
