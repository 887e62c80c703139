//! Lanes: how far each has come. Those of a batch of sends are read and written with what else it needs: see `known` and `append`.

use super::{by_room, from_json, look_up, padded, placeholders, shaped, table};
use crate::{
    chat::{
        lane::{Lane, LaneKey},
        ranges::Ranges,
    },
    clock::Timestamp,
    db::{Args, Db, Dialect, FromRow, Row, RowResult, Tx},
    error::Result,
};

/// The lanes of one sender in a room that are remembered.
pub(in crate::chat) const MAX_LANES: u64 = 64;

/// The lane that comes to `last`, with what else the row says of it.
pub(super) fn stored(last: u64, row: &mut Row<'_>) -> RowResult<Lane> {
    Ok(Lane { last, missing: from_json(row.json_opt()?)?, skipped: from_json(row.json_opt()?)? })
}

impl FromRow for Lane {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        let last = row.count()?;
        stored(last, row)
    }
}

/// A lane, in a transaction that is about to move it; `None` for one that nobody has used yet.
pub(in crate::chat) async fn read(tx: &mut Tx, key: &LaneKey) -> Result<Option<Lane>> {
    let statement = "SELECT last_client_seq, missing, skipped FROM lanes \
         WHERE project_id = $1 AND room_id = $2 AND sender_id = $3 AND lane_id = $4";
    tx.fetch_optional(statement, by_room(&key.room).with(&key.sender).with(&*key.lane)).await
}

/// How far these lanes have come, as `(which of them, the last number)`; without those that nobody has used yet.
pub(in crate::chat) async fn last(db: &Db, keys: &[&LaneKey]) -> Result<Vec<(usize, u64)>> {
    let (statement, args) = last_of(db.dialect(), keys);
    let rows: Vec<((i64,), (i64,))> = db.fetch_all(&statement, args).await?;
    let count = |n: i64| u64::try_from(n).unwrap_or_default();
    Ok(rows.into_iter().map(|((index,), (last,))| (count(index) as usize, count(last))).collect())
}

/// The statement of [`last`], and its values.
fn last_of(dialect: Dialect, keys: &[&LaneKey]) -> (String, Args) {
    const TYPES: [&str; 5] = ["int8", "text", "text", "text", "text"];
    let (wanted, n) = table(dialect, &TYPES, keys.len(), 0);
    let condition = "l.project_id = w.project_id AND l.room_id = w.room_id AND l.sender_id = w.sender_id \
         AND l.lane_id = w.lane_id";
    let statement = format!(
        "WITH wanted (idx, project_id, room_id, sender_id, lane_id) AS {wanted} \
         SELECT w.idx, l.last_client_seq FROM wanted w {}",
        look_up(dialect, "JOIN", "lanes", "l", condition)
    );
    let mut args = Args::with_capacity(n * TYPES.len());
    for i in 0..n {
        let at = i.min(keys.len() - 1);
        args.push(at as i64);
        push_key(&mut args, keys[at]);
    }
    (statement, shaped(dialect, args, TYPES.len()))
}

fn push_key(args: &mut Args, key: &LaneKey) {
    args.push(&key.room.project);
    args.push(&key.room.room);
    args.push(&key.sender);
    args.push(&*key.lane);
}

/// Adds lanes, each once, or writes those that are there.
pub(in crate::chat) async fn write(tx: &mut Tx, lanes: &[(&LaneKey, &Lane)], now: Timestamp) -> Result<()> {
    if lanes.is_empty() {
        return Ok(());
    }
    let (statement, args) = writing(tx.dialect(), lanes, now);
    tx.execute(&statement, args).await.map(drop)
}

/// The statement of [`write()`], and its values.
pub(super) fn writing(dialect: Dialect, lanes: &[(&LaneKey, &Lane)], now: Timestamp) -> (String, Args) {
    let (rows, args) = rows(dialect, lanes, now, 0);
    let statement = format!(
        "INSERT INTO lanes (project_id, room_id, sender_id, lane_id, last_client_seq, missing, skipped, updated_at) \
         SELECT * FROM {rows} \
         ON CONFLICT (project_id, room_id, sender_id, lane_id) DO UPDATE SET last_client_seq = excluded.last_client_seq, \
             missing = excluded.missing, skipped = excluded.skipped, updated_at = excluded.updated_at"
    );
    (statement, args)
}

/// For Postgres, the statement that moves lanes which are there, each once, and its values; it follows on `before` others.
/// It costs half of what [`write()`] does.
pub(super) fn moving(lanes: &[(&LaneKey, &Lane)], now: Timestamp, before: usize) -> (String, Args) {
    let (rows, args) = rows(Dialect::ArraysAndLocks, lanes, now, before);
    let statement = format!(
        "UPDATE lanes SET last_client_seq = n.last_client_seq, missing = n.missing, skipped = n.skipped, \
             updated_at = n.updated_at \
         FROM {rows} AS n (project_id, room_id, sender_id, lane_id, last_client_seq, missing, skipped, updated_at) \
         WHERE lanes.project_id = n.project_id AND lanes.room_id = n.room_id \
             AND lanes.sender_id = n.sender_id AND lanes.lane_id = n.lane_id"
    );
    (statement, args)
}

/// Lanes as a table, and its values.
fn rows(dialect: Dialect, lanes: &[(&LaneKey, &Lane)], now: Timestamp, before: usize) -> (String, Args) {
    const TYPES: [&str; 8] = ["text", "text", "text", "text", "int8", "jsonb", "jsonb", "timestamptz"];
    const WIDTH: usize = TYPES.len();
    let (table, n) = match dialect {
        Dialect::ValueLists => {
            let n = padded(lanes.len());
            (format!("(VALUES {}) WHERE column1 IS NOT NULL", placeholders(n, WIDTH)), n)
        }
        Dialect::ArraysAndLocks => {
            let arrays = TYPES.iter().zip(before + 1..).map(|(kind, number)| format!("${number}::{kind}[]"));
            (format!("UNNEST({})", arrays.collect::<Vec<_>>().join(",")), lanes.len())
        }
    };
    let mut args = Args::with_capacity(n * WIDTH);
    for (key, lane) in lanes {
        push_key(&mut args, key);
        args.push(lane.last);
        args.push_json(json(&lane.missing));
        args.push_json(json(&lane.skipped));
        args.push(now);
    }
    for _ in lanes.len() * WIDTH..n * WIDTH {
        args.push(None::<i64>);
    }
    (table, shaped(dialect, args, WIDTH))
}

fn json(ranges: &Ranges) -> Option<String> {
    (!ranges.is_empty()).then(|| serde_json::to_string(ranges).unwrap_or_default())
}

/// Forgets the lanes of this one's sender and room that were used least recently, but for [`MAX_LANES`].
pub(in crate::chat) async fn forget_oldest(tx: &mut Tx, key: &LaneKey) -> Result<()> {
    let statement = "DELETE FROM lanes WHERE project_id = $1 AND room_id = $2 AND sender_id = $3 AND lane_id NOT IN \
         (SELECT lane_id FROM lanes WHERE project_id = $1 AND room_id = $2 AND sender_id = $3 \
          ORDER BY updated_at DESC, lane_id DESC LIMIT $4)";
    tx.execute(statement, by_room(&key.room).with(&key.sender).with(MAX_LANES)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        chat::store::events::erase_deleted,
        config::{self, Overrides},
        id::{ProjectId, RoomId, RoomKey, UserId},
    };

    fn key(room: &str, lane: &str) -> LaneKey {
        let room = RoomKey {
            project: ProjectId::parse("default", "project").unwrap(),
            room: RoomId::parse(room, "room").unwrap(),
        };
        LaneKey { room, sender: UserId::parse("ana", "user").unwrap(), lane: lane.into() }
    }

    #[tokio::test]
    async fn lanes_are_kept_as_they_are_until_their_room_is_erased() {
        let config = config::load(&Overrides::default(), std::iter::empty()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&config.database, folder.path(), Arc::default()).await.unwrap();
        let (phone, desk, other) = (key("r", "phone"), key("r", "desk"), key("q", "phone"));
        let mut lane = Lane { last: 7, ..Lane::default() };
        lane.missing.insert(2, 3);
        lane.skipped.insert(9, 12);
        let mut tx = db.begin().await.unwrap();
        let rooms = "INSERT INTO rooms (project_id, room_id, kind, title, description, created_by, created_at, updated_at, \
             deleted_at, last_activity_at, last_seq, last_position, member_count) \
             VALUES ('default', 'r', 1, '', '', 'ana', 1, 1, 1, 1, 0, 0, 0)";
        tx.execute(rooms, Args::new()).await.unwrap();
        let moved = [(&phone, &lane), (&desk, &Lane::default()), (&other, &lane)];
        for now in [1, 2] {
            write(&mut tx, &moved, Timestamp(now)).await.unwrap();
        }
        let none = key("r", "none");
        for (key, stored) in [(&none, None), (&desk, Some(Lane::default())), (&phone, Some(lane.clone()))] {
            assert_eq!(read(&mut tx, key).await.unwrap(), stored);
        }
        while erase_deleted(&mut tx, Timestamp(3), 1).await.unwrap() {}
        for (key, stored) in [(&phone, None), (&desk, None), (&other, Some(lane))] {
            assert_eq!(read(&mut tx, key).await.unwrap(), stored);
        }
        tx.commit().await.unwrap();
        assert_eq!(last(&db, &[&phone, &other]).await.unwrap(), [(1, 7)]);
    }
}
