//! Pinned messages.

use super::{by_room, messages};
use crate::{
    chat::pins::Pinned,
    clock::Timestamp,
    db::{Db, FromRow, Row, RowResult, Tx},
    error::Result,
    id::{RoomKey, UserId},
};

impl FromRow for Pinned {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { by: row.read()?, at: row.time()?, message: row.read()? })
    }
}

/// Whether a message is pinned.
pub(in crate::chat) async fn is_pinned(tx: &mut Tx, room: &RoomKey, seq: u64) -> Result<bool> {
    let statement = "SELECT 1 FROM pins WHERE project_id = $1 AND room_id = $2 AND seq = $3";
    Ok(tx.fetch_optional::<(i64,)>(statement, by_room(room).with(seq)).await?.is_some())
}

/// How many messages of a room are pinned.
pub(in crate::chat) async fn count(tx: &mut Tx, room: &RoomKey) -> Result<i64> {
    let statement = "SELECT COUNT(*) FROM pins WHERE project_id = $1 AND room_id = $2";
    Ok(tx.fetch_optional::<(i64,)>(statement, by_room(room)).await?.map_or(0, |(n,)| n))
}

/// Pins a message that is not, by the event of this position.
pub(in crate::chat) async fn insert(
    tx: &mut Tx,
    room: &RoomKey,
    seq: u64,
    by: &UserId,
    at: Timestamp,
    position: u64,
) -> Result<()> {
    let statement = "INSERT INTO pins (project_id, room_id, seq, pinned_by, pinned_at, position) \
         VALUES ($1, $2, $3, $4, $5, $6)";
    tx.execute(statement, by_room(room).with(seq).with(by).with(at).with(position)).await.map(drop)
}

/// Unpins a message; answers whether it was pinned.
pub(in crate::chat) async fn delete(tx: &mut Tx, room: &RoomKey, seq: u64) -> Result<bool> {
    let statement = "DELETE FROM pins WHERE project_id = $1 AND room_id = $2 AND seq = $3";
    Ok(tx.execute(statement, by_room(room).with(seq)).await? > 0)
}

/// The pinned messages of a room, the last pinned first.
pub(in crate::chat) async fn list(db: &Db, room: &RoomKey) -> Result<Vec<Pinned>> {
    let statement = format!(
        "SELECT p.pinned_by, p.pinned_at, {} FROM pins p JOIN messages m \
             ON m.project_id = p.project_id AND m.room_id = p.room_id AND m.seq = p.seq \
         WHERE p.project_id = $1 AND p.room_id = $2 ORDER BY p.position DESC",
        messages::COLUMNS
    );
    db.fetch_all(&statement, by_room(room)).await
}
