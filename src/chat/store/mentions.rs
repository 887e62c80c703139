//! Whom messages mention.

use std::collections::HashSet;

use super::{by_room, look_up, padded, placeholders};
use crate::{
    chat::message::Mention,
    db::{Args, Dialect, FromRow, Row, RowResult, Tx},
    error::Result,
    id::{RoomKey, UserId},
};

/// Stands for everyone in the room.
const EVERYONE: &str = "";

struct Member(RoomKey, UserId);

impl FromRow for Member {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self(row.read()?, row.read()?))
    }
}

/// Those of these users who are members of these rooms.
pub(in crate::chat) async fn members(tx: &mut Tx, wanted: &[(RoomKey, UserId)]) -> Result<HashSet<(RoomKey, UserId)>> {
    const WIDTH: usize = 3;
    let mut found = HashSet::with_capacity(wanted.len());
    // A batch may mention more than one statement takes.
    for wanted in wanted.chunks(MOST) {
        let Some(last) = wanted.last() else { break };
        let (table, n) = match tx.dialect() {
            Dialect::ValueLists => {
                let n = padded(wanted.len());
                (format!("VALUES {}", placeholders(n, WIDTH)), n)
            }
            Dialect::ArraysAndLocks => {
                ("SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[])".to_owned(), wanted.len())
            }
        };
        let member = "me.project_id = w.project_id AND me.room_id = w.room_id AND me.user_id = w.user_id";
        let statement = format!(
            "WITH wanted (project_id, room_id, user_id) AS ({table}) \
             SELECT me.project_id, me.room_id, me.user_id FROM wanted w {}",
            look_up(tx.dialect(), "JOIN", "members", "me", member)
        );
        let mut args = Args::with_capacity(n * WIDTH);
        for (room, user) in wanted.iter().chain(std::iter::repeat_n(last, n - wanted.len())) {
            args.push(&room.project);
            args.push(&room.room);
            args.push(user);
        }
        let rows: Vec<Member> = tx.fetch_all(&statement, shaped(tx, args, WIDTH)).await?;
        found.extend(rows.into_iter().map(|Member(room, user)| (room, user)));
    }
    Ok(found)
}

/// Rows in one statement.
const MOST: usize = 4_096;

fn shaped(tx: &Tx, args: Args, width: usize) -> Args {
    match tx.dialect() {
        Dialect::ValueLists => args,
        Dialect::ArraysAndLocks => args.into_columns(width),
    }
}

/// Writes whom messages mention.
pub(in crate::chat) async fn insert(tx: &mut Tx, messages: &[(&RoomKey, u64, &[Mention])]) -> Result<()> {
    const WIDTH: usize = 4;
    let rows: Vec<(&RoomKey, u64, &str)> = messages
        .iter()
        .flat_map(|(room, seq, mentions)| {
            mentions.iter().map(|m| (*room, *seq, m.user.as_ref().map_or(EVERYONE, UserId::as_str)))
        })
        .collect();
    for rows in rows.chunks(MOST) {
        let Some(last) = rows.last() else { break };
        let (table, n) = match tx.dialect() {
            Dialect::ValueLists => {
                let n = padded(rows.len());
                // Without a condition the conflict that follows would be read as the end of a join.
                (format!("(VALUES {}) WHERE TRUE", placeholders(n, WIDTH)), n)
            }
            Dialect::ArraysAndLocks => {
                ("UNNEST($1::text[], $2::text[], $3::text[], $4::int8[])".to_owned(), rows.len())
            }
        };
        let statement = format!(
            "INSERT INTO mentions (project_id, user_id, room_id, seq) SELECT * FROM {table} ON CONFLICT DO NOTHING"
        );
        let mut args = Args::with_capacity(n * WIDTH);
        for (room, seq, user) in rows.iter().chain(std::iter::repeat_n(last, n - rows.len())) {
            args.push(&room.project);
            args.push(*user);
            args.push(&room.room);
            args.push(*seq);
        }
        tx.execute(&statement, shaped(tx, args, WIDTH)).await?;
    }
    Ok(())
}

/// Forgets whom a message mentions.
pub(in crate::chat) async fn remove(tx: &mut Tx, room: &RoomKey, seq: u64) -> Result<()> {
    let statement = "DELETE FROM mentions WHERE project_id = $1 AND room_id = $2 AND seq = $3";
    tx.execute(statement, by_room(room).with(seq)).await.map(drop)
}
