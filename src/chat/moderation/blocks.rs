//! Blocks: two users who send each other no direct messages, because one of them does not want any.
//!
//! Whether one has blocked the other stands with both members of their direct room, so that a send finds it in what it
//! reads anyway. Who makes the room holds the blocks of the two: a block that comes at the same moment waits, and finds it.

use std::{fmt, sync::Arc};

use tokio::sync::Mutex;

use super::MAX_BANS;
use crate::{
    chat::{
        Chat,
        frame::{Encoder, Frame},
        log::Unit,
        page::{self, Page},
        store,
    },
    db::Db,
    error::{Error, Reason, Result},
    hub::{Hub, State, StateKey},
    id::{RoomKey, UserId, UserKey},
};

/// Tells a user's devices at this node whom they have blocked. Each node does for its own.
pub struct Blocks {
    db: Db,
    hub: Arc<Hub>,
    encoder: Arc<dyn Encoder>,
    /// What is told was read while this was held: so whatever is told last is how it is, on every node.
    turn: Mutex<()>,
}

impl Blocks {
    /// Tells through `hub`.
    pub fn new(db: Db, hub: Arc<Hub>, encoder: Arc<dyn Encoder>) -> Self {
        Self { db, hub, encoder, turn: Mutex::default() }
    }

    /// A user has blocked another, or taken it back, by another node.
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
    /// Blocks a user, or takes it back. Again, changes nothing, and is told again: the call that changed it may not have got
    /// so far.
    pub async fn block(&self, caller: UserKey, other: UserId, blocked: bool) -> Result<()> {
        if blocked && other == caller.user {
            return Err(Error::field("user_id", "is the caller"));
        }
        // So that the room is locked with those of the other writes: a send that comes after this is answered sees it.
        let room = store::blocks::direct_room(self.db(), &caller, &other).await?.map(|room| caller.room(room));
        let chat = self.clone();
        // By itself: a caller that hangs up would have it written and not told.
        let work = tokio::spawn(async move {
            let (user, whom) = (caller.clone(), other.clone());
            let write =
                chat.log().write(room, 0, move |unit| Box::pin(async move { set(unit, user, whom, blocked).await }));
            write.await?;
            chat.receipts().tell_block(&caller, &other);
            chat.blocks().tell(&caller, &other).await;
            Ok(())
        });
        work.await.map_err(|error| Error::internal(&error))?
    }

    /// A page of the users that the caller has blocked, by user id.
    pub async fn list_blocked(&self, caller: &UserKey, limit: usize, token: &str) -> Result<Page<UserId>> {
        let list = ["blocks", caller.project.as_str(), caller.user.as_str()];
        let after = page::user(&self.pages().open(token, &list)?)?;
        let users = store::blocks::list(self.db(), caller, after.as_ref(), limit + 1).await?;
        Ok(Page::cut(users, limit, |last| self.pages().seal(&list, &[last.as_str()])))
    }
}

/// Writes a block, or takes it back, and what it means for the direct room.
async fn set(unit: &mut Unit, user: UserKey, other: UserId, blocked: bool) -> Result<()> {
    let changed = match blocked {
        true => insert(unit, &user, &other).await?,
        false => store::blocks::delete(&mut unit.tx, &user, &other).await?,
    };
    if changed && let Some(room) = store::rooms::find_direct(&mut unit.tx, &user, &other).await? {
        let room = user.room(room);
        // It was locked before, unless it was made since it was looked for. Only then is it sure what the other has done.
        unit.counters(&room).await?;
        let blocked = blocked || store::blocks::has_blocked(&mut unit.tx, &peer(&user, &other), &user.user).await?;
        store::blocks::mark(&mut unit.tx, &room, blocked).await?;
    }
    Ok(())
}

async fn insert(unit: &mut Unit, user: &UserKey, other: &UserId) -> Result<bool> {
    if store::blocks::has_blocked(&mut unit.tx, user, other).await? {
        return Ok(false);
    }
    if store::blocks::count(&mut unit.tx, user).await? >= MAX_BANS {
        let message = format!("the caller has blocked {MAX_BANS} users, which is the limit");
        return Err(Error::new(Reason::TooManyBans, message));
    }
    store::blocks::insert(&mut unit.tx, user, other, unit.now).await
}

fn peer(user: &UserKey, other: &UserId) -> UserKey {
    UserKey { project: user.project.clone(), user: other.clone() }
}

/// How two users stand to each other while their direct room is made: nobody changes it until the transaction ends.
pub(in crate::chat) struct Pair {
    caller: UserKey,
    peer: UserKey,
    /// Whether the caller has blocked the other.
    blocks: bool,
    /// Whether the other has blocked the caller.
    blocked: bool,
}

impl Pair {
    /// Holds both, in the order of their ids, so that two who hold the same do not wait for each other in a circle.
    pub(in crate::chat) async fn hold(unit: &mut Unit, caller: &UserKey, other: &UserId) -> Result<Self> {
        let mut pair = Self { caller: caller.clone(), peer: peer(caller, other), blocks: false, blocked: false };
        let caller_first = caller.user < *other;
        for of_caller in [caller_first, !caller_first] {
            match of_caller {
                true => pair.blocks = store::blocks::hold(&mut unit.tx, &pair.caller, &pair.peer.user).await?,
                false => pair.blocked = store::blocks::hold(&mut unit.tx, &pair.peer, &pair.caller.user).await?,
            }
        }
        Ok(pair)
    }

    /// Refuses to make the room if the other has blocked the caller.
    pub(in crate::chat) fn refuse_blocked(&self) -> Result<()> {
        match self.blocked {
            true => Err(Error::new(Reason::UserBlocked, "the user has blocked the caller")),
            false => Ok(()),
        }
    }

    /// Notes in the room that was made whether its maker has blocked the other, and ends holding them.
    pub(in crate::chat) async fn finish(self, unit: &mut Unit, room: &RoomKey) -> Result<()> {
        if self.blocks {
            store::blocks::mark(&mut unit.tx, room, true).await?;
        }
        store::blocks::let_go(&mut unit.tx, &self.caller, &self.peer.user).await?;
        store::blocks::let_go(&mut unit.tx, &self.peer, &self.caller.user).await
    }
}
