//! Making, reading, changing and deleting rooms.

use std::sync::Arc;

use super::{
    Chat, Limits,
    event::EventBody,
    log::Unit,
    membership::{check_members, enter, erase, refuse_direct, require},
    moderation::Pair,
    page::{self, Page},
    policy::Action,
    room::{NewRoom, Profile, ProfileChange, Role, Room, RoomKind, RoomSummary},
    store,
};
use crate::{
    clock::Timestamp,
    error::{Error, Reason, Result},
    id::{RoomId, RoomKey, UserId, UserKey},
};

/// Which rooms to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomScope {
    /// Those that the caller is a member of.
    Joined,
    /// All public ones of the project.
    Public,
}

impl Chat {
    /// Makes a room with the caller as its owner.
    ///
    /// # Errors
    /// FIELD_INVALID, ROOM_EXISTS, TOO_MANY_ROOMS.
    pub async fn create_room(&self, caller: UserKey, new: NewRoom) -> Result<Room> {
        new.profile.check()?;
        check_members(&new.members, &caller.user)?;
        if new.kind == RoomKind::Direct {
            return Err(Error::field("kind", "direct rooms are made by GetDirectRoom"));
        }
        let limits = self.limits();
        let id = new.id.unwrap_or_else(RoomId::generate);
        let key = caller.room(id.clone());
        self.log()
            .write(Some(key.clone()), new.profile.weight(), move |unit| {
                Box::pin(async move {
                    let room = blank(id, new.kind, new.profile, &caller.user, unit.now, None);
                    if !store::rooms::insert(&mut unit.tx, &key, &room).await? {
                        return Err(Error::new(
                            Reason::RoomExists,
                            "room_id: is taken, or was by a room since deleted",
                        ));
                    }
                    enter(unit, &limits, &key, &caller.user, &caller.user, Role::Owner).await?;
                    for member in new.members {
                        enter(unit, &limits, &key, &caller.user, &member.user, member.role).await?;
                    }
                    current(unit, &key).await
                })
            })
            .await
    }

    /// A room that the caller is in, or that is public.
    pub async fn get_room(&self, caller: &UserKey, room: RoomId) -> Result<RoomSummary> {
        let found = store::rooms::get(self.db(), &caller.room(room), &caller.user).await?;
        let visible = found.filter(|s| s.membership.is_some() || s.room.kind == RoomKind::Public);
        let mut found = self.with_states(caller, visible.into_iter().collect()).await?;
        found.pop().ok_or_else(Error::room_not_found)
    }

    /// A page of rooms, the most recently active first.
    pub async fn list_rooms(
        &self,
        caller: &UserKey,
        scope: RoomScope,
        limit: usize,
        token: &str,
    ) -> Result<Page<RoomSummary>> {
        let list = ["rooms", caller.project.as_str(), caller.user.as_str(), &format!("{scope:?}")];
        let after = match self.pages().open(token, &list)?.as_slice() {
            [] => None,
            [at, room] => Some((
                Timestamp(at.parse().map_err(|_| page::invalid())?),
                RoomId::parse(room, "page_token").map_err(|_| page::invalid())?,
            )),
            _ => return Err(page::invalid()),
        };
        let rooms = match scope {
            RoomScope::Joined => store::rooms::list_joined(self.db(), caller, after.as_ref(), limit + 1).await?,
            RoomScope::Public => store::rooms::list_public(self.db(), caller, after.as_ref(), limit + 1).await?,
        };
        let fits = page::fitting(&rooms, RoomSummary::weight).min(limit);
        let page = Page::cut(rooms, fits, |last| {
            self.pages().seal(&list, &[&last.room.last_activity_at.0.to_string(), last.room.id.as_str()])
        });
        let Page { items, next_page_token } = page;
        Ok(Page { items: self.with_states(caller, items).await?, next_page_token })
    }

    /// Changes what a room says of itself.
    pub async fn update_room(&self, caller: UserKey, room: RoomId, change: ProfileChange) -> Result<Room> {
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    require(unit, &key, &caller.user, Action::Read).await?;
                    refuse_direct(unit.counters(&key).await?.kind)?;
                    require(unit, &key, &caller.user, Action::UpdateRoom).await?;
                    let old = current(unit, &key).await?;
                    let before = Profile {
                        title: old.title,
                        description: old.description,
                        metadata: old.metadata,
                        slow_mode_seconds: old.slow_mode_seconds,
                    };
                    let profile = Profile {
                        title: change.title.unwrap_or_else(|| before.title.clone()),
                        description: change.description.unwrap_or_else(|| before.description.clone()),
                        metadata: change.metadata.unwrap_or_else(|| before.metadata.clone()),
                        slow_mode_seconds: change.slow_mode_seconds.unwrap_or(before.slow_mode_seconds),
                    };
                    profile.check()?;
                    if profile == before {
                        return current(unit, &key).await;
                    }
                    store::rooms::update(&mut unit.tx, &key, &profile, unit.now).await?;
                    let mut room = current(unit, &key).await?;
                    room.last_position += 1;
                    unit.append(&key, &caller.user, EventBody::RoomUpdated(Arc::new(room.clone()))).await?;
                    Ok(room)
                })
            })
            .await
    }

    /// Deletes a room for everyone.
    pub async fn delete_room(&self, caller: UserKey, room: RoomId) -> Result<()> {
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    let kind = unit.counters(&key).await?.kind;
                    require(unit, &key, &caller.user, Action::Read).await?;
                    refuse_direct(kind)?;
                    require(unit, &key, &caller.user, Action::DeleteRoom).await?;
                    erase(unit, &key, &caller.user).await
                })
            })
            .await
    }

    /// The direct room of the caller and another user, and whether it was made by this call.
    pub async fn direct_room(&self, caller: UserKey, other: UserId) -> Result<(RoomSummary, bool)> {
        if other == caller.user {
            return Err(Error::field("user_id", "is the caller; a direct room has two users"));
        }
        let limits = self.limits();
        let user = caller.clone();
        // If there is none yet.
        let id = RoomId::generate();
        let key = caller.room(id.clone());
        let (room, created) = self
            .log()
            .write(Some(key), 0, move |unit| {
                Box::pin(async move {
                    if let Some(room) = store::rooms::find_direct(&mut unit.tx, &caller, &other).await? {
                        return Ok((room, false));
                    }
                    make_direct(unit, &limits, &caller, &other, id).await
                })
            })
            .await?;
        Ok((self.get_room(&user, room).await?, created))
    }
}

/// Makes the direct room of two users, or finds the one that somebody else made since it was looked for; answers whether it
/// was made.
async fn make_direct(
    unit: &mut Unit,
    limits: &Limits,
    caller: &UserKey,
    other: &UserId,
    id: RoomId,
) -> Result<(RoomId, bool)> {
    let blocks = Pair::hold(unit, caller, other).await?;
    let found = store::rooms::find_direct(&mut unit.tx, caller, other).await?;
    let created = found.is_none();
    let key = caller.room(found.unwrap_or(id));
    if created {
        blocks.refuse_blocked()?;
        let pair = Some((caller.user.clone(), other.clone()));
        let profile = Profile::default();
        let room = blank(key.room.clone(), RoomKind::Direct, profile, &caller.user, unit.now, pair);
        if !store::rooms::insert(&mut unit.tx, &key, &room).await? {
            return Err(Error::internal(&"a direct room is neither there nor can it be made"));
        }
        for user in [&caller.user, other] {
            enter(unit, limits, &key, &caller.user, user, Role::Member).await?;
        }
    }
    blocks.finish(unit, &key).await?;
    Ok((key.room, created))
}

fn blank(
    id: RoomId,
    kind: RoomKind,
    profile: Profile,
    creator: &UserId,
    now: Timestamp,
    pair: Option<(UserId, UserId)>,
) -> Room {
    let Profile { title, description, metadata, slow_mode_seconds } = profile;
    Room {
        id,
        kind,
        title,
        description,
        metadata,
        created_by: creator.clone(),
        created_at: now,
        updated_at: now,
        last_activity_at: now,
        last_seq: 0,
        last_position: 0,
        member_count: 0,
        slow_mode_seconds,
        pair,
    }
}

/// The room as it stands in the transaction, with the counters that are not written yet.
async fn current(unit: &mut Unit, key: &RoomKey) -> Result<Room> {
    let mut room = store::rooms::load(&mut unit.tx, key).await?.ok_or_else(Error::room_not_found)?;
    let counters = unit.counters(key).await?;
    room.last_seq = counters.last_seq;
    room.last_position = counters.last_position;
    room.member_count = counters.member_count;
    room.last_activity_at = counters.last_activity_at;
    Ok(room)
}
