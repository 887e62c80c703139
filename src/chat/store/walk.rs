//! Looking through the newest messages of rooms, whether they match or not.

use super::search::{Wanted, among, list};
use crate::{
    clock::Timestamp,
    db::{Args, Db, Dialect, FromRow, Row, RowResult, Value},
    error::Result,
    id::{RoomId, UserId},
};

/// A piece of a room that is looked through from its newest message on.
#[derive(Debug)]
pub(in crate::chat) struct Stretch {
    /// Which of the wanted rooms.
    pub(in crate::chat) room: usize,
    /// Before this time and seq.
    pub(in crate::chat) before: (Timestamp, u64),
    /// So many messages.
    pub(in crate::chat) length: u64,
}

/// What was seen of a stretch.
pub(in crate::chat) struct Seen {
    pub(in crate::chat) room: usize,
    pub(in crate::chat) at: (Timestamp, u64),
    /// Which message of the stretch it is, from 1.
    pub(in crate::chat) number: u64,
    pub(in crate::chat) matches: bool,
}

impl FromRow for Seen {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        let room = row.count()? as usize;
        let at = (row.time()?, row.count()?);
        Ok(Self { room, at, number: row.count()?, matches: row.int()? > 0 })
    }
}

/// Looks through stretches: answers what matches, and the last message of each that is as long as was asked for.
pub(in crate::chat) async fn walk(db: &Db, wanted: &Wanted<'_>, stretches: &[Stretch]) -> Result<Vec<Seen>> {
    match db.dialect() {
        Dialect::ArraysAndLocks => walk_together(db, wanted, stretches).await,
        Dialect::ValueLists => {
            let mut seen = Vec::new();
            for stretch in stretches {
                seen.extend(walk_one(db, wanted, stretch).await?);
            }
            Ok(seen)
        }
    }
}

async fn walk_together(db: &Db, wanted: &Wanted<'_>, stretches: &[Stretch]) -> Result<Vec<Seen>> {
    let sender = if wanted.senders.is_empty() { "" } else { "AND m.sender_id = ANY($9::text[])" };
    let statement = format!(
        "SELECT w.n, s.sent_at, s.seq, s.number, s.matches \
         FROM UNNEST($2::int8[], $3::text[], $4::timestamptz[], $5::int8[], $6::int8[]) \
             AS w (n, room_id, before_at, before_seq, length) \
         CROSS JOIN LATERAL ( \
             SELECT l.*, ROW_NUMBER() OVER (ORDER BY l.sent_at DESC, l.seq DESC) AS number FROM ( \
                 SELECT m.sent_at, m.seq, (m.terms @@ $7::tsquery {sender}) AS matches FROM search_messages m \
                 WHERE m.project_id = $1 AND m.room_id = w.room_id AND m.sent_at >= $8 \
                     AND (m.sent_at, m.seq) < (w.before_at, w.before_seq) \
                 ORDER BY m.sent_at DESC, m.seq DESC LIMIT w.length) l) s \
         WHERE s.matches OR s.number = w.length"
    );
    let column = |value: fn(&Wanted<'_>, &Stretch) -> Value| {
        Value::Column(stretches.iter().map(|stretch| value(wanted, stretch)).collect())
    };
    let mut args = Args::new()
        .with(wanted.project)
        .with(column(|_, stretch| (stretch.room as u64).into()))
        .with(column(|wanted, stretch| wanted.rooms.get(stretch.room).map(RoomId::to_string).into()))
        .with(column(|_, stretch| stretch.before.0.into()))
        .with(column(|_, stretch| stretch.before.1.into()))
        .with(column(|_, stretch| stretch.length.into()))
        .with(wanted.words(Dialect::ArraysAndLocks))
        .with(wanted.from);
    if !wanted.senders.is_empty() {
        args.push(list(Dialect::ArraysAndLocks, wanted.senders.iter().map(UserId::as_str)));
    }
    db.fetch_all(&statement, args).await
}

async fn walk_one(db: &Db, wanted: &Wanted<'_>, stretch: &Stretch) -> Result<Vec<Seen>> {
    let parts = wanted.in_a_row();
    let mut conditions: Vec<String> = (0..parts.len()).map(|i| format!("instr(m.terms, ${}) > 0", i + 9)).collect();
    conditions.push(format!("($8 = '[]' OR m.sender_id {})", among(Dialect::ValueLists, 8)));
    let statement = format!(
        "SELECT $3, s.sent_at, s.seq, s.number, s.matches FROM ( \
             SELECT l.*, ROW_NUMBER() OVER (ORDER BY l.sent_at DESC, l.seq DESC) AS number FROM ( \
                 SELECT m.sent_at, m.seq, ({}) AS matches FROM search_messages m \
                 WHERE m.project_id = $1 AND m.room_id = $2 AND m.sent_at >= $4 AND (m.sent_at, m.seq) < ($5, $6) \
                 ORDER BY m.sent_at DESC, m.seq DESC LIMIT $7) l) s \
         WHERE s.matches OR s.number = $7",
        conditions.join(" AND ")
    );
    let room = wanted.rooms.get(stretch.room).map_or("", RoomId::as_str);
    let mut args = Args::new()
        .with(wanted.project)
        .with(room)
        .with(stretch.room as u64)
        .with(wanted.from)
        .with(stretch.before.0)
        .with(stretch.before.1)
        .with(stretch.length)
        .with(list(Dialect::ValueLists, wanted.senders.iter().map(UserId::as_str)));
    parts.into_iter().for_each(|part| args.push(part));
    db.fetch_all(&statement, args).await
}
