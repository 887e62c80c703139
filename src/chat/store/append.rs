//! The hot statements: what one batch of sends asks and writes, in one statement each, however many sends it holds.
//! Where the engines want rows in different forms, both stand side by side.

use super::{lanes, look_up, metadata_json, padded, placeholders};
use crate::{
    chat::{
        lane::{Lane, LaneKey},
        message::{Message, NewMessage},
        room::{Role, RoomKind},
    },
    clock::Timestamp,
    db::{Args, Dialect, FromRow, Row, RowResult, Tx},
    error::Result,
    id::{RoomId, RoomKey, UserKey},
};

/// A room's counters, as they stand in the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::chat) struct Counters {
    pub(in crate::chat) kind: RoomKind,
    pub(in crate::chat) last_seq: u64,
    pub(in crate::chat) last_position: u64,
    pub(in crate::chat) member_count: u64,
    pub(in crate::chat) last_activity_at: Timestamp,
    /// Deleted in this transaction: nothing is found in it any more.
    pub(in crate::chat) deleted: bool,
}

/// What the database knows about one send.
pub(in crate::chat) struct Known {
    index: usize,
    /// The room, unless it does not exist.
    pub(in crate::chat) counters: Option<Counters>,
    /// The sender's role, unless they are not a member.
    pub(in crate::chat) role: Option<Role>,
    /// What holds the sender back.
    pub(in crate::chat) held: Held,
    /// The message that carries the sender's id already.
    pub(in crate::chat) earlier: Option<Earlier>,
    /// The lane that was asked for, if it was used before.
    pub(in crate::chat) lane: Option<Lane>,
}

/// What is looked up for a send.
pub(in crate::chat) struct Wanted<'a> {
    pub(in crate::chat) sender: &'a UserKey,
    pub(in crate::chat) message: &'a NewMessage,
    /// The lane, unless it is another send's that it is looked up for.
    pub(in crate::chat) lane: Option<&'a LaneKey>,
}

/// What holds a member back beside their role.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::chat) struct Held {
    /// Until when a moderator lets them only read.
    pub(in crate::chat) muted_until: Option<Timestamp>,
    /// In a direct room: one of the two has blocked the other.
    pub(in crate::chat) peer_blocked: bool,
    /// When they last sent, if the room was in slow mode then.
    pub(in crate::chat) last_sent_at: Option<Timestamp>,
    /// How long a member waits between two messages. 0: not at all.
    pub(in crate::chat) slow_mode_seconds: u32,
}

/// A message that was sent with the same id.
#[derive(Clone)]
pub(in crate::chat) struct Earlier {
    pub(in crate::chat) room: RoomId,
    pub(in crate::chat) seq: u64,
    pub(in crate::chat) position: u64,
    pub(in crate::chat) created_at: Timestamp,
    pub(in crate::chat) fingerprint: Vec<u8>,
}

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

/// Looks up room, role, earlier message and lane of each send. The answer has one entry a send, in the same order.
pub(in crate::chat) async fn known(tx: &mut Tx, sends: &[Wanted<'_>]) -> Result<Vec<Known>> {
    // Where no send is in a lane, as in most batches, lanes cost nothing.
    let lanes = sends.iter().any(|send| send.lane.is_some());
    let width = if lanes { 6 } else { 5 };
    let (table, n) = wanted(tx.dialect(), sends.len(), lanes);
    let room = "r.project_id = w.project_id AND r.room_id = w.room_id AND r.deleted_at IS NULL";
    let member = "m.project_id = w.project_id AND m.room_id = w.room_id AND m.user_id = w.user_id";
    let earlier =
        "d.project_id = w.project_id AND d.sender_id = w.user_id AND d.client_message_id = w.client_message_id";
    let lane = "l.project_id = w.project_id AND l.room_id = w.room_id AND l.sender_id = w.user_id \
         AND l.lane_id = w.lane_id";
    let left = |table, alias, condition| look_up(tx.dialect(), "LEFT JOIN", table, alias, condition);
    let (in_lane, lane) = match lanes {
        true => ("l.last_client_seq, l.missing, l.skipped", left("lanes", "l", lane)),
        false => ("CAST(NULL AS BIGINT)", String::new()),
    };
    let statement = format!(
        "{table} SELECT w.idx, r.kind, r.last_seq, r.last_position, r.member_count, r.last_activity_at, m.role, \
                m.muted_until, m.peer_blocked, m.last_sent_at, r.slow_mode_seconds, \
                d.room_id, d.seq, d.position, d.created_at, d.fingerprint, {in_lane} \
         FROM wanted w {} {} {} {lane}",
        left("rooms", "r", room),
        left("members", "m", member),
        left("messages", "d", earlier)
    );
    let mut args = Args::with_capacity(n * width);
    for i in 0..n {
        let at = i.min(sends.len() - 1);
        let Wanted { sender, message, lane } = &sends[at];
        args.push(at as i64);
        args.push(&sender.project);
        args.push(&message.room);
        args.push(&sender.user);
        args.push(message.client_message_id);
        if lanes {
            args.push(lane.map(|key| key.lane.as_str()));
        }
    }
    let mut rows: Vec<Known> = tx.fetch_all(&statement, shaped(tx, args, width)).await?;
    rows.sort_by_key(|known| known.index);
    rows.dedup_by_key(|known| known.index);
    Ok(rows)
}

/// The table of what is looked up for `n` sends, and how many rows it takes.
fn wanted(dialect: Dialect, n: usize, lanes: bool) -> (String, usize) {
    let (column, array) = if lanes { (", lane_id", ", $6::text[]") } else { ("", "") };
    let (rows, n) = match dialect {
        Dialect::ValueLists => {
            let n = padded(n);
            (format!("(VALUES {})", placeholders(n, if lanes { 6 } else { 5 })), n)
        }
        Dialect::ArraysAndLocks => {
            let arrays = "$1::int8[], $2::text[], $3::text[], $4::text[], $5::uuid[]";
            (format!("(SELECT * FROM UNNEST({arrays}{array}))"), n)
        }
    };
    (format!("WITH wanted (idx, project_id, room_id, user_id, client_message_id{column}) AS {rows}"), n)
}

/// Rows as values one after the other, or as a column each.
fn shaped(tx: &Tx, args: Args, width: usize) -> Args {
    match tx.dialect() {
        Dialect::ValueLists => args,
        Dialect::ArraysAndLocks => args.into_columns(width),
    }
}

impl FromRow for Known {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        let index = row.count()? as usize;
        let kind = row.int_opt()?;
        let [last_seq, last_position, member_count] =
            [row.count_opt()?, row.count_opt()?, row.count_opt()?].map(Option::unwrap_or_default);
        let last_activity_at = row.time_opt()?.unwrap_or_default();
        let kind = kind.map(|k| RoomKind::from_number(k).ok_or_else(|| Row::corrupt("room kind"))).transpose()?;
        let counters =
            kind.map(|kind| Counters { kind, last_seq, last_position, member_count, last_activity_at, deleted: false });
        let role = row.int_opt()?.map(|r| Role::from_number(r).ok_or_else(|| Row::corrupt("role"))).transpose()?;
        let held = row.read()?;
        let room = row.text_opt()?.map(RoomId::stored);
        let (seq, position) = (row.count_opt()?.unwrap_or_default(), row.count_opt()?.unwrap_or_default());
        let created_at = row.time_opt()?.unwrap_or_default();
        let fingerprint = row.bytes_opt()?.unwrap_or_default();
        let earlier = room.map(|room| Earlier { room, seq, position, created_at, fingerprint });
        let lane = match row.count_opt()? {
            Some(last) => Some(lanes::stored(last, row)?),
            None => None,
        };
        Ok(Self { index, counters, role, held, earlier, lane })
    }
}

impl FromRow for Held {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self {
            muted_until: row.time_opt()?,
            peer_blocked: row.int_opt()?.is_some_and(|blocked| blocked > 0),
            last_sent_at: row.time_opt()?,
            slow_mode_seconds: row.count_opt()?.unwrap_or_default().try_into().unwrap_or(u32::MAX),
        })
    }
}

/// A message to insert.
pub(in crate::chat) struct NewRow {
    pub(in crate::chat) room: RoomKey,
    pub(in crate::chat) message: Message,
    pub(in crate::chat) fingerprint: Vec<u8>,
}

const COLUMNS: usize = 17;

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
                 $16::int8[], $17::int8[]";
            (format!("UNNEST({arrays})"), rows.len())
        }
    };
    let statement = format!(
        "INSERT INTO messages (project_id, room_id, seq, position, sender_id, client_message_id, fingerprint, text, \
         content_type, reply_to_seq, metadata, attachments, created_at, mentions, lane_id, client_seq, \
         missing_before) SELECT * FROM {new}"
    );
    let mut args = Args::with_capacity(n * COLUMNS);
    for row in rows {
        push_row(&mut args, row);
    }
    for _ in rows.len() * COLUMNS..n * COLUMNS {
        args.push(None::<i64>);
    }
    let args = shaped(tx, args, COLUMNS);
    if moved.is_empty() {
        return tx.execute(&statement, args).await.map(drop);
    }
    match tx.dialect() {
        Dialect::ValueLists => {
            lanes::write(tx, moved, now).await?;
            tx.execute(&statement, args).await.map(drop)
        }
        // One statement, because each is a way to the database and back.
        Dialect::ArraysAndLocks => {
            let (lanes, moved) = lanes::moving(moved, now, COLUMNS);
            let args = Args::joined([args, moved].into_iter());
            tx.execute(&format!("WITH moved AS ({lanes}) {statement}"), args).await.map(drop)
        }
    }
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
    args.push(lane.map(|place| place.0.as_str()));
    args.push(lane.map(|place| place.1));
    args.push(lane.map(|place| place.2));
}

/// Writes the counters of all rooms that moved.
pub(in crate::chat) async fn save(tx: &mut Tx, rooms: &[(&RoomKey, &Counters)]) -> Result<()> {
    const WIDTH: usize = 6;
    let Some(last) = rooms.last() else { return Ok(()) };
    let (moved, n) = match tx.dialect() {
        Dialect::ValueLists => {
            let n = padded(rooms.len());
            (format!("(VALUES {})", placeholders(n, WIDTH)), n)
        }
        Dialect::ArraysAndLocks => {
            let arrays = "$1::text[], $2::text[], $3::int8[], $4::int8[], $5::int8[], $6::timestamptz[]";
            (format!("(SELECT * FROM UNNEST({arrays}))"), rooms.len())
        }
    };
    let statement = format!(
        "WITH moved (project_id, room_id, last_seq, last_position, member_count, last_activity_at) AS {moved} \
         UPDATE rooms SET last_seq = moved.last_seq, last_position = moved.last_position, \
                member_count = moved.member_count, last_activity_at = moved.last_activity_at \
         FROM moved WHERE rooms.project_id = moved.project_id AND rooms.room_id = moved.room_id"
    );
    let mut args = Args::with_capacity(n * WIDTH);
    for (key, counters) in rooms.iter().chain(std::iter::repeat_n(last, n - rooms.len())) {
        args.push(&key.project);
        args.push(&key.room);
        args.push(counters.last_seq);
        args.push(counters.last_position);
        args.push(counters.member_count);
        args.push(counters.last_activity_at);
    }
    tx.execute(&statement, shaped(tx, args, WIDTH)).await.map(drop)
}
