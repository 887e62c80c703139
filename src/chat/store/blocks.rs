//! Who has blocked whom, and what it means for their direct room.

use super::{by_room, rooms::pair_key};
use crate::{
    clock::Timestamp,
    db::{Args, Db, Tx},
    error::Result,
    id::{RoomId, RoomKey, UserId, UserKey},
};

/// When a block was made that stands for none: see [`hold`].
const NO_BLOCK: Timestamp = Timestamp(0);

/// Whether a user has blocked another, which nobody else changes until the end of the transaction: where there is no block,
/// a row is put in its place that others wait for. [`let_go`] takes it away again, before the commit.
pub(in crate::chat) async fn hold(tx: &mut Tx, user: &UserKey, other: &UserId) -> Result<bool> {
    let statement = "INSERT INTO blocks (project_id, user_id, blocked_id, blocked_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (project_id, user_id, blocked_id) DO UPDATE SET blocked_at = blocks.blocked_at RETURNING blocked_at";
    let found: Option<(Timestamp,)> = tx.fetch_optional(statement, by_pair(user, other).with(NO_BLOCK)).await?;
    Ok(found.is_some_and(|(at,)| at != NO_BLOCK))
}

/// Takes away what [`hold`] has put there. Others go on waiting until the end of the transaction.
pub(in crate::chat) async fn let_go(tx: &mut Tx, user: &UserKey, other: &UserId) -> Result<()> {
    let statement = "DELETE FROM blocks WHERE project_id = $1 AND user_id = $2 AND blocked_id = $3 AND blocked_at = $4";
    tx.execute(statement, by_pair(user, other).with(NO_BLOCK)).await.map(drop)
}

/// The direct room of two users, if they have one.
pub(in crate::chat) async fn direct_room(db: &Db, user: &UserKey, other: &UserId) -> Result<Option<RoomId>> {
    let statement = "SELECT room_id FROM rooms WHERE project_id = $1 AND direct_key = $2";
    db.fetch_optional(statement, Args::new().with(&user.project).with(pair_key(&user.user, other))).await
}

const FIND: &str = "SELECT 1 FROM blocks WHERE project_id = $1 AND user_id = $2 AND blocked_id = $3";

fn by_pair(user: &UserKey, blocked: &UserId) -> Args {
    Args::new().with(&user.project).with(&user.user).with(blocked)
}

/// Whether a user has blocked another, in a transaction.
pub(in crate::chat) async fn has_blocked(tx: &mut Tx, user: &UserKey, other: &UserId) -> Result<bool> {
    Ok(tx.fetch_optional::<(i64,)>(FIND, by_pair(user, other)).await?.is_some())
}

/// Whether a user has blocked another.
pub(in crate::chat) async fn is_blocked(db: &Db, user: &UserKey, other: &UserId) -> Result<bool> {
    Ok(db.fetch_optional::<(i64,)>(FIND, by_pair(user, other)).await?.is_some())
}

/// How many users a user has blocked.
pub(in crate::chat) async fn count(tx: &mut Tx, user: &UserKey) -> Result<i64> {
    let statement = "SELECT COUNT(*) FROM blocks WHERE project_id = $1 AND user_id = $2";
    let count: Option<(i64,)> = tx.fetch_optional(statement, Args::new().with(&user.project).with(&user.user)).await?;
    Ok(count.map_or(0, |(n,)| n))
}

/// Writes a block; answers whether there was none.
pub(in crate::chat) async fn insert(tx: &mut Tx, user: &UserKey, other: &UserId, now: Timestamp) -> Result<bool> {
    let statement = "INSERT INTO blocks (project_id, user_id, blocked_id, blocked_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING";
    Ok(tx.execute(statement, by_pair(user, other).with(now)).await? > 0)
}

/// Takes a block back; answers whether there was one.
pub(in crate::chat) async fn delete(tx: &mut Tx, user: &UserKey, other: &UserId) -> Result<bool> {
    let statement = "DELETE FROM blocks WHERE project_id = $1 AND user_id = $2 AND blocked_id = $3";
    Ok(tx.execute(statement, by_pair(user, other)).await? > 0)
}

/// Notes with both members of a direct room whether one has blocked the other.
pub(in crate::chat) async fn mark(tx: &mut Tx, room: &RoomKey, blocked: bool) -> Result<()> {
    let statement = "UPDATE members SET peer_blocked = $3 WHERE project_id = $1 AND room_id = $2";
    tx.execute(statement, by_room(room).with(i64::from(blocked))).await.map(drop)
}

/// Whether one of the two members of a direct room has blocked the other.
pub(in crate::chat) async fn is_marked(tx: &mut Tx, room: &RoomKey, user: &UserId) -> Result<bool> {
    let statement =
        "SELECT 1 FROM members WHERE project_id = $1 AND room_id = $2 AND user_id = $3 AND peer_blocked = 1";
    Ok(tx.fetch_optional::<(i64,)>(statement, by_room(room).with(user)).await?.is_some())
}

/// The users that a user has blocked, after a user id, by user id.
pub(in crate::chat) async fn list(
    db: &Db,
    user: &UserKey,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<UserId>> {
    let statement = "SELECT blocked_id FROM blocks WHERE project_id = $1 AND user_id = $2 AND blocked_id > $3 \
         ORDER BY blocked_id LIMIT $4";
    let args =
        Args::new().with(&user.project).with(&user.user).with(after.map_or("", UserId::as_str)).with(limit as u64);
    db.fetch_all(statement, args).await
}
