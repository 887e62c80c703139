//! Blocks: two users who send each other no direct messages, because one of them does not want any.
//!
//! Whether one has blocked the other stands with both members of their direct room, so that a send finds it in what it
//! reads anyway. Blocks and the making of a direct room take turns for each pair.

use std::{fmt, sync::Arc};

use tokio::sync::Mutex;

use super::MAX_BANS;
use crate::{
    chat::{
        Chat,
        frame::{Encoder, Frame},
        log::Unit,
        notice::{Notice, Teller},
        page::{self, Page},
        store,
    },
    db::Db,
    error::{Error, Reason, Result},
    hub::{Hub, State, StateKey},
    id::{UserId, UserKey},
};

/// Tells a user's devices, on all nodes, whom they have blocked.
pub struct Blocks {
    db: Db,
    hub: Arc<Hub>,
    encoder: Arc<dyn Encoder>,
    teller: Teller,
    /// What is told was read while this was held: so whatever is told last is how it is, on every node.
    turn: Mutex<()>,
}

impl Blocks {
    /// Tells through `hub`, and other nodes through `teller`.
    pub fn new(db: Db, hub: Arc<Hub>, encoder: Arc<dyn Encoder>, teller: Teller) -> Self {
        Self { db, hub, encoder, teller, turn: Mutex::default() }
    }

    /// A user has blocked another, or taken it back, by this node.
    async fn changed(&self, user: &UserKey, other: &UserId) {
        self.teller.tell_user(user, Notice::Block { user: user.clone(), other: other.clone() });
        self.tell(user, other).await;
    }

    /// The same by another node.
    pub(in crate::chat) fn heard(self: &Arc<Self>, user: UserKey, other: UserId) {
        let blocks = self.clone();
        tokio::spawn(async move { blocks.tell(&user, &other).await });
    }

    /// Tells the user's sessions here how it is now.
    async fn tell(&self, user: &UserKey, other: &UserId) {
        let _turn = self.turn.lock().await;
        // What failed was logged; ListBlockedUsers says it all.
        let Ok(blocked) = store::blocks::is_blocked(&self.db, user, other).await else { return };
        let frame = self.encoder.frame(&Frame::Block { user: other.clone(), blocked });
        let key = StateKey { kind: "block", of: other.as_str().into() };
        self.hub.tell_owner(user, &State { key, frame, instead: None, kept: true });
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blocks")
    }
}

impl Chat {
    /// Blocks a user, or takes it back. Again, changes nothing.
    pub async fn block(&self, caller: UserKey, other: UserId, blocked: bool) -> Result<()> {
        if blocked && other == caller.user {
            return Err(Error::field("user_id", "is the caller"));
        }
        // So that the room is locked with those of the other writes: a send that comes after this is answered sees it.
        let room = store::blocks::direct_room(self.db(), &caller, &other).await?.map(|room| caller.room(room));
        let (user, whom) = (caller.clone(), other.clone());
        let changed =
            self.log().write(room, 0, move |unit| Box::pin(async move { set(unit, user, whom, blocked).await }));
        if changed.await? {
            self.blocks().changed(&caller, &other).await;
        }
        Ok(())
    }

    /// A page of the users that the caller has blocked, by user id.
    pub async fn list_blocked(&self, caller: &UserKey, limit: usize, token: &str) -> Result<Page<UserId>> {
        let list = ["blocks", caller.project.as_str(), caller.user.as_str()];
        let after = page::user(&self.pages().open(token, &list)?)?;
        let users = store::blocks::list(self.db(), caller, after.as_ref(), limit + 1).await?;
        Ok(Page::cut(users, limit, |last| self.pages().seal(&list, &[last.as_str()])))
    }
}

/// Writes a block, or takes it back, and what it means for the direct room; answers whether anything changed.
async fn set(unit: &mut Unit, user: UserKey, other: UserId, blocked: bool) -> Result<bool> {
    store::blocks::lock_pair(&mut unit.tx, &user, &other).await?;
    let had = store::blocks::has_blocked(&mut unit.tx, &user, &other).await?;
    if had == blocked {
        return Ok(false);
    }
    if blocked {
        if store::blocks::count(&mut unit.tx, &user).await? >= MAX_BANS {
            let message = format!("the caller has blocked {MAX_BANS} users, which is the limit");
            return Err(Error::new(Reason::TooManyBans, message));
        }
        store::blocks::insert(&mut unit.tx, &user, &other, unit.now).await?;
    } else {
        store::blocks::delete(&mut unit.tx, &user, &other).await?;
    }
    mark(unit, &user, &other, blocked).await?;
    Ok(true)
}

/// Notes in the direct room of the two, if there is one, whether one has blocked the other.
async fn mark(unit: &mut Unit, user: &UserKey, other: &UserId, blocked: bool) -> Result<()> {
    let Some(room) = store::rooms::find_direct(&mut unit.tx, user, other).await? else { return Ok(()) };
    let room = user.room(room);
    let peer = UserKey { project: user.project.clone(), user: other.clone() };
    let blocked = blocked || store::blocks::has_blocked(&mut unit.tx, &peer, &user.user).await?;
    // It was locked before, unless it was made since it was looked for.
    unit.counters(&room).await?;
    store::blocks::mark(&mut unit.tx, &room, blocked).await
}

/// Refuses to make a direct room with a user who has blocked the caller; nobody makes or blocks until the transaction ends.
pub(in crate::chat) async fn refuse_blocked_by(unit: &mut Unit, caller: &UserKey, other: &UserId) -> Result<()> {
    let peer = UserKey { project: caller.project.clone(), user: other.clone() };
    match store::blocks::has_blocked(&mut unit.tx, &peer, &caller.user).await? {
        true => Err(Error::new(Reason::UserBlocked, "the user has blocked the caller")),
        false => Ok(()),
    }
}

/// Notes in a direct room that was just made whether its maker has blocked the other.
pub(in crate::chat) async fn mark_new(unit: &mut Unit, caller: &UserKey, other: &UserId) -> Result<()> {
    match store::blocks::has_blocked(&mut unit.tx, caller, other).await? {
        true => mark(unit, caller, other, true).await,
        false => Ok(()),
    }
}
