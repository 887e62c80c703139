//! Whom messages mention: members of the room, or everyone in it.

use std::collections::HashSet;

use super::{PendingSend, unit::Unit};
use crate::{
    chat::{
        message::{Mention, Message},
        policy::{self, Action},
        room::{Role, RoomKind},
        store::{self, append::NewRow, mentions::Mentioning},
    },
    error::{Error, Reason, Result},
    id::{RoomKey, UserId},
};

/// The mentioned users who are members.
pub(super) struct Mentioned(HashSet<(RoomKey, UserId)>);

impl Mentioned {
    /// Looks up all whom these sends mention; where none does, nothing is asked.
    pub(super) async fn look_up(unit: &mut Unit, sends: &[&PendingSend]) -> Result<Self> {
        let mut wanted: Vec<(RoomKey, UserId)> = Vec::new();
        for PendingSend { sender, message, .. } in sends {
            let room = || sender.room(message.room.clone());
            wanted.extend(users(&message.content.mentions).map(|user| (room(), user.clone())));
        }
        Self::of(unit, wanted).await
    }

    async fn of(unit: &mut Unit, mut wanted: Vec<(RoomKey, UserId)>) -> Result<Self> {
        if wanted.is_empty() {
            return Ok(Self(HashSet::new()));
        }
        wanted.sort_unstable();
        wanted.dedup();
        store::mentions::members(&mut unit.tx, &wanted).await.map(Self)
    }

    /// Checks that a member with `role` may mention these in a room of this kind.
    ///
    /// # Errors
    /// MENTION_INVALID, ROLE_INSUFFICIENT.
    pub(super) fn check(&self, room: &RoomKey, mentions: &[Mention], kind: RoomKind, role: Role) -> Result<()> {
        for (i, mention) in mentions.iter().enumerate() {
            match &mention.user {
                Some(user) if self.0.contains(&(room.clone(), user.clone())) => {}
                Some(_) => {
                    let field = format!("mentions[{i}].user_id");
                    return Err(Error::field_for(Reason::MentionInvalid, field, "is not a member of the room"));
                }
                // Everyone is the other one.
                None if kind == RoomKind::Direct => {}
                None => policy::require(role, Action::MentionRoom)?,
            }
        }
        Ok(())
    }
}

/// Writes whom messages mention that were just inserted.
pub(super) async fn insert(unit: &mut Unit, rows: &[NewRow]) -> Result<()> {
    let mentioning = rows.iter().filter(|row| !row.message.content.mentions.is_empty());
    let mentioning =
        mentioning.map(|NewRow { room, message, .. }| mentioning_of(room, message, &message.content.mentions));
    store::mentions::insert(&mut unit.tx, &mentioning.collect::<Vec<_>>()).await
}

/// Checks that a member with `role` may mention these in a message that they edit.
///
/// # Errors
/// MENTION_INVALID, ROLE_INSUFFICIENT.
pub(in crate::chat) async fn require_mentioned(
    unit: &mut Unit,
    room: &RoomKey,
    mentions: &[Mention],
    role: Role,
) -> Result<()> {
    let kind = unit.counters(room).await?.kind;
    let wanted = users(mentions).map(|user| (room.clone(), user.clone())).collect();
    Mentioned::of(unit, wanted).await?.check(room, mentions, kind, role)
}

/// Writes whom a message mentions from now on.
pub(in crate::chat) async fn replace_mentions(
    unit: &mut Unit,
    room: &RoomKey,
    before: &Message,
    mentions: &[Mention],
) -> Result<()> {
    if !before.content.mentions.is_empty() {
        store::mentions::remove(&mut unit.tx, room, before.seq).await?;
    }
    store::mentions::insert(&mut unit.tx, &[mentioning_of(room, before, mentions)]).await
}

fn mentioning_of<'a>(room: &'a RoomKey, message: &'a Message, mentions: &'a [Mention]) -> Mentioning<'a> {
    Mentioning { room, seq: message.seq, sender: &message.sender, mentions }
}

fn users(mentions: &[Mention]) -> impl Iterator<Item = &UserId> {
    mentions.iter().filter_map(|mention| mention.user.as_ref())
}
