//! Where a room's history is read: a replica of the database, if it proves to be as new as is asked, else the database.

use super::by_room;
use crate::{db::Db, error::Result, id::RoomKey, telemetry::HistorySource};

/// Reads with `statements` what is at least as new as the room was at `position`, which the database itself gave.
pub(in crate::chat) async fn read<T, F>(
    db: &Db,
    room: &RoomKey,
    position: u64,
    statements: impl Fn(Db) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    if let Some(replica) = db.replica() {
        // Whatever goes wrong there, the database is asked.
        if reached(&replica, room).await.is_ok_and(|reached| reached >= Some(position))
            && let Ok(found) = statements(replica).await
        {
            db.metrics().read_history(HistorySource::Replica);
            return Ok(found);
        }
    }
    db.metrics().read_history(HistorySource::Primary);
    statements(db.clone()).await
}

/// Reads with `statements` what is at least as new as the room is now.
pub(in crate::chat) async fn read_newest<T, F>(db: &Db, room: &RoomKey, statements: impl Fn(Db) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let position = match db.replica() {
        Some(_) => reached(db, room).await?,
        None => None,
    };
    // Beyond all positions is the database itself.
    read(db, room, position.unwrap_or(u64::MAX), statements).await
}

/// How far a database is. It is asked before the rest: what is read after it is as new, or newer.
async fn reached(db: &Db, room: &RoomKey) -> Result<Option<u64>> {
    let statement = "SELECT last_position FROM rooms WHERE project_id = $1 AND room_id = $2";
    let found = db.fetch_optional::<(i64,)>(statement, by_room(room)).await?;
    Ok(found.and_then(|(position,)| position.try_into().ok()))
}
