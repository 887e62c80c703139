//! What one batch of sends locks and writes, in one statement each, however many sends it holds. Where the engines want rows
//! in different forms, both stand side by side. What it looks up before is [`known`](super::known)'s.

use super::{known::Counters, lanes, metadata_json, padded, placeholders, shaped, table};
use crate::{
    chat::{
        lane::{Lane, LaneKey},
        message::Message,
    },
    clock::Timestamp,
    config::MAX_APPEND_BATCH,
    db::{Args, Dialect, Tx},
    error::Result,
    id::RoomKey,
};

/// Locks the rooms that a batch is about to change, in the order of their keys: so no two batches wait for each other in a
/// circle. Where a transaction that writes is alone there is nothing to lock.
pub(in crate::chat) async fn lock(tx: &mut Tx, mut rooms: Vec<RoomKey>) -> Result<()> {
    if tx.dialect() == Dialect::ValueLists || rooms.is_empty() {
        return Ok(());
    }
    rooms.sort_unstable_by(|a, b| (a.project.as_str(), a.room.as_str()).cmp(&(b.project.as_str(), b.room.as_str())));
    rooms.dedup();
    let statement = "SELECT 1 FROM rooms WHERE (project_id, room_id) IN (SELECT * FROM UNNEST($1::text[], $2::text[])) \
         ORDER BY project_id, room_id FOR NO KEY UPDATE";
    let args =
        rooms.iter().fold(Args::with_capacity(rooms.len() * 2), |args, key| args.with(&key.project).with(&key.room));
    tx.fetch_all::<(i64,)>(statement, args.into_columns(2)).await.map(drop)
}

/// Locks those of the rooms that nobody else is changing, and answers which: a transaction that waits for none of them cannot
/// be part of a circle, whatever it has locked already.
pub(in crate::chat) async fn lock_free(tx: &mut Tx, rooms: Vec<RoomKey>) -> Result<Vec<RoomKey>> {
    if tx.dialect() == Dialect::ValueLists || rooms.is_empty() {
        return Ok(rooms);
    }
    let statement = "SELECT project_id, room_id FROM rooms \
         WHERE (project_id, room_id) IN (SELECT * FROM UNNEST($1::text[], $2::text[])) FOR NO KEY UPDATE SKIP LOCKED";
    let args =
        rooms.iter().fold(Args::with_capacity(rooms.len() * 2), |args, key| args.with(&key.project).with(&key.room));
    tx.fetch_all(statement, args.into_columns(2)).await
}

/// A message to insert.
pub(in crate::chat) struct NewRow {
    pub(in crate::chat) room: RoomKey,
    pub(in crate::chat) message: Message,
    pub(in crate::chat) fingerprint: Vec<u8>,
}

const COLUMNS: usize = 18;

/// The values that SQLite takes in one statement.
const SQLITE_VALUES: usize = 32_766;
const _: () = assert!(MAX_APPEND_BATCH.next_power_of_two() * COLUMNS <= SQLITE_VALUES);

/// Inserts all messages, and writes those lanes that they move which are there already.
pub(in crate::chat) async fn insert(
    tx: &mut Tx,
    rows: &[NewRow],
    moved: &[(&LaneKey, &Lane)],
    now: Timestamp,
) -> Result<()> {
    let (new, n) = match tx.dialect() {
        Dialect::ValueLists => {
            let n = padded(rows.len());
            (format!("(VALUES {}) WHERE column1 IS NOT NULL", placeholders(n, COLUMNS)), n)
        }
        Dialect::ArraysAndLocks => {
            let arrays = "$1::text[], $2::text[], $3::int8[], $4::int8[], $5::text[], $6::uuid[], $7::bytea[], $8::text[], \
                 $9::text[], $10::int8[], $11::jsonb[], $12::jsonb[], $13::timestamptz[], $14::jsonb[], $15::text[], \
                 $16::int8[], $17::int8[], $18::int8[]";
            (format!("UNNEST({arrays})"), rows.len())
        }
    };
    let statement = format!(
        "INSERT INTO messages (project_id, room_id, seq, position, sender_id, client_message_id, fingerprint, text, \
         content_type, reply_to_seq, metadata, attachments, created_at, mentions, lane_id, client_seq, \
         missing_before, keeps_unread) SELECT * FROM {new}"
    );
    let mut args = Args::with_capacity(n * COLUMNS);
    for row in rows {
        push_row(&mut args, row);
    }
    for _ in rows.len() * COLUMNS..n * COLUMNS {
        args.push(None::<i64>);
    }
    let args = shaped(tx.dialect(), args, COLUMNS);
    if moved.is_empty() {
        return tx.execute(&statement, args).await.map(drop);
    }
    // Together, because each is a way to the database and back.
    let (statement, args) = match tx.dialect() {
        Dialect::ValueLists => {
            let (lanes, moved) = lanes::writing(tx.dialect(), moved, now);
            (format!("{lanes}; {statement}"), [moved, args])
        }
        Dialect::ArraysAndLocks => {
            let (lanes, moved) = lanes::moving(moved, now, COLUMNS);
            (format!("WITH moved AS ({lanes}) {statement}"), [args, moved])
        }
    };
    tx.execute(&statement, Args::joined(args.into_iter())).await.map(drop)
}

fn push_row(args: &mut Args, row: &NewRow) {
    let (message, content) = (&row.message, &row.message.content);
    args.push(&row.room.project);
    args.push(&row.room.room);
    args.push(message.seq);
    args.push(message.position);
    args.push(&message.sender);
    args.push(message.client_message_id);
    args.push(row.fingerprint.clone());
    args.push(content.text.as_str());
    args.push(content.content_type.clone());
    args.push(message.reply_to);
    args.push_json(metadata_json(&content.metadata));
    args.push_json(super::messages::attachments_json(&content.attachments));
    args.push(message.created_at);
    args.push_json(super::messages::mentions_json(&content.mentions));
    let lane = message.lane.as_ref();
    args.push(lane.map(|place| &*place.0));
    args.push(lane.map(|place| place.1));
    args.push(lane.map(|place| place.2));
    args.push(i64::from(message.keeps_unread));
}

/// Writes the counters of all rooms that moved.
pub(in crate::chat) async fn save(tx: &mut Tx, rooms: &[(&RoomKey, &Counters)]) -> Result<()> {
    const TYPES: [&str; 6] = ["text", "text", "int8", "int8", "int8", "timestamptz"];
    let Some(last) = rooms.last() else { return Ok(()) };
    let (moved, n) = table(tx.dialect(), &TYPES, rooms.len(), 0);
    let statement = format!(
        "WITH moved (project_id, room_id, last_seq, last_position, member_count, last_activity_at) AS {moved} \
         UPDATE rooms SET last_seq = moved.last_seq, last_position = moved.last_position, \
                member_count = moved.member_count, last_activity_at = moved.last_activity_at \
         FROM moved WHERE rooms.project_id = moved.project_id AND rooms.room_id = moved.room_id"
    );
    let mut args = Args::with_capacity(n * TYPES.len());
    for (key, counters) in rooms.iter().chain(std::iter::repeat_n(last, n - rooms.len())) {
        args.push(&key.project);
        args.push(&key.room);
        args.push(counters.last_seq);
        args.push(counters.last_position);
        args.push(counters.member_count);
        args.push(counters.last_activity_at);
    }
    tx.execute(&statement, shaped(tx.dialect(), args, TYPES.len())).await.map(drop)
}
