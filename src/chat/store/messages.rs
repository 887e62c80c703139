//! Messages and reactions: reading them, changing them.

use std::sync::Arc;

use super::{by_room, from_json, mentions, metadata_json};
use crate::{
    chat::message::{
        Attachment, Content, Deletion, LanePlace, Mention, Message, REACTION_USERS_SHOWN, ReactionSummary,
    },
    clock::Timestamp,
    db::{Db, FromRow, Row, RowResult, Tx},
    error::Result,
    id::{RoomKey, UserId},
};

/// The columns of a [`Message`], of a table called `m`.
pub(super) const COLUMNS: &str = "m.seq, m.position, m.sender_id, m.client_message_id, m.text, m.content_type, \
     m.metadata, m.attachments, m.mentions, m.reply_to_seq, m.created_at, m.edited_at, m.deleted_at, m.deleted_by, \
     m.deletion_reason, m.lane_id, m.client_seq, m.missing_before, \
     m.keeps_unread";

pub(super) fn attachments_json(attachments: &[Attachment]) -> Option<String> {
    (!attachments.is_empty()).then(|| serde_json::to_string(attachments).unwrap_or_default())
}

pub(super) fn mentions_json(mentions: &[Mention]) -> Option<String> {
    (!mentions.is_empty()).then(|| serde_json::to_string(mentions).unwrap_or_default())
}

impl FromRow for Message {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self {
            seq: row.count()?,
            position: row.count()?,
            sender: row.read()?,
            client_message_id: row.uuid()?,
            content: Arc::new(Content {
                text: row.text()?,
                content_type: row.text_opt()?,
                metadata: from_json(row.json_opt()?)?,
                attachments: from_json(row.json_opt()?)?,
                mentions: from_json(row.json_opt()?)?,
            }),
            reply_to: row.count_opt()?,
            created_at: row.time()?,
            edited_at: row.time_opt()?,
            deleted: match (row.time_opt()?, row.text_opt()?, row.text_opt()?) {
                (Some(at), Some(by), reason) => {
                    Some(Deletion { at, by: UserId::stored(by), reason: reason.unwrap_or_default() })
                }
                _ => None,
            },
            lane: match (row.text_opt()?, row.count_opt()?, row.count_opt()?) {
                (Some(lane), Some(number), Some(missing)) => Some(LanePlace(lane.into(), number, missing)),
                _ => None,
            },
            keeps_unread: row.int()? != 0,
        })
    }
}

/// One message, in a transaction that is about to change it.
pub(in crate::chat) async fn get_for_change(tx: &mut Tx, room: &RoomKey, seq: u64) -> Result<Option<Message>> {
    let statement = format!("SELECT {COLUMNS} FROM messages m WHERE project_id = $1 AND room_id = $2 AND seq = $3");
    tx.fetch_optional(&statement, by_room(room).with(seq)).await
}

/// One message.
pub(in crate::chat) async fn get(db: &Db, room: &RoomKey, seq: u64) -> Result<Option<Message>> {
    let statement = format!("SELECT {COLUMNS} FROM messages m WHERE project_id = $1 AND room_id = $2 AND seq = $3");
    db.fetch_optional(&statement, by_room(room).with(seq)).await
}

/// Those of `seqs` that there are, in any order.
pub(in crate::chat) async fn get_all(db: &Db, room: &RoomKey, seqs: &[u64]) -> Result<Vec<Message>> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<String> = (0..seqs.len()).map(|i| format!("${}", i + 3)).collect();
    let statement = format!(
        "SELECT {COLUMNS} FROM messages m WHERE project_id = $1 AND room_id = $2 AND seq IN ({})",
        places.join(", ")
    );
    db.fetch_all(&statement, seqs.iter().fold(by_room(room), |args, seq| args.with(*seq))).await
}

/// At most `limit` messages from `start` on, itself included, downwards or upwards.
pub(in crate::chat) async fn list(
    db: &Db,
    room: &RoomKey,
    start: u64,
    upwards: bool,
    limit: usize,
) -> Result<Vec<Message>> {
    db.fetch_all(&list_statement(upwards), by_room(room).with(start).with(limit as u64)).await
}

pub(super) fn list_statement(upwards: bool) -> String {
    let (compare, order) = if upwards { (">=", "ASC") } else { ("<=", "DESC") };
    format!(
        "SELECT {COLUMNS} FROM messages m WHERE project_id = $1 AND room_id = $2 AND seq {compare} $3 \
         ORDER BY seq {order} LIMIT $4"
    )
}

/// Writes new content.
pub(in crate::chat) async fn edit(
    tx: &mut Tx,
    room: &RoomKey,
    seq: u64,
    content: &Content,
    now: Timestamp,
) -> Result<()> {
    let args = by_room(room)
        .with(seq)
        .with(content.text.as_str())
        .with(content.content_type.clone())
        .with_json(metadata_json(&content.metadata))
        .with_json(attachments_json(&content.attachments))
        .with_json(mentions_json(&content.mentions))
        .with(now);
    let statement = "UPDATE messages SET text = $4, content_type = $5, metadata = $6, attachments = $7, mentions = $8, \
         edited_at = $9 WHERE project_id = $1 AND room_id = $2 AND seq = $3";
    tx.execute(statement, args).await.map(drop)
}

/// Erases the content, the reactions and the mentions, and leaves a tombstone.
pub(in crate::chat) async fn delete(
    tx: &mut Tx,
    room: &RoomKey,
    seq: u64,
    by: &UserId,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    let statement = "UPDATE messages SET text = '', content_type = NULL, metadata = NULL, attachments = NULL, mentions = NULL, \
         deleted_at = $4, deleted_by = $5, deletion_reason = $6 WHERE project_id = $1 AND room_id = $2 AND seq = $3";
    tx.execute(
        statement,
        by_room(room).with(seq).with(now).with(by).with(Some(reason.to_owned()).filter(|r| !r.is_empty())),
    )
    .await?;
    let statement = "DELETE FROM reactions WHERE project_id = $1 AND room_id = $2 AND seq = $3";
    tx.execute(statement, by_room(room).with(seq)).await?;
    mentions::remove(tx, room, seq).await
}

/// How a user stands to an emoji on a message.
pub(in crate::chat) struct ReactionUse {
    /// Whether the user has reacted with it.
    pub(in crate::chat) mine: bool,
    /// Whether anybody has.
    pub(in crate::chat) used: bool,
    /// Reactions of the user on the message, with whatever emoji.
    pub(in crate::chat) of_user: u64,
}

impl FromRow for ReactionUse {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { mine: row.count()? > 0, used: row.count()? > 0, of_user: row.count()? })
    }
}

/// Looks up how a user stands to an emoji: by index, however many reactions there are.
pub(in crate::chat) async fn reaction_use(
    tx: &mut Tx,
    room: &RoomKey,
    seq: u64,
    emoji: &str,
    user: &UserId,
) -> Result<ReactionUse> {
    const OF_MESSAGE: &str = "SELECT 1 FROM reactions WHERE project_id = $1 AND room_id = $2 AND seq = $3";
    let statement = format!(
        "SELECT EXISTS ({OF_MESSAGE} AND emoji = $4 AND user_id = $5), EXISTS ({OF_MESSAGE} AND emoji = $4), \
                (SELECT COUNT(*) FROM ({OF_MESSAGE} AND user_id = $5) AS own)"
    );
    let found = tx.fetch_optional(&statement, by_room(room).with(seq).with(emoji).with(user)).await?;
    Ok(found.unwrap_or(ReactionUse { mine: false, used: false, of_user: 0 }))
}

/// How many different emoji a message has. It looks at all its reactions: ask only before a new emoji.
pub(in crate::chat) async fn count_emoji(tx: &mut Tx, room: &RoomKey, seq: u64) -> Result<i64> {
    let statement = "SELECT COUNT(DISTINCT emoji) FROM reactions WHERE project_id = $1 AND room_id = $2 AND seq = $3";
    Ok(tx.fetch_optional::<(i64,)>(statement, by_room(room).with(seq)).await?.map_or(0, |(n,)| n))
}

/// Adds a reaction.
pub(in crate::chat) async fn react(
    tx: &mut Tx,
    room: &RoomKey,
    seq: u64,
    emoji: &str,
    user: &UserId,
    position: u64,
) -> Result<()> {
    let statement = "INSERT INTO reactions (project_id, room_id, seq, emoji, user_id, position) \
         VALUES ($1, $2, $3, $4, $5, $6)";
    tx.execute(statement, by_room(room).with(seq).with(emoji).with(user).with(position)).await.map(drop)
}

/// Takes a reaction back; answers whether there was one.
pub(in crate::chat) async fn unreact(
    tx: &mut Tx,
    room: &RoomKey,
    seq: u64,
    emoji: &str,
    user: &UserId,
) -> Result<bool> {
    let statement =
        "DELETE FROM reactions WHERE project_id = $1 AND room_id = $2 AND seq = $3 AND emoji = $4 AND user_id = $5";
    Ok(tx.execute(statement, by_room(room).with(seq).with(emoji).with(user)).await? > 0)
}

struct ReactionRow {
    seq: u64,
    emoji: String,
    user: UserId,
    rank: u64,
    count: u64,
    mine: bool,
}

impl FromRow for ReactionRow {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self {
            seq: row.count()?,
            emoji: row.text()?,
            user: row.read()?,
            rank: row.count()?,
            count: row.count()?,
            mine: row.count()? > 0,
        })
    }
}

pub(super) const REACTIONS: &str = "SELECT seq, emoji, user_id, rank, count, mine FROM ( \
         SELECT seq, emoji, user_id, position, \
                    ROW_NUMBER() OVER (PARTITION BY seq, emoji ORDER BY position) AS rank, \
                    COUNT(*) OVER (PARTITION BY seq, emoji) AS count, \
                    MAX(CASE WHEN user_id = $5 THEN 1 ELSE 0 END) OVER (PARTITION BY seq, emoji) AS mine \
             FROM reactions WHERE project_id = $1 AND room_id = $2 AND seq BETWEEN $3 AND $4) AS ranked \
         WHERE rank <= $6 ORDER BY seq, position";

/// The reactions on the messages from `first` to `last`, as `(seq, summary)` in the order in which emoji first came.
pub(in crate::chat) async fn reactions(
    db: &Db,
    room: &RoomKey,
    first: u64,
    last: u64,
    caller: &UserId,
) -> Result<Vec<(u64, ReactionSummary)>> {
    let args = by_room(room).with(first).with(last).with(caller).with(REACTION_USERS_SHOWN as u64);
    let rows: Vec<ReactionRow> = db.fetch_all(REACTIONS, args).await?;
    let mut summaries: Vec<(u64, ReactionSummary)> = Vec::new();
    for row in rows {
        if row.rank == 1 {
            let count = row.count.try_into().unwrap_or(u32::MAX);
            let summary = ReactionSummary { emoji: row.emoji, count, users: vec![row.user], by_caller: row.mine };
            summaries.push((row.seq, summary));
        } else if let Some((_, summary)) =
            summaries.iter_mut().rev().find(|(seq, s)| *seq == row.seq && s.emoji == row.emoji)
        {
            summary.users.push(row.user);
        }
    }
    Ok(summaries)
}
