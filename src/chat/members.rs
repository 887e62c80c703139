//! Joining, leaving, adding, removing, promoting.

use super::{
    Chat,
    event::EventBody,
    log::Unit,
    membership::{check_members, enter, erase, exit, refuse_direct, require, require_reader},
    moderation::refuse_banned,
    page::{self, Page},
    policy::{self, Action},
    room::{Member, NewMember, Role, RoomKind, RoomSummary},
    store,
};
use crate::{
    error::{Error, Reason, Result},
    id::{RoomId, RoomKey, UserId, UserKey},
};

impl Chat {
    /// Joins a public room. Joining again changes nothing.
    pub async fn join(&self, caller: UserKey, room: RoomId) -> Result<RoomSummary> {
        let limits = self.limits();
        let (user, id) = (caller.clone(), room.clone());
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    let counters = unit.counters(&key).await?;
                    let (kind, empty) = (counters.kind, counters.member_count == 0);
                    if store::rooms::member(&mut unit.tx, &key, &caller.user).await?.is_some() {
                        return Ok(());
                    }
                    if kind != RoomKind::Public {
                        return Err(Error::room_not_found());
                    }
                    refuse_banned(unit, &key, &caller.user).await?;
                    let role = if empty { Role::Owner } else { Role::Member };
                    enter(unit, &limits, &key, &caller.user, &caller.user, role).await.map(drop)
                })
            })
            .await?;
        self.get_room(&user, id).await
    }

    /// Leaves a room. Leaving again changes nothing.
    pub async fn leave(&self, caller: UserKey, room: RoomId) -> Result<()> {
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    let counters = unit.counters(&key).await?;
                    let (kind, alone) = (counters.kind, counters.member_count == 1);
                    let Some(member) = store::rooms::member(&mut unit.tx, &key, &caller.user).await? else {
                        return if kind == RoomKind::Public { Ok(()) } else { Err(Error::room_not_found()) };
                    };
                    refuse_direct(kind)?;
                    if !alone {
                        keep_an_owner(unit, &key, &member).await?;
                    }
                    exit(unit, &key, &caller.user, &caller.user, false).await?;
                    // Nobody could ever get into it again.
                    if alone && kind == RoomKind::Private { erase(unit, &key, &caller.user).await } else { Ok(()) }
                })
            })
            .await
    }

    /// Adds users, all or none. Who is in already keeps their role.
    pub async fn add_members(&self, caller: UserKey, room: RoomId, new: Vec<NewMember>) -> Result<Vec<Member>> {
        if new.is_empty() {
            return Err(Error::field("members", "is empty"));
        }
        check_members(&new, &caller.user)?;
        let limits = self.limits();
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    let own = require(unit, &key, &caller.user, Action::AddMembers).await?;
                    refuse_direct(unit.counters(&key).await?.kind)?;
                    let mut members = Vec::with_capacity(new.len());
                    for (i, NewMember { user, role }) in new.into_iter().enumerate() {
                        members.push(match store::rooms::member(&mut unit.tx, &key, &user).await? {
                            Some(member) => member,
                            None => {
                                policy::require_rank(own.role, role)?;
                                refuse_banned(unit, &key, &user).await.map_err(|error| of_member(i, &error))?;
                                enter(unit, &limits, &key, &caller.user, &user, role).await?
                            }
                        });
                    }
                    Ok(members)
                })
            })
            .await
    }

    /// Removes a member.
    pub async fn remove_member(&self, caller: UserKey, room: RoomId, user: UserId) -> Result<()> {
        if user == caller.user {
            return Err(Error::field("user_id", "is the caller; LeaveRoom is for that"));
        }
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    let (own, member) = ranked(unit, &key, &caller.user, &user).await?;
                    let Some(member) = member else { return Ok(()) };
                    policy::require_rank(own.role, member.role)?;
                    exit(unit, &key, &caller.user, &user, false).await
                })
            })
            .await
    }

    /// Changes a member's role.
    pub async fn update_member(&self, caller: UserKey, room: RoomId, user: UserId, role: Role) -> Result<Member> {
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    let (own, member) = ranked(unit, &key, &caller.user, &user).await?;
                    let member =
                        member.ok_or_else(|| Error::new(Reason::MemberNotFound, "the user is not in the room"))?;
                    policy::require_rank(own.role, member.role)?;
                    policy::require_rank(own.role, role)?;
                    if member.role == role {
                        return Ok(member);
                    }
                    keep_an_owner(unit, &key, &member).await?;
                    store::rooms::update_member(&mut unit.tx, &key, &user, role).await?;
                    // Owners are not muted.
                    let muted_until = member.muted_until.filter(|_| role != Role::Owner);
                    let member = Member { role, muted_until, ..member };
                    unit.append(&key, &caller.user, EventBody::MemberUpdated(member.clone())).await?;
                    Ok(member)
                })
            })
            .await
    }

    /// A page of a room's members, by user id.
    pub async fn list_members(
        &self,
        caller: &UserKey,
        room: RoomId,
        limit: usize,
        token: &str,
    ) -> Result<Page<Member>> {
        let key = caller.room(room);
        require_reader(self, &key, &caller.user).await?;
        let list = ["members", key.project.as_str(), key.room.as_str()];
        let after = match self.pages().open(token, &list)?.as_slice() {
            [] => None,
            [user] => Some(UserId::parse(user, "page_token").map_err(|_| page::invalid())?),
            _ => return Err(page::invalid()),
        };
        let members = store::rooms::list_members(self.db(), &key, after.as_ref(), limit + 1).await?;
        Ok(Page::cut(members, limit, |last| self.pages().seal(&list, &[last.user.as_str()])))
    }
}

/// The caller, who must manage members, and the member they mean, if there is one.
async fn ranked(unit: &mut Unit, room: &RoomKey, caller: &UserId, user: &UserId) -> Result<(Member, Option<Member>)> {
    require(unit, room, caller, Action::Read).await?;
    refuse_direct(unit.counters(room).await?.kind)?;
    let own = require(unit, room, caller, Action::ManageMembers).await?;
    let member = store::rooms::member(&mut unit.tx, room, user).await?;
    Ok((own, member))
}

/// Why a user of a request is not let in.
fn of_member(i: usize, error: &Error) -> Error {
    match error.reason() {
        Reason::UserBanned => Error::field_for(Reason::UserBanned, format!("members[{i}].user_id"), "is banned"),
        _ => error.clone(),
    }
}

/// Refuses to take the room's only owner away.
async fn keep_an_owner(unit: &mut Unit, room: &RoomKey, member: &Member) -> Result<()> {
    if member.role == Role::Owner && store::rooms::count_owners(&mut unit.tx, room).await? <= 1 {
        return Err(Error::new(Reason::LastOwner, "make another member an owner first, or delete the room"));
    }
    Ok(())
}
