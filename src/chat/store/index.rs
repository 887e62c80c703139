//! The search index, as it is written: how far each room is in it, and its messages' terms.

use super::by_room;
use crate::{
    chat::search::Term,
    clock::Timestamp,
    db::{Args, Db, Dialect, FromRow, Row, RowResult, Tx, Value},
    error::Result,
    id::{RoomKey, UserId},
};

/// A message as the index has it.
pub(in crate::chat) struct Entry {
    pub(in crate::chat) seq: u64,
    pub(in crate::chat) sender: UserId,
    pub(in crate::chat) sent_at: Timestamp,
    pub(in crate::chat) terms: Vec<Term>,
}

/// A message that is to be indexed.
pub(in crate::chat) struct Unindexed {
    pub(in crate::chat) seq: u64,
    pub(in crate::chat) sender: UserId,
    pub(in crate::chat) sent_at: Timestamp,
    pub(in crate::chat) text: String,
}

impl FromRow for Unindexed {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { seq: row.count()?, sender: row.read()?, sent_at: row.time()?, text: row.text()? })
    }
}

/// Before the name of a room or a sender that is a term: no word has it.
const NAME: char = '\u{e000}';

/// The term of a room, or of a sender: short, because each message has it. Two may share one; results are compared by name.
pub(super) fn name_term(kind: &str, project: &str, name: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let hash = Sha256::new().chain_update(kind).chain_update([0]).chain_update(project).chain_update([0]);
    let hash = hash.chain_update(name).finalize();
    hash.iter().take(8).fold(String::from(NAME), |term, byte| format!("{term}{byte:02x}"))
}

fn names(room: &RoomKey, sender: &UserId) -> [String; 2] {
    let project = room.project.as_str();
    [name_term("room", project, room.room.as_str()), name_term("sender", project, sender.as_str())]
}

/// Makes the room's place in the index, if there is none, and keeps it to this transaction; answers how far the room is.
/// Whoever writes entries or changes a message that may be indexed does this first, and reads the message's text after it.
pub(in crate::chat) async fn lock(tx: &mut Tx, room: &RoomKey) -> Result<u64> {
    let statement = "INSERT INTO search_rooms (project_id, room_id, indexed_seq, newest_at) VALUES ($1, $2, 0, $3) \
         ON CONFLICT (project_id, room_id) DO UPDATE SET indexed_seq = search_rooms.indexed_seq RETURNING indexed_seq";
    let found: Option<(i64,)> = tx.fetch_optional(statement, by_room(room).with(Timestamp(0))).await?;
    Ok(found.map_or(0, |(seq,)| seq.try_into().unwrap_or_default()))
}

/// The same without waiting; `None` if somebody else has the room's place, or there is none yet.
pub(in crate::chat) async fn lock_free(tx: &mut Tx, room: &RoomKey) -> Result<Option<u64>> {
    if tx.dialect() == Dialect::ValueLists {
        return lock(tx, room).await.map(Some);
    }
    let statement =
        "SELECT indexed_seq FROM search_rooms WHERE project_id = $1 AND room_id = $2 FOR UPDATE SKIP LOCKED";
    let found: Option<(i64,)> = tx.fetch_optional(statement, by_room(room)).await?;
    Ok(found.map(|(seq,)| seq.try_into().unwrap_or_default()))
}

/// The next messages to index, in order. None of a room that was deleted.
pub(in crate::chat) async fn unindexed(tx: &mut Tx, room: &RoomKey, after: u64, limit: u64) -> Result<Vec<Unindexed>> {
    let statement = "SELECT m.seq, m.sender_id, m.created_at, m.text FROM rooms r \
         JOIN messages m ON m.project_id = r.project_id AND m.room_id = r.room_id \
         WHERE r.project_id = $1 AND r.room_id = $2 AND r.deleted_at IS NULL \
             AND m.project_id = $1 AND m.room_id = $2 AND m.seq > $3 ORDER BY m.seq LIMIT $4";
    tx.fetch_all(statement, by_room(room).with(after).with(limit)).await
}

/// Notes that all messages up to `seq` are indexed, none of them later than `newest`.
pub(in crate::chat) async fn advance(tx: &mut Tx, room: &RoomKey, seq: u64, newest: Timestamp) -> Result<()> {
    let statement = "UPDATE search_rooms SET indexed_seq = $3, \
             newest_at = CASE WHEN newest_at < $4 THEN $4 ELSE newest_at END \
         WHERE project_id = $1 AND room_id = $2";
    tx.execute(statement, by_room(room).with(seq).with(newest)).await.map(drop)
}

/// Adds entries, none of which is there; those without terms are left out.
pub(in crate::chat) async fn insert(tx: &mut Tx, room: &RoomKey, entries: &[Entry]) -> Result<()> {
    let entries: Vec<&Entry> = entries.iter().filter(|entry| !entry.terms.is_empty()).collect();
    match tx.dialect() {
        _ if entries.is_empty() => Ok(()),
        Dialect::ValueLists => insert_lists(tx, room, &entries).await,
        Dialect::ArraysAndLocks => insert_arrays(tx, room, &entries).await,
    }
}

async fn insert_arrays(tx: &mut Tx, room: &RoomKey, entries: &[&Entry]) -> Result<()> {
    let statement = "INSERT INTO search_messages (project_id, room_id, sent_at, seq, sender_id, terms) \
         SELECT $1, $2, n.sent_at, n.seq, n.sender_id, n.terms::tsvector \
         FROM UNNEST($3::timestamptz[], $4::int8[], $5::text[], $6::text[]) AS n (sent_at, seq, sender_id, terms)";
    let column = |value: fn(&RoomKey, &Entry) -> Value| Value::Column(entries.iter().map(|e| value(room, e)).collect());
    let args = by_room(room)
        .with(column(|_, entry| entry.sent_at.into()))
        .with(column(|_, entry| entry.seq.into()))
        .with(column(|_, entry| (&entry.sender).into()))
        .with(column(|room, entry| vector(room, entry).into()));
    tx.execute(statement, args).await.map(drop)
}

/// The text of a tsvector. Of a word that comes more than 256 times, Postgres keeps the first 256 places.
fn vector(room: &RoomKey, entry: &Entry) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for name in names(room, &entry.sender) {
        let _ = write!(text, "'{name}' ");
    }
    for (i, term) in entry.terms.iter().enumerate() {
        let _ = write!(text, "'{}':{} ", term.text, i + 1);
    }
    text
}

/// One value holds all rows: a statement stays the same however many they are.
async fn insert_lists(tx: &mut Tx, room: &RoomKey, entries: &[&Entry]) -> Result<()> {
    // This transaction is the only one that writes.
    let last: Option<(i64,)> =
        tx.fetch_optional("SELECT COALESCE(MAX(id), 0) FROM search_messages", Args::new()).await?;
    let first = last.map_or(0, |(id,)| id) + 1;
    let numbered = || (first..).zip(entries);
    let rows: Vec<_> = numbered()
        .map(|(id, entry)| (id, entry.sent_at.0, entry.seq, entry.sender.as_str(), in_a_row(entry)))
        .collect();
    let json = serde_json::to_string(&rows).unwrap_or_default();
    let statement = "INSERT INTO search_messages (id, project_id, room_id, sent_at, seq, sender_id, terms) \
         SELECT value->>0, $1, $2, value->>1, value->>2, value->>3, value->>4 FROM json_each($3)";
    tx.execute(statement, by_room(room).with(json)).await?;
    let rows: Vec<_> = numbered()
        .map(|(id, entry)| (id, format!("{}{}", names(room, &entry.sender).join(" "), in_a_row(entry))))
        .collect();
    let json = serde_json::to_string(&rows).unwrap_or_default();
    let statement = "INSERT INTO search_index (rowid, terms) SELECT value->>0, value->>1 FROM json_each($1)";
    tx.execute(statement, Args::new().with(json)).await.map(drop)
}

/// The terms, each between spaces of its own: so each can be counted.
fn in_a_row(entry: &Entry) -> String {
    entry.terms.iter().fold(String::new(), |row, term| row + " " + &term.text + " ")
}

/// Puts an entry in the place of the one that the message has, if any; without terms it has none any more.
pub(in crate::chat) async fn replace(tx: &mut Tx, room: &RoomKey, entry: Entry) -> Result<()> {
    const ONE: &str = "FROM search_messages WHERE project_id = $1 AND room_id = $2 AND sent_at = $3 AND seq = $4";
    let args = || by_room(room).with(entry.sent_at).with(entry.seq);
    if tx.dialect() == Dialect::ValueLists {
        tx.execute(&format!("DELETE FROM search_index WHERE rowid IN (SELECT id {ONE})"), args()).await?;
    }
    tx.execute(&format!("DELETE {ONE}"), args()).await?;
    insert(tx, room, &[entry]).await
}

/// Takes at most `limit` entries of a room away, and when there are none its place; answers whether there was anything.
pub(in crate::chat) async fn erase(tx: &mut Tx, room: &RoomKey, limit: u64) -> Result<bool> {
    const SOME: &str = "FROM search_messages WHERE project_id = $1 AND room_id = $2 ORDER BY sent_at, seq LIMIT $3";
    let args = || by_room(room).with(limit);
    let erased = match tx.dialect() {
        Dialect::ValueLists => {
            tx.execute(&format!("DELETE FROM search_index WHERE rowid IN (SELECT id {SOME})"), args()).await?;
            tx.execute(&format!("DELETE FROM search_messages WHERE id IN (SELECT id {SOME})"), args()).await?
        }
        Dialect::ArraysAndLocks => {
            let statement = format!(
                "DELETE FROM search_messages WHERE project_id = $1 AND room_id = $2 \
                 AND (sent_at, seq) IN (SELECT sent_at, seq {SOME})"
            );
            tx.execute(&statement, args()).await?
        }
    };
    // Last: who is just writing the room's entries holds its place.
    let statement = "DELETE FROM search_rooms WHERE project_id = $1 AND room_id = $2";
    Ok(erased > 0 || tx.execute(statement, by_room(room)).await? > 0)
}

/// Of the `limit` rooms after `after`, by their keys: the last, and those whose messages are not all indexed.
pub(in crate::chat) async fn behind(
    db: &Db,
    after: Option<&RoomKey>,
    limit: u64,
) -> Result<(Option<RoomKey>, Vec<RoomKey>)> {
    let statement = "SELECT r.project_id, r.room_id, \
             CASE WHEN r.last_seq > COALESCE(s.indexed_seq, 0) AND r.deleted_at IS NULL THEN 1 ELSE 0 END \
         FROM (SELECT project_id, room_id, last_seq, deleted_at FROM rooms \
             WHERE (project_id, room_id) > ($1, $2) ORDER BY project_id, room_id LIMIT $3) r \
         LEFT JOIN search_rooms s ON s.project_id = r.project_id AND s.room_id = r.room_id \
         ORDER BY r.project_id, r.room_id";
    let args = match after {
        Some(room) => by_room(room),
        None => Args::new().with("").with(""),
    };
    let rooms: Vec<(RoomKey, (i64,))> = db.fetch_all(statement, args.with(limit)).await?;
    let last = rooms.last().map(|(room, _)| room.clone());
    Ok((last, rooms.into_iter().filter(|(_, (behind,))| *behind > 0).map(|(room, _)| room).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::search::terms,
        config::{self, Overrides},
        id::{ProjectId, RoomId},
    };

    fn entry(seq: u64, text: &str) -> Entry {
        let sender = UserId::parse("ana", "user").unwrap();
        Entry { seq, sender, sent_at: Timestamp(seq as i64), terms: terms(text) }
    }

    async fn count(db: &Db, what: &str) -> i64 {
        db.fetch_optional::<(i64,)>(&format!("SELECT COUNT(*) FROM {what}"), Args::new()).await.unwrap().unwrap().0
    }

    #[tokio::test]
    async fn entries_come_change_and_go_with_their_room() {
        let config = config::load(&Overrides::default(), std::iter::empty()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&config.database, folder.path(), Default::default()).await.unwrap();
        let project = ProjectId::parse("default", "project").unwrap();
        let [gone, kept] = ["gone", "kept"].map(|name| RoomKey::new(&project, RoomId::parse(name, "room").unwrap()));
        let mut tx = db.begin().await.unwrap();
        for room in [&gone, &kept] {
            assert_eq!(lock(&mut tx, room).await.unwrap(), 0);
            insert(&mut tx, room, &[entry(1, "one word"), entry(2, "!"), entry(3, "two words")]).await.unwrap();
            advance(&mut tx, room, 3, Timestamp(3)).await.unwrap();
            assert_eq!(lock(&mut tx, room).await.unwrap(), 3);
        }
        replace(&mut tx, &gone, entry(1, "another")).await.unwrap();
        replace(&mut tx, &gone, entry(2, "some")).await.unwrap();
        replace(&mut tx, &kept, entry(3, "")).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(count(&db, "search_messages").await, 4);
        assert_eq!(count(&db, "search_index WHERE search_index MATCH 'word'").await, 1);
        assert_eq!(count(&db, "search_index WHERE search_index MATCH 'another OR some'").await, 2);
        let mut tx = db.begin().await.unwrap();
        let mut rounds = 0;
        while erase(&mut tx, &gone, 2).await.unwrap() {
            rounds += 1;
        }
        tx.commit().await.unwrap();
        assert_eq!(rounds, 3, "two entries, one, the place");
        assert_eq!(count(&db, "search_messages").await, 1);
        assert_eq!(count(&db, "search_index WHERE search_index MATCH 'another OR some OR two'").await, 0);
        assert_eq!(count(&db, "search_rooms").await, 1);
    }
}
