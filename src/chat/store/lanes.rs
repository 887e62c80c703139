//! Lanes: how far each has come. Those of a batch are read by one statement and written by one.

use super::{by_room, from_json, look_up, padded, placeholders};
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

/// A lane, and which of those that were asked for it is.
struct Found {
    index: usize,
    lane: Lane,
}

impl FromRow for Found {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        let index = row.count()? as usize;
        let last = row.count()?;
        Ok(Self {
            index,
            lane: Lane { last, missing: from_json(row.json_opt()?)?, skipped: from_json(row.json_opt()?)? },
        })
    }
}

/// The lanes of these names, in a transaction that is about to move them; `None` for one that nobody has used yet.
pub(in crate::chat) async fn read(tx: &mut Tx, keys: &[&LaneKey]) -> Result<Vec<Option<Lane>>> {
    let (statement, args) = wanted(tx.dialect(), keys, "w.idx, l.last_client_seq, l.missing, l.skipped");
    let rows: Vec<Found> = tx.fetch_all(&statement, args).await?;
    let mut lanes = vec![None; keys.len()];
    for Found { index, lane } in rows {
        if let Some(place) = lanes.get_mut(index) {
            *place = Some(lane);
        }
    }
    Ok(lanes)
}

/// How far these lanes have come, as `(which of them, the last number)`; without those that nobody has used yet.
pub(in crate::chat) async fn last(db: &Db, keys: &[&LaneKey]) -> Result<Vec<(usize, u64)>> {
    let (statement, args) = wanted(db.dialect(), keys, "w.idx, l.last_client_seq");
    let rows: Vec<((i64,), (i64,))> = db.fetch_all(&statement, args).await?;
    let count = |n: i64| u64::try_from(n).unwrap_or_default();
    Ok(rows.into_iter().map(|((index,), (last,))| (count(index) as usize, count(last))).collect())
}

/// A statement that reads `columns` of these lanes, and its values.
fn wanted(dialect: Dialect, keys: &[&LaneKey], columns: &str) -> (String, Args) {
    const WIDTH: usize = 5;
    let (wanted, n) = match dialect {
        Dialect::ValueLists => {
            let n = padded(keys.len());
            (format!("(VALUES {})", placeholders(n, WIDTH)), n)
        }
        Dialect::ArraysAndLocks => {
            let arrays = "$1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]";
            (format!("(SELECT * FROM UNNEST({arrays}))"), keys.len())
        }
    };
    let condition = "l.project_id = w.project_id AND l.room_id = w.room_id AND l.sender_id = w.sender_id \
         AND l.lane_id = w.lane_id";
    let statement = format!(
        "WITH wanted (idx, project_id, room_id, sender_id, lane_id) AS {wanted} SELECT {columns} FROM wanted w {}",
        look_up(dialect, "JOIN", "lanes", "l", condition)
    );
    let mut args = Args::with_capacity(n * WIDTH);
    for i in 0..n {
        let at = i.min(keys.len() - 1);
        args.push(at as i64);
        push_key(&mut args, keys[at]);
    }
    (statement, shaped(dialect, args, WIDTH))
}

fn push_key(args: &mut Args, key: &LaneKey) {
    args.push(&key.room.project);
    args.push(&key.room.room);
    args.push(&key.sender);
    args.push(key.lane.as_str());
}

/// Writes lanes that moved, each once.
pub(in crate::chat) async fn write(tx: &mut Tx, lanes: &[(&LaneKey, &Lane)], now: Timestamp) -> Result<()> {
    const WIDTH: usize = 8;
    if lanes.is_empty() {
        return Ok(());
    }
    let (moved, n) = match tx.dialect() {
        Dialect::ValueLists => {
            let n = padded(lanes.len());
            (format!("(VALUES {}) WHERE column1 IS NOT NULL", placeholders(n, WIDTH)), n)
        }
        Dialect::ArraysAndLocks => {
            let arrays = "$1::text[], $2::text[], $3::text[], $4::text[], $5::int8[], $6::jsonb[], $7::jsonb[], \
                 $8::timestamptz[]";
            (format!("UNNEST({arrays})"), lanes.len())
        }
    };
    let statement = format!(
        "INSERT INTO lanes (project_id, room_id, sender_id, lane_id, last_client_seq, missing, skipped, updated_at) \
         SELECT * FROM {moved} \
         ON CONFLICT (project_id, room_id, sender_id, lane_id) DO UPDATE SET last_client_seq = excluded.last_client_seq, \
             missing = excluded.missing, skipped = excluded.skipped, updated_at = excluded.updated_at"
    );
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
    let args = shaped(tx.dialect(), args, WIDTH);
    tx.execute(&statement, args).await.map(drop)
}

/// Rows as values one after the other, or as a column each.
fn shaped(dialect: Dialect, args: Args, width: usize) -> Args {
    match dialect {
        Dialect::ValueLists => args,
        Dialect::ArraysAndLocks => args.into_columns(width),
    }
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
        let stored = read(&mut tx, &[&none, &desk, &phone]).await.unwrap();
        assert_eq!(stored, [None, Some(Lane::default()), Some(lane.clone())]);
        while erase_deleted(&mut tx, Timestamp(3), 1).await.unwrap() {}
        assert_eq!(read(&mut tx, &[&phone, &desk, &other]).await.unwrap(), [None, None, Some(lane)]);
        tx.commit().await.unwrap();
        assert_eq!(last(&db, &[&phone, &other]).await.unwrap(), [(1, 7)]);
    }
}
