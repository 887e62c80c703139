//! Whom messages mention.

use std::collections::HashSet;

use super::{by_room, look_up, shaped, table};
use crate::{
    chat::message::Mention,
    db::{Args, FromRow, Row, RowResult, Tx},
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
    const TYPES: [&str; 3] = ["text"; 3];
    let mut found = HashSet::with_capacity(wanted.len());
    // A batch may mention more than one statement takes.
    for wanted in wanted.chunks(MOST) {
        let Some(last) = wanted.last() else { break };
        let (table, n) = table(tx.dialect(), &TYPES, wanted.len(), 0);
        let member = "me.project_id = w.project_id AND me.room_id = w.room_id AND me.user_id = w.user_id";
        let statement = format!(
            "WITH wanted (project_id, room_id, user_id) AS {table} \
             SELECT me.project_id, me.room_id, me.user_id FROM wanted w {}",
            look_up(tx.dialect(), "JOIN", "members", "me", member)
        );
        let mut args = Args::with_capacity(n * TYPES.len());
        for (room, user) in wanted.iter().chain(std::iter::repeat_n(last, n - wanted.len())) {
            args.push(&room.project);
            args.push(&room.room);
            args.push(user);
        }
        let rows: Vec<Member> = tx.fetch_all(&statement, shaped(tx.dialect(), args, TYPES.len())).await?;
        found.extend(rows.into_iter().map(|Member(room, user)| (room, user)));
    }
    Ok(found)
}

/// Rows in one statement.
const MOST: usize = 4_096;

/// Who mentions whom in a message of a room.
pub(in crate::chat) struct Mentioning<'a> {
    pub(in crate::chat) room: &'a RoomKey,
    pub(in crate::chat) seq: u64,
    pub(in crate::chat) sender: &'a UserId,
    pub(in crate::chat) mentions: &'a [Mention],
}

/// Writes whom messages mention.
pub(in crate::chat) async fn insert(tx: &mut Tx, messages: &[Mentioning<'_>]) -> Result<()> {
    const TYPES: [&str; 5] = ["text", "text", "text", "int8", "text"];
    let rows: Vec<(&Mentioning<'_>, &str)> = messages
        .iter()
        .flat_map(|message| {
            message.mentions.iter().map(move |m| (message, m.user.as_ref().map_or(EVERYONE, UserId::as_str)))
        })
        .collect();
    for rows in rows.chunks(MOST) {
        let Some(last) = rows.last() else { break };
        let (table, n) = table(tx.dialect(), &TYPES, rows.len(), 0);
        // Without a condition SQLite reads the conflict that follows as the end of a join.
        let statement = format!(
            "INSERT INTO mentions (project_id, user_id, room_id, seq, sender_id) SELECT * FROM {table} AS new WHERE TRUE \
             ON CONFLICT DO NOTHING"
        );
        let mut args = Args::with_capacity(n * TYPES.len());
        for (message, user) in rows.iter().chain(std::iter::repeat_n(last, n - rows.len())) {
            args.push(&message.room.project);
            args.push(*user);
            args.push(&message.room.room);
            args.push(message.seq);
            args.push(message.sender);
        }
        tx.execute(&statement, shaped(tx.dialect(), args, TYPES.len())).await?;
    }
    Ok(())
}

/// Forgets whom a message mentions.
pub(in crate::chat) async fn remove(tx: &mut Tx, room: &RoomKey, seq: u64) -> Result<()> {
    let statement = "DELETE FROM mentions WHERE project_id = $1 AND room_id = $2 AND seq = $3";
    tx.execute(statement, by_room(room).with(seq)).await.map(drop)
}
