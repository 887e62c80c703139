//! Bans from a room.

use super::{MAX_BANS, check_reason, moderator, subject};
use crate::{
    chat::{
        Chat,
        log::{Unit, not_a_member},
        membership::{exit, refuse_direct},
        page::{self, Page},
        policy::{self, Action},
        store,
    },
    clock::Timestamp,
    error::{Error, Reason, Result},
    id::{RoomId, RoomKey, UserId, UserKey},
};

/// A ban of a user from a room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the same fields, documented, are in proto/relay/chat/v1/moderation_service.proto")]
pub struct Ban {
    pub user: UserId,
    pub by: UserId,
    pub at: Timestamp,
    pub reason: String,
    pub expires_at: Option<Timestamp>,
}

impl Chat {
    /// Bans a user from a room, whether they are in it or not, and removes them if they are.
    pub async fn ban(
        &self,
        caller: UserKey,
        room: RoomId,
        user: UserId,
        reason: String,
        expires_at: Option<Timestamp>,
    ) -> Result<Ban> {
        check_reason(&reason)?;
        if user == caller.user {
            return Err(Error::field("user_id", "is the caller; LeaveRoom is for that"));
        }
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    let member = subject(unit, &key, &caller.user, &user).await?;
                    if expires_at.is_some_and(|at| at <= unit.now) {
                        return Err(Error::field("expires_at", "is not in the future"));
                    }
                    make_room(unit, &key, &user).await?;
                    if member.is_some() {
                        exit(unit, &key, &caller.user, &user, true).await?;
                    }
                    let ban = Ban { user, by: caller.user, at: unit.now, reason, expires_at };
                    store::moderation::ban(&mut unit.tx, &key, &ban).await?;
                    Ok(ban)
                })
            })
            .await
    }

    /// Lifts a ban. Without one, changes nothing.
    pub async fn unban(&self, caller: UserKey, room: RoomId, user: UserId) -> Result<()> {
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    moderator(unit, &key, &caller.user).await?;
                    store::moderation::unban(&mut unit.tx, &key, &user).await
                })
            })
            .await
    }

    /// A page of a room's bans that have not ended, by user id.
    pub async fn list_bans(
        &self,
        caller: &UserKey,
        room: RoomId,
        now: Timestamp,
        limit: usize,
        token: &str,
    ) -> Result<Page<Ban>> {
        let key = caller.room(room);
        let standing =
            store::rooms::standing(self.db(), &key, &caller.user).await?.ok_or_else(Error::room_not_found)?;
        let role = standing.role.ok_or_else(|| not_a_member(standing.kind))?;
        refuse_direct(standing.kind)?;
        policy::require(role, Action::Moderate)?;
        let list = ["bans", key.project.as_str(), key.room.as_str()];
        let after = page::user(&self.pages().open(token, &list)?)?;
        let bans = store::moderation::list_bans(self.db(), &key, after.as_ref(), now, limit + 1).await?;
        Ok(Page::cut(bans, limit, |last| self.pages().seal(&list, &[last.user.as_str()])))
    }
}

/// Checks that one more ban fits; those that have ended do not count.
async fn make_room(unit: &mut Unit, room: &RoomKey, user: &UserId) -> Result<()> {
    if store::moderation::has_ban(&mut unit.tx, room, user).await?
        || store::moderation::count_bans(&mut unit.tx, room).await? < MAX_BANS
    {
        return Ok(());
    }
    store::moderation::forget_ended_bans(&mut unit.tx, room, unit.now).await?;
    match store::moderation::count_bans(&mut unit.tx, room).await? {
        ..MAX_BANS => Ok(()),
        _ => Err(Error::new(Reason::TooManyBans, format!("the room has {MAX_BANS} bans, which is the limit"))),
    }
}

/// Refuses to let a banned user in.
pub(in crate::chat) async fn refuse_banned(unit: &mut Unit, room: &RoomKey, user: &UserId) -> Result<()> {
    match store::moderation::is_banned(&mut unit.tx, room, user, unit.now).await? {
        true => Err(Error::new(Reason::UserBanned, "the user is banned from the room")),
        false => Ok(()),
    }
}
