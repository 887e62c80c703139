//! Keeping order: bans and mutes in rooms, blocks between users, reports to the project's admins.

mod bans;
mod blocks;
mod mutes;
mod reports;

pub use bans::Ban;
pub(super) use bans::refuse_banned;
pub use blocks::Blocks;
pub(super) use blocks::Pair;
pub use reports::{Category, NewReport, Report, Resolution};

use super::{
    log::Unit,
    membership::{refuse_direct, require},
    message::{MAX_REASON_BYTES, at_most},
    policy::{self, Action},
    room::{Member, Role},
    store,
};
use crate::{
    error::{Error, Reason, Result},
    id::{RoomKey, UserId},
};

/// The most bans of a room, and the most users that one blocks.
const MAX_BANS: i64 = 10_000;

/// Checks why something was done, as somebody says it.
pub(super) fn check_reason(reason: &str) -> Result<()> {
    at_most("reason", reason.len(), MAX_REASON_BYTES)?;
    if reason.chars().any(char::is_control) {
        return Err(Error::field("reason", "has a control character"));
    }
    Ok(())
}

/// Checks that the caller moderates the room.
async fn moderator(unit: &mut Unit, room: &RoomKey, caller: &UserId) -> Result<Member> {
    require(unit, room, caller, Action::Read).await?;
    refuse_direct(unit.counters(room).await?.kind)?;
    require(unit, room, caller, Action::Moderate).await
}

/// The member whom the caller is about to ban or mute, if the user is one: not an owner, and nobody above the caller.
async fn subject(unit: &mut Unit, room: &RoomKey, caller: &UserId, user: &UserId) -> Result<Option<Member>> {
    let own = moderator(unit, room, caller).await?;
    let Some(member) = store::rooms::member(&mut unit.tx, room, user).await? else { return Ok(None) };
    if member.role == Role::Owner {
        return Err(Error::field_for(
            Reason::MemberIsOwner,
            "user_id",
            "is an owner; owners are neither banned nor muted",
        ));
    }
    policy::require_rank(own.role, member.role)?;
    Ok(Some(member))
}
