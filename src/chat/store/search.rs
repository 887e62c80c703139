//! Searching: which rooms, which messages match, and what they say.

use super::{index::name_term, look_up, messages, placeholders};
use crate::{
    chat::{
        message::Message,
        room::{Role, RoomKind},
        search::{Part, Query},
    },
    clock::Timestamp,
    db::{Args, Db, Dialect, FromRow, Row, RowResult, Value},
    error::Result,
    id::{ProjectId, RoomId, UserId, UserKey},
};

/// More rooms than these are never asked for by their terms.
const ROOM_TERMS: usize = 512;

/// A room that is searched.
#[derive(Debug)]
pub(in crate::chat) struct Searched {
    pub(in crate::chat) room: RoomId,
    pub(in crate::chat) kind: RoomKind,
    /// The caller's, unless they are not a member.
    pub(in crate::chat) role: Option<Role>,
    pub(in crate::chat) last_seq: u64,
    pub(in crate::chat) indexed_seq: u64,
    /// Nothing in the index was sent later.
    pub(in crate::chat) newest_at: Timestamp,
}

impl FromRow for Searched {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        let (room, kind) = (row.read()?, row.read()?);
        let role = row.int_opt()?.map(|r| Role::from_number(r).ok_or_else(|| Row::corrupt("role"))).transpose()?;
        let (last_seq, indexed_seq) = (row.count()?, row.count_opt()?.unwrap_or_default());
        Ok(Self { room, kind, role, last_seq, indexed_seq, newest_at: row.time_opt()?.unwrap_or_default() })
    }
}

const SEARCHED: &str = "r.room_id, r.kind, me.role, r.last_seq, s.indexed_seq, s.newest_at";

/// How far the rooms are in the index.
fn places(dialect: Dialect) -> String {
    look_up(dialect, "LEFT JOIN", "search_rooms", "s", "s.project_id = r.project_id AND s.room_id = r.room_id")
}

/// All rooms that a user is a member of.
pub(in crate::chat) async fn joined(db: &Db, user: &UserKey) -> Result<Vec<Searched>> {
    let rooms = "r.project_id = me.project_id AND r.room_id = me.room_id AND r.deleted_at IS NULL";
    let rooms = look_up(db.dialect(), "JOIN", "rooms", "r", rooms);
    let statement = format!(
        "SELECT {SEARCHED} FROM members me {rooms} {} WHERE me.project_id = $1 AND me.user_id = $2",
        places(db.dialect())
    );
    db.fetch_all(&statement, Args::new().with(&user.project).with(&user.user)).await
}

/// Those of these rooms that there are, in any order, whether or not the user is a member.
pub(in crate::chat) async fn named(db: &Db, user: &UserKey, rooms: &[RoomId]) -> Result<Vec<Searched>> {
    let own = "me.project_id = r.project_id AND me.room_id = r.room_id AND me.user_id = $2";
    let own = look_up(db.dialect(), "LEFT JOIN", "members", "me", own);
    let statement = format!(
        "SELECT {SEARCHED} FROM rooms r {own} {} WHERE r.project_id = $1 AND r.deleted_at IS NULL AND r.room_id {}",
        places(db.dialect()),
        among(db.dialect(), 3)
    );
    let args =
        Args::new().with(&user.project).with(&user.user).with(list(db.dialect(), rooms.iter().map(RoomId::as_str)));
    db.fetch_all(&statement, args).await
}

/// Whether to ask the index for rooms, beside the words, or to compare the rooms of what it found. It goes through the
/// messages of all of the rooms, if there are several and the words are common; and whatever it finds has to be looked up.
pub(in crate::chat) async fn by_room(db: &Db, rooms: usize, messages: u64, share: f64) -> Result<bool> {
    /// A message that is looked up costs as much as so many that the index goes through.
    const LOOK_UP: f64 = 8.0;
    if rooms == 1 || rooms > ROOM_TERMS {
        return Ok(rooms == 1);
    }
    let statement = match db.dialect() {
        Dialect::ValueLists => "SELECT COALESCE(MAX(id), 0) FROM search_messages",
        Dialect::ArraysAndLocks => {
            "SELECT CAST(GREATEST(reltuples, 0) AS BIGINT) FROM pg_class WHERE oid = 'search_messages'::regclass"
        }
    };
    let all = db.fetch_optional::<(i64,)>(statement, Args::new()).await?.map_or(0, |(all,)| all);
    Ok((messages as f64) < share * all as f64 * LOOK_UP)
}

/// A list of texts as one value, for [`among`].
pub(super) fn list<'t>(dialect: Dialect, texts: impl Iterator<Item = &'t str>) -> Value {
    match dialect {
        Dialect::ValueLists => serde_json::to_string(&texts.collect::<Vec<_>>()).unwrap_or_default().into(),
        Dialect::ArraysAndLocks => Value::Column(texts.map(Value::from).collect()),
    }
}

pub(super) fn among(dialect: Dialect, place: usize) -> String {
    match dialect {
        Dialect::ValueLists => format!("IN (SELECT value FROM json_each(${place}))"),
        Dialect::ArraysAndLocks => format!("= ANY(${place}::text[])"),
    }
}

/// Where a message stands among results from the newest on: the greatest comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::chat) struct Place {
    pub(in crate::chat) sent_at: Timestamp,
    pub(in crate::chat) room: RoomId,
    pub(in crate::chat) seq: u64,
}

impl FromRow for Place {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { sent_at: row.time()?, room: row.read()?, seq: row.count()? })
    }
}

/// What is searched for.
#[derive(Clone, Debug)]
pub(in crate::chat) struct Wanted<'s> {
    pub(in crate::chat) project: &'s ProjectId,
    pub(in crate::chat) query: &'s Query,
    /// At least one.
    pub(in crate::chat) rooms: &'s [RoomId],
    /// Empty: any.
    pub(in crate::chat) senders: &'s [UserId],
    /// Sent at or after this.
    pub(in crate::chat) from: Timestamp,
    /// Sent before this.
    pub(in crate::chat) until: Timestamp,
}

impl Wanted<'_> {
    /// The condition on the terms, for an index: all parts, and one each of the names; of rooms only if asked to.
    fn expression(&self, dialect: Dialect, by_room: bool) -> String {
        let mut all: Vec<String> = self.query.parts.iter().map(|part| in_index(part, dialect)).collect();
        let project = self.project.as_str();
        if by_room {
            all.push(any(self.rooms.iter().map(|room| name_term("room", project, room.as_str())), dialect));
        }
        if !self.senders.is_empty() {
            all.push(any(self.senders.iter().map(|user| name_term("sender", project, user.as_str())), dialect));
        }
        all.join(and(dialect))
    }

    /// The parts as they stand in SQLite's column of terms: each term has a space before it and, unless it is only the
    /// beginning of one, after it.
    pub(super) fn in_a_row(&self) -> Vec<String> {
        let row = |part: &Part| format!(" {}{}", part.terms.join("  "), if part.prefix { "" } else { " " });
        self.query.parts.iter().map(row).collect()
    }

    pub(super) fn words(&self, dialect: Dialect) -> String {
        let parts: Vec<String> = self.query.parts.iter().map(|part| in_index(part, dialect)).collect();
        parts.join(and(dialect))
    }
}

fn and(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::ValueLists => " AND ",
        Dialect::ArraysAndLocks => " & ",
    }
}

/// Terms hold no quote, no backslash and no space: they cannot be taken for anything else.
fn in_index(part: &Part, dialect: Dialect) -> String {
    match dialect {
        Dialect::ValueLists => format!("(\"{}\"{})", part.terms.join(" "), if part.prefix { " *" } else { "" }),
        Dialect::ArraysAndLocks => {
            let terms: Vec<String> = part.terms.iter().map(|term| format!("'{term}'")).collect();
            format!("({}{})", terms.join(" <-> "), if part.prefix { ":*" } else { "" })
        }
    }
}

fn any(names: impl Iterator<Item = String>, dialect: Dialect) -> String {
    let (quote, or) = match dialect {
        Dialect::ValueLists => ('"', " OR "),
        Dialect::ArraysAndLocks => ('\'', " | "),
    };
    let names: Vec<String> = names.map(|name| format!("{quote}{name}{quote}")).collect();
    format!("({})", names.join(or))
}

/// The matches, by the index, and the arguments that it takes: `columns` of a table called `m`.
fn matches(dialect: Dialect, wanted: &Wanted<'_>, by_room: bool, columns: &str) -> (String, Args) {
    let found = match dialect {
        // CROSS: in this order, or the index would be asked anew for each message.
        Dialect::ValueLists => {
            "search_index CROSS JOIN search_messages m ON m.id = search_index.rowid WHERE search_index MATCH $2"
        }
        // OFFSET: by the index of the terms, whatever its statistics say of rooms.
        Dialect::ArraysAndLocks => "(SELECT * FROM search_messages WHERE terms @@ $2::tsquery OFFSET 0) m WHERE TRUE",
    };
    let rooms = among(dialect, 5);
    let sender =
        if wanted.senders.is_empty() { String::new() } else { format!("AND m.sender_id {}", among(dialect, 6)) };
    let statement = format!(
        "SELECT {columns} FROM {found} AND m.project_id = $1 AND m.sent_at >= $3 AND m.sent_at < $4 \
         AND m.room_id {rooms} {sender}"
    );
    let mut args = Args::new()
        .with(wanted.project)
        .with(wanted.expression(dialect, by_room))
        .with(wanted.from)
        .with(wanted.until)
        .with(list(dialect, wanted.rooms.iter().map(RoomId::as_str)));
    if !wanted.senders.is_empty() {
        args.push(list(dialect, wanted.senders.iter().map(UserId::as_str)));
    }
    (statement, args)
}

/// The newest matches before `before`, at most `limit`.
pub(in crate::chat) async fn newest(
    db: &Db,
    wanted: &Wanted<'_>,
    by_room: bool,
    before: &Place,
    limit: usize,
) -> Result<Vec<Place>> {
    let (found, mut args) = matches(db.dialect(), wanted, by_room, "m.sent_at, m.room_id, m.seq");
    let n = if wanted.senders.is_empty() { 6 } else { 7 };
    let statement = format!(
        "{found} AND (m.sent_at, m.room_id, m.seq) < (${n}, ${}, ${}) \
         ORDER BY m.sent_at DESC, m.room_id DESC, m.seq DESC LIMIT ${}",
        n + 1,
        n + 2,
        n + 3
    );
    args.push(before.sent_at);
    args.push(&before.room);
    args.push(before.seq);
    args.push(limit as u64);
    db.fetch_all(&statement, args).await
}

/// How well a message matches: the greater, the better. It compares only within one search.
pub(in crate::chat) type Rank = (i64, Place);

/// How well terms match, by their own text alone: what others write does not move a page. Its values are from `place` on.
fn score(dialect: Dialect, wanted: &Wanted<'_>, place: usize) -> String {
    match dialect {
        // 1: a long text has a word more easily.
        Dialect::ArraysAndLocks => format!("1000000 * ts_rank(terms, ${place}::tsquery, 1)"),
        Dialect::ValueLists => {
            // How often a part is there; each time more counts less.
            let count = |at: usize| format!("((length(terms) - length(replace(terms, ${at}, ''))) / length(${at}))");
            let parts = (place..place + wanted.query.parts.len()).map(count);
            let sum: Vec<String> = parts.map(|count| format!("(1.0 - 1.0 / (1 + {count}))")).collect();
            let terms = "(length(terms) - length(replace(terms, ' ', ''))) / 2";
            format!("1000000.0 * ({}) / (10 + {terms})", sum.join(" + "))
        }
    }
}

/// The best of the newest `among` matches after `after`, at most `limit`.
pub(in crate::chat) async fn best(
    db: &Db,
    wanted: &Wanted<'_>,
    by_room: bool,
    newest: usize,
    after: Option<&Rank>,
    limit: usize,
) -> Result<Vec<Rank>> {
    let dialect = db.dialect();
    let (found, mut args) = matches(dialect, wanted, by_room, "m.sent_at, m.room_id, m.seq, m.terms");
    let n = if wanted.senders.is_empty() { 6 } else { 7 };
    let score = score(dialect, wanted, n + 6);
    let statement = format!(
        "WITH newest AS MATERIALIZED ( \
                 {found} ORDER BY m.sent_at DESC, m.room_id DESC, m.seq DESC LIMIT ${n}), \
              ranked AS (SELECT CAST({score} AS BIGINT) AS score, sent_at, room_id, seq FROM newest) \
         SELECT score, sent_at, room_id, seq FROM ranked WHERE (score, sent_at, room_id, seq) < (${}, ${}, ${}, ${}) \
         ORDER BY score DESC, sent_at DESC, room_id DESC, seq DESC LIMIT ${}",
        n + 1,
        n + 2,
        n + 3,
        n + 4,
        n + 5
    );
    args.push(newest as u64);
    args.push(after.map_or(i64::MAX, |(score, _)| *score));
    args.push(after.map_or(Timestamp(i64::MAX), |(_, place)| place.sent_at));
    args.push(after.map_or("", |(_, place)| place.room.as_str()));
    args.push(after.map_or(0, |(_, place)| place.seq));
    args.push(limit as u64);
    match dialect {
        Dialect::ArraysAndLocks => args.push(wanted.words(dialect)),
        Dialect::ValueLists => wanted.in_a_row().into_iter().for_each(|part| args.push(part)),
    }
    let best: Vec<((i64,), Place)> = db.fetch_all(&statement, args).await?;
    Ok(best.into_iter().map(|((score,), place)| (score, place)).collect())
}

/// The messages at these places, as they are now, in any order; deleted ones left out.
pub(in crate::chat) async fn messages(
    db: &Db,
    project: &ProjectId,
    places: &[&Place],
) -> Result<Vec<(RoomId, Message)>> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let columns = messages::COLUMNS;
    let statement = match db.dialect() {
        Dialect::ValueLists => format!(
            "WITH wanted (room_id, seq, project_id) AS (VALUES {}) SELECT w.room_id, {columns} FROM wanted w \
             JOIN messages m ON m.project_id = w.project_id AND m.room_id = w.room_id AND m.seq = w.seq \
             WHERE m.deleted_at IS NULL",
            placeholders(places.len(), 3)
        ),
        Dialect::ArraysAndLocks => format!(
            "SELECT w.room_id, {columns} FROM UNNEST($1::text[], $2::int8[], $3::text[]) AS w (room_id, seq, project_id) \
             CROSS JOIN LATERAL (SELECT * FROM messages f WHERE f.project_id = w.project_id AND f.room_id = w.room_id \
                 AND f.seq = w.seq OFFSET 0) m \
             WHERE m.deleted_at IS NULL"
        ),
    };
    let args = places.iter().fold(Args::new(), |args, place| args.with(&place.room).with(place.seq).with(project));
    let args = if db.dialect() == Dialect::ArraysAndLocks { args.into_columns(3) } else { args };
    db.fetch_all(&statement, args).await
}
