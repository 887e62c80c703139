//! Rooms and members.

use std::collections::HashMap;

use super::{by_room, from_json, known::Counters, look_up, messages, metadata_json, pairs};
use crate::{
    chat::room::{Member, Profile, Role, Room, RoomKind, RoomSummary},
    clock::Timestamp,
    db::{Args, Db, Dialect, FromRow, Row, RowResult, Tx},
    error::Result,
    id::{RoomId, RoomKey, UserId, UserKey},
};

/// The columns of a [`Room`], of a table called `r`.
const COLUMNS: &str = "r.room_id, r.kind, r.title, r.description, r.metadata, r.created_by, r.created_at, r.updated_at, \
     r.last_activity_at, r.last_seq, r.last_position, r.member_count, r.slow_mode_seconds, r.direct_key";

/// The columns of a [`Member`], of a table called `me`.
const MEMBER: &str = "me.user_id, me.role, me.joined_at, me.muted_until";

impl FromRow for RoomKind {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Self::from_number(row.int()?).ok_or_else(|| Row::corrupt("room kind"))
    }
}

impl FromRow for Role {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Self::from_number(row.int()?).ok_or_else(|| Row::corrupt("role"))
    }
}

impl FromRow for Room {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self {
            id: row.read()?,
            kind: row.read()?,
            title: row.text()?,
            description: row.text()?,
            metadata: from_json(row.json_opt()?)?,
            created_by: row.read()?,
            created_at: row.time()?,
            updated_at: row.time()?,
            last_activity_at: row.time()?,
            last_seq: row.count()?,
            last_position: row.count()?,
            member_count: row.count()?,
            slow_mode_seconds: row.count()?.try_into().unwrap_or(u32::MAX),
            pair: row.text_opt()?.and_then(|key| {
                let (a, b) = key.split_once(' ')?;
                Some((UserId::stored(a.into()), UserId::stored(b.into())))
            }),
        })
    }
}

impl FromRow for Member {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { user: row.read()?, role: row.read()?, joined_at: row.time()?, muted_until: row.time_opt()? })
    }
}

impl FromRow for RoomSummary {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        let room = row.read()?;
        let membership = match (row.text_opt()?, row.int_opt()?, row.time_opt()?, row.time_opt()?) {
            (Some(user), Some(role), Some(joined_at), muted_until) => {
                let role = Role::from_number(role).ok_or_else(|| Row::corrupt("role"))?;
                Some(Member { user: UserId::stored(user), role, joined_at, muted_until })
            }
            _ => None,
        };
        // The message's columns come last: without a message they are not read.
        let last_message = match row.int()? {
            0 => None,
            _ => Some(row.read()?),
        };
        Ok(Self { room, membership, last_message, state: None })
    }
}

/// The key under which a pair has its direct room. Ids have no spaces.
pub(super) fn pair_key(a: &UserId, b: &UserId) -> String {
    let (a, b) = if a <= b { (a, b) } else { (b, a) };
    format!("{a} {b}")
}

fn summary(rest: &str) -> String {
    format!("SELECT {COLUMNS}, {MEMBER}, CASE WHEN m.seq IS NULL THEN 0 ELSE 1 END, {} {rest}", messages::COLUMNS)
}

const LAST_MESSAGE: &str = "LEFT JOIN messages m ON m.project_id = r.project_id AND m.room_id = r.room_id \
     AND m.seq = r.last_seq AND me.user_id IS NOT NULL";

/// A room as `user` sees it in a list; with their membership, if any.
pub(in crate::chat) async fn get(db: &Db, room: &RoomKey, user: &UserId) -> Result<Option<RoomSummary>> {
    let statement = summary(&format!(
        "FROM rooms r LEFT JOIN members me ON me.project_id = r.project_id AND me.room_id = r.room_id AND me.user_id = $3 \
         {LAST_MESSAGE} WHERE r.project_id = $1 AND r.room_id = $2 AND r.deleted_at IS NULL"
    ));
    db.fetch_optional(&statement, by_room(room).with(user)).await
}

/// Where a list of rooms goes on: after this activity and id, downwards.
pub(in crate::chat) type RoomCursor = (Timestamp, RoomId);

fn below(cursor: Option<&RoomCursor>) -> (Timestamp, String) {
    match cursor {
        Some((at, room)) => (*at, room.to_string()),
        // Above every room there is.
        None => (Timestamp(i64::MAX), String::new()),
    }
}

/// The rooms of a user, the most recently active first.
pub(in crate::chat) async fn list_joined(
    db: &Db,
    user: &UserKey,
    after: Option<&RoomCursor>,
    limit: usize,
) -> Result<Vec<RoomSummary>> {
    let page = "SELECT r.room_id, r.last_activity_at FROM members me \
         JOIN rooms r ON r.project_id = me.project_id AND r.room_id = me.room_id \
         WHERE me.project_id = $1 AND me.user_id = $2 AND r.deleted_at IS NULL";
    list(db, user, page, after, limit).await
}

/// The public rooms of the user's project, the most recently active first.
pub(in crate::chat) async fn list_public(
    db: &Db,
    user: &UserKey,
    after: Option<&RoomCursor>,
    limit: usize,
) -> Result<Vec<RoomSummary>> {
    let page = "SELECT r.room_id, r.last_activity_at FROM rooms r \
         WHERE r.project_id = $1 AND r.kind = 1 AND r.deleted_at IS NULL";
    list(db, user, page, after, limit).await
}

/// Finds a page of rooms first, and then what is shown of each: rooms that are on no page cost nothing but their sorting.
async fn list(
    db: &Db,
    user: &UserKey,
    rooms: &str,
    after: Option<&RoomCursor>,
    limit: usize,
) -> Result<Vec<RoomSummary>> {
    let (at, room) = below(after);
    let statement = format!(
        "WITH page AS ({rooms} AND (r.last_activity_at, r.room_id) < ($3, $4) \
             ORDER BY r.last_activity_at DESC, r.room_id DESC LIMIT $5) {} \
         ORDER BY page.last_activity_at DESC, page.room_id DESC",
        summary(&format!(
            "FROM page JOIN rooms r ON r.project_id = $1 AND r.room_id = page.room_id \
             LEFT JOIN members me ON me.project_id = r.project_id AND me.room_id = r.room_id AND me.user_id = $2 \
             {LAST_MESSAGE}"
        ))
    );
    let args = Args::new().with(&user.project).with(&user.user).with(at).with(room).with(limit as u64);
    db.fetch_all(&statement, args).await
}

/// What a member may do and where their room stands.
pub(in crate::chat) struct Standing {
    pub(in crate::chat) kind: RoomKind,
    pub(in crate::chat) role: Option<Role>,
    pub(in crate::chat) last_seq: u64,
    pub(in crate::chat) last_position: u64,
}

impl FromRow for Standing {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        let kind = row.read()?;
        let role = row.int_opt()?.map(|r| Role::from_number(r).ok_or_else(|| Row::corrupt("role"))).transpose()?;
        Ok(Self { kind, role, last_seq: row.count()?, last_position: row.count()? })
    }
}

/// The standing of a user in a room; `None` if there is no such room.
pub(in crate::chat) async fn standing(db: &Db, room: &RoomKey, user: &UserId) -> Result<Option<Standing>> {
    let statement = "SELECT r.kind, me.role, r.last_seq, r.last_position FROM rooms r \
         LEFT JOIN members me ON me.project_id = r.project_id AND me.room_id = r.room_id AND me.user_id = $3 \
         WHERE r.project_id = $1 AND r.room_id = $2 AND r.deleted_at IS NULL";
    db.fetch_optional(statement, by_room(room).with(user)).await
}

/// The members of a room after a user id, by user id.
pub(in crate::chat) async fn list_members(
    db: &Db,
    room: &RoomKey,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<Member>> {
    let statement = format!(
        "SELECT {MEMBER} FROM members me WHERE project_id = $1 AND room_id = $2 AND user_id > $3 ORDER BY user_id LIMIT $4"
    );
    let args = by_room(room).with(after.map_or("", UserId::as_str)).with(limit as u64);
    db.fetch_all(&statement, args).await
}

/// A membership of a user as a stream needs it.
#[derive(Clone)]
pub(in crate::chat) struct Followed {
    pub(in crate::chat) room: RoomId,
    pub(in crate::chat) last_position: u64,
    pub(in crate::chat) pruned_position: u64,
}

impl FromRow for Followed {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { room: row.read()?, last_position: row.count()?, pruned_position: row.count()? })
    }
}

/// All rooms of these users, with where they stand. At least one user.
pub(in crate::chat) async fn followed(db: &Db, users: &[UserKey]) -> Result<HashMap<UserKey, Vec<Followed>>> {
    let names = users.iter().map(|user| (user.project.as_str(), user.user.as_str()));
    let (wanted, args) = pairs(db.dialect(), "project_id, user_id", names);
    let members = "me.project_id = w.project_id AND me.user_id = w.user_id";
    let members = look_up(db.dialect(), "JOIN", "members", "me", members);
    let rooms = "r.project_id = me.project_id AND r.room_id = me.room_id AND r.deleted_at IS NULL";
    let rooms = look_up(db.dialect(), "JOIN", "rooms", "r", rooms);
    let statement = format!(
        "{wanted} SELECT DISTINCT me.project_id, me.user_id, r.room_id, r.last_position, r.pruned_position \
         FROM wanted w {members} {rooms}"
    );
    let mut rooms: HashMap<UserKey, Vec<Followed>> = HashMap::new();
    for (user, followed) in db.fetch_all::<(UserKey, Followed)>(&statement, args).await? {
        rooms.entry(user).or_default().push(followed);
    }
    Ok(rooms)
}

/// Where rooms stand: the newest position of each of these that there are. At least one.
pub(in crate::chat) async fn positions(db: &Db, rooms: &[RoomKey]) -> Result<Vec<(RoomKey, u64)>> {
    let names = rooms.iter().map(|key| (key.project.as_str(), key.room.as_str()));
    let (wanted, args) = pairs(db.dialect(), "project_id, room_id", names);
    let rooms = "r.project_id = w.project_id AND r.room_id = w.room_id AND r.deleted_at IS NULL";
    let rooms = look_up(db.dialect(), "JOIN", "rooms", "r", rooms);
    let statement = format!("{wanted} SELECT r.project_id, r.room_id, r.last_position FROM wanted w {rooms}");
    let found: Vec<(RoomKey, (i64,))> = db.fetch_all(&statement, args).await?;
    Ok(found.into_iter().map(|(room, (last,))| (room, u64::try_from(last).unwrap_or_default())).collect())
}

/// The room.
pub(in crate::chat) async fn current(db: &Db, room: &RoomKey) -> Result<Option<Room>> {
    let statement =
        format!("SELECT {COLUMNS} FROM rooms r WHERE r.project_id = $1 AND r.room_id = $2 AND r.deleted_at IS NULL");
    db.fetch_optional(&statement, by_room(room)).await
}

/// The room in a transaction.
pub(in crate::chat) async fn load(tx: &mut Tx, room: &RoomKey) -> Result<Option<Room>> {
    let statement =
        format!("SELECT {COLUMNS} FROM rooms r WHERE r.project_id = $1 AND r.room_id = $2 AND r.deleted_at IS NULL");
    tx.fetch_optional(&statement, by_room(room)).await
}

impl FromRow for Counters {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self {
            kind: row.read()?,
            last_seq: row.count()?,
            last_position: row.count()?,
            member_count: row.count()?,
            last_activity_at: row.time()?,
            deleted: false,
        })
    }
}

/// The room's counters in a transaction that is about to move them: nobody else does, until it ends.
pub(in crate::chat) async fn load_counters(tx: &mut Tx, room: &RoomKey) -> Result<Option<Counters>> {
    let lock = match tx.dialect() {
        Dialect::ValueLists => "",
        Dialect::ArraysAndLocks => "FOR NO KEY UPDATE",
    };
    let statement = format!(
        "SELECT kind, last_seq, last_position, member_count, last_activity_at FROM rooms \
         WHERE project_id = $1 AND room_id = $2 AND deleted_at IS NULL {lock}"
    );
    tx.fetch_optional(&statement, by_room(room)).await
}

/// The id of a pair's direct room.
pub(in crate::chat) async fn find_direct(tx: &mut Tx, user: &UserKey, other: &UserId) -> Result<Option<RoomId>> {
    let statement = "SELECT room_id FROM rooms WHERE project_id = $1 AND direct_key = $2";
    tx.fetch_optional(statement, Args::new().with(&user.project).with(pair_key(&user.user, other))).await
}

/// Inserts a room without members and events; `false` if the id was ever taken.
pub(in crate::chat) async fn insert(tx: &mut Tx, room: &RoomKey, new: &Room) -> Result<bool> {
    let statement = "INSERT INTO rooms (project_id, room_id, kind, title, description, metadata, direct_key, created_by, \
             created_at, updated_at, last_activity_at, last_seq, last_position, member_count) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $9, 0, 0, 0) ON CONFLICT DO NOTHING";
    let args = by_room(room)
        .with(new.kind.number())
        .with(new.title.as_str())
        .with(new.description.as_str())
        .with_json(metadata_json(&new.metadata))
        .with(new.pair.as_ref().map(|(a, b)| pair_key(a, b)))
        .with(&new.created_by)
        .with(new.created_at);
    Ok(tx.execute(statement, args).await? > 0)
}

/// Writes what a room says of itself.
pub(in crate::chat) async fn update(tx: &mut Tx, room: &RoomKey, profile: &Profile, now: Timestamp) -> Result<()> {
    let statement = "UPDATE rooms SET title = $3, description = $4, metadata = $5, updated_at = $6, slow_mode_seconds = $7 \
         WHERE project_id = $1 AND room_id = $2";
    let args = by_room(room)
        .with(profile.title.as_str())
        .with(profile.description.as_str())
        .with_json(metadata_json(&profile.metadata))
        .with(now)
        .with(profile.slow_mode_seconds);
    tx.execute(statement, args).await.map(drop)
}

/// Marks a room as deleted and takes its members off it. Its messages and events go later, with the sweep.
pub(in crate::chat) async fn delete(tx: &mut Tx, room: &RoomKey, now: Timestamp) -> Result<()> {
    let statement = "UPDATE rooms SET deleted_at = $3, title = '', description = '', metadata = NULL \
         WHERE project_id = $1 AND room_id = $2";
    tx.execute(statement, by_room(room).with(now)).await?;
    tx.execute("DELETE FROM members WHERE project_id = $1 AND room_id = $2", by_room(room)).await.map(drop)
}

/// A member in a transaction.
pub(in crate::chat) async fn member(tx: &mut Tx, room: &RoomKey, user: &UserId) -> Result<Option<Member>> {
    let statement = format!("SELECT {MEMBER} FROM members me WHERE project_id = $1 AND room_id = $2 AND user_id = $3");
    tx.fetch_optional(&statement, by_room(room).with(user)).await
}

/// How many owners a room has.
pub(in crate::chat) async fn count_owners(tx: &mut Tx, room: &RoomKey) -> Result<i64> {
    let statement = "SELECT COUNT(*) FROM members WHERE project_id = $1 AND room_id = $2 AND role = $3";
    let count: Option<(i64,)> = tx.fetch_optional(statement, by_room(room).with(Role::Owner.number())).await?;
    Ok(count.map_or(0, |(n,)| n))
}

/// How many rooms a user is a member of.
pub(in crate::chat) async fn count_rooms(tx: &mut Tx, user: &UserKey) -> Result<i64> {
    let statement = "SELECT COUNT(*) FROM members WHERE project_id = $1 AND user_id = $2";
    let count: Option<(i64,)> = tx.fetch_optional(statement, Args::new().with(&user.project).with(&user.user)).await?;
    Ok(count.map_or(0, |(n,)| n))
}

/// Inserts a member, who has got and read what the room has up to `newest`; `last_sent_at` is when they last sent in slow
/// mode, if they were here before.
pub(in crate::chat) async fn insert_member(
    tx: &mut Tx,
    room: &RoomKey,
    member: &Member,
    newest: u64,
    last_sent_at: Option<Timestamp>,
) -> Result<()> {
    let statement = "INSERT INTO members \
             (project_id, room_id, user_id, role, joined_at, muted_until, last_sent_at, delivered_seq, read_seq, joined_seq) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $8)";
    let args = by_room(room)
        .with(&member.user)
        .with(member.role.number())
        .with(member.joined_at)
        .with(member.muted_until)
        .with(last_sent_at)
        .with(newest);
    tx.execute(statement, args).await.map(drop)
}

/// Changes a member's role. Who becomes an owner may speak.
pub(in crate::chat) async fn update_member(tx: &mut Tx, room: &RoomKey, user: &UserId, role: Role) -> Result<()> {
    let lift = if role == Role::Owner { ", muted_until = NULL" } else { "" };
    let statement =
        format!("UPDATE members SET role = $4{lift} WHERE project_id = $1 AND room_id = $2 AND user_id = $3");
    tx.execute(&statement, by_room(room).with(user).with(role.number())).await.map(drop)
}

/// Removes a member.
pub(in crate::chat) async fn delete_member(tx: &mut Tx, room: &RoomKey, user: &UserId) -> Result<()> {
    let statement = "DELETE FROM members WHERE project_id = $1 AND room_id = $2 AND user_id = $3";
    tx.execute(statement, by_room(room).with(user)).await.map(drop)
}
