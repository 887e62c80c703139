//! The steps that operations on rooms and members share: who is in, who comes in, who goes, what ends.

use super::{
    Chat, Limits,
    event::EventBody,
    log::{Unit, not_a_member, refuse_blocked, refuse_muted},
    policy::{self, Action},
    room::{MAX_NEW_MEMBERS, Member, NewMember, Role, RoomKind},
    store,
};
use crate::{
    error::{Error, Reason, Result},
    id::{RoomKey, UserId},
};

/// The caller's membership, checked against the policy table.
pub(super) async fn require(unit: &mut Unit, room: &RoomKey, user: &UserId, action: Action) -> Result<Member> {
    let kind = unit.counters(room).await?.kind;
    let member = store::rooms::member(&mut unit.tx, room, user).await?.ok_or_else(|| not_a_member(kind))?;
    policy::require(member.role, action)?;
    Ok(member)
}

/// Refuses a member who may only read for now: who is muted, and both where one has blocked the other.
pub(super) async fn refuse_silenced(unit: &mut Unit, room: &RoomKey, member: &Member) -> Result<()> {
    refuse_muted(member.muted_until, unit.now)?;
    match unit.counters(room).await?.kind {
        RoomKind::Direct => refuse_blocked(store::blocks::is_marked(&mut unit.tx, room, &member.user).await?),
        RoomKind::Public | RoomKind::Private => Ok(()),
    }
}

/// The caller's membership, checked against the policy table, outside a transaction that writes.
pub(super) async fn require_reader(chat: &Chat, room: &RoomKey, user: &UserId) -> Result<store::rooms::Standing> {
    let standing = store::rooms::standing(chat.db(), room, user).await?.ok_or_else(Error::room_not_found)?;
    let role = standing.role.ok_or_else(|| not_a_member(standing.kind))?;
    policy::require(role, Action::Read)?;
    Ok(standing)
}

/// Checks users to add.
pub(super) fn check_members(members: &[NewMember], caller: &UserId) -> Result<()> {
    if members.len() > MAX_NEW_MEMBERS {
        let got = members.len();
        return Err(Error::field("members", format!("has {got} entries, at most {MAX_NEW_MEMBERS} are allowed")));
    }
    for (i, member) in members.iter().enumerate() {
        let twice = members[..i].iter().any(|earlier| earlier.user == member.user);
        if twice || member.user == *caller {
            return Err(Error::field(format!("members[{i}].user_id"), "is listed twice, or is the caller"));
        }
    }
    Ok(())
}

/// Direct rooms stay as they are.
pub(super) fn refuse_direct(kind: RoomKind) -> Result<()> {
    match kind {
        RoomKind::Direct => Err(Error::new(Reason::RoomIsDirect, "a direct room can be neither changed nor deleted")),
        RoomKind::Public | RoomKind::Private => Ok(()),
    }
}

/// Puts a user into a room and tells everyone. A mute, or the wait of slow mode, that they left with still holds.
pub(super) async fn enter(
    unit: &mut Unit,
    limits: &Limits,
    room: &RoomKey,
    actor: &UserId,
    user: &UserId,
    role: Role,
) -> Result<Member> {
    if store::rooms::count_rooms(&mut unit.tx, &room.user(user)).await? >= limits.rooms_per_user as i64 {
        let limit = limits.rooms_per_user;
        return Err(Error::new(Reason::TooManyRooms, format!("{user} is in {limit} rooms, which is the limit")));
    }
    let counters = unit.counters(room).await?;
    if counters.member_count >= limits.members_per_room as u64 {
        let limit = limits.members_per_room;
        return Err(Error::new(Reason::TooManyMembers, format!("the room has {limit} members, which is the limit")));
    }
    counters.member_count += 1;
    let newest = counters.last_seq;
    let kept = store::moderation::take_restraint(&mut unit.tx, room, user).await?;
    let muted_until = kept.muted_until.filter(|until| *until > unit.now && role != Role::Owner);
    let member = Member { user: user.clone(), role, joined_at: unit.now, muted_until };
    let joined = unit.append(room, actor, EventBody::MemberJoined(member.clone())).await?;
    store::rooms::insert_member(&mut unit.tx, room, &member, joined, newest, kept.last_sent_at).await?;
    Ok(member)
}

/// Takes a user out of a room and tells everyone; also whether they were banned by it.
pub(super) async fn exit(unit: &mut Unit, room: &RoomKey, actor: &UserId, user: &UserId, banned: bool) -> Result<()> {
    store::moderation::keep_restraint(&mut unit.tx, room, user, unit.now).await?;
    store::rooms::delete_member(&mut unit.tx, room, user).await?;
    let counters = unit.counters(room).await?;
    counters.member_count = counters.member_count.saturating_sub(1);
    unit.append(room, actor, EventBody::MemberLeft { user: user.clone(), banned }).await.map(drop)
}

/// Deletes a room in the transaction: nothing is found in it from here on.
pub(super) async fn erase(unit: &mut Unit, key: &RoomKey, actor: &UserId) -> Result<()> {
    unit.append(key, actor, EventBody::RoomDeleted).await?;
    let counters = unit.counters(key).await?;
    counters.member_count = 0;
    counters.deleted = true;
    store::rooms::delete(&mut unit.tx, key, unit.now).await
}
