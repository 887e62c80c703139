//! Reports of messages, each with a copy of its message.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::by_room;
use crate::{
    chat::{
        message::{Attachment, Content, LanePlace, Mention, Message, Metadata},
        moderation::{Category, Report, Resolution},
    },
    clock::Timestamp,
    db::{Args, Db, FromRow, Row, RowResult, Tx},
    error::Result,
    id::{ProjectId, RoomKey, UserId, UserKey},
};

/// A message as a report keeps it: not deleted, and without what others did to it.
#[derive(Serialize, Deserialize)]
struct Kept {
    seq: u64,
    position: u64,
    sender: UserId,
    client_message_id: Uuid,
    text: String,
    content_type: Option<String>,
    metadata: Metadata,
    attachments: Vec<Attachment>,
    mentions: Vec<Mention>,
    reply_to: Option<u64>,
    created_at: i64,
    edited_at: Option<i64>,
    lane: Option<LanePlace>,
    #[serde(default)]
    keeps_unread: bool,
}

impl Kept {
    fn of(message: &Message) -> Self {
        let Content { text, content_type, metadata, attachments, mentions } = (*message.content).clone();
        Self {
            seq: message.seq,
            position: message.position,
            sender: message.sender.clone(),
            client_message_id: message.client_message_id,
            text,
            content_type,
            metadata,
            attachments,
            mentions,
            reply_to: message.reply_to,
            created_at: message.created_at.0,
            edited_at: message.edited_at.map(|at| at.0),
            lane: message.lane.clone(),
            keeps_unread: message.keeps_unread,
        }
    }

    fn message(self) -> Message {
        let Self { text, content_type, metadata, attachments, mentions, .. } = self;
        Message {
            seq: self.seq,
            position: self.position,
            sender: self.sender,
            client_message_id: self.client_message_id,
            content: Arc::new(Content { text, content_type, metadata, attachments, mentions }),
            reply_to: self.reply_to,
            created_at: Timestamp(self.created_at),
            edited_at: self.edited_at.map(Timestamp),
            deleted: None,
            lane: self.lane,
            keeps_unread: self.keeps_unread,
        }
    }
}

const COLUMNS: &str = "report_id, room_id, reporter_id, category, comment, message, reported_at, resolved_by, resolved_at, \
     resolution";

impl FromRow for Report {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        let (id, room, reporter) = (row.uuid()?, row.read()?, row.read()?);
        let category = Category::from_number(row.int()?).ok_or_else(|| Row::corrupt("report category"))?;
        let comment = row.text()?;
        let kept: Option<Kept> = row.json_opt()?.and_then(|json| serde_json::from_str(&json).ok());
        let message = kept.ok_or_else(|| Row::corrupt("reported message"))?.message();
        let reported_at = row.time()?;
        let resolved = match (row.text_opt()?, row.time_opt()?, row.text_opt()?) {
            (Some(by), Some(at), note) => {
                Some(Resolution { by: UserId::stored(by), at, note: note.unwrap_or_default() })
            }
            _ => None,
        };
        Ok(Self { id, room, reporter, message, category, comment, reported_at, resolved })
    }
}

/// Whether a user has an open report of a message.
pub(in crate::chat) async fn is_open(tx: &mut Tx, room: &RoomKey, seq: u64, reporter: &UserId) -> Result<bool> {
    let statement = "SELECT 1 FROM reports WHERE project_id = $1 AND room_id = $2 AND seq = $3 AND reporter_id = $4 \
         AND resolved_at IS NULL";
    Ok(tx.fetch_optional::<(i64,)>(statement, by_room(room).with(seq).with(reporter)).await?.is_some())
}

/// How many open reports a user has made.
pub(in crate::chat) async fn count_open(tx: &mut Tx, reporter: &UserKey) -> Result<i64> {
    let statement = "SELECT COUNT(*) FROM reports WHERE project_id = $1 AND reporter_id = $2 AND resolved_at IS NULL";
    let args = Args::new().with(&reporter.project).with(&reporter.user);
    Ok(tx.fetch_optional::<(i64,)>(statement, args).await?.map_or(0, |(n,)| n))
}

/// Writes an open report, in the place of the reporter's open one of the same message; answers with its id.
pub(in crate::chat) async fn put(tx: &mut Tx, room: &RoomKey, report: &Report) -> Result<Option<Uuid>> {
    let statement = "INSERT INTO reports (project_id, room_id, report_id, seq, reporter_id, category, comment, message, \
             reported_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (project_id, room_id, seq, reporter_id) WHERE resolved_at IS NULL DO UPDATE SET \
             category = excluded.category, comment = excluded.comment, message = excluded.message, \
             reported_at = excluded.reported_at RETURNING report_id";
    let args = by_room(room)
        .with(report.id)
        .with(report.message.seq)
        .with(&report.reporter)
        .with(report.category.number())
        .with(report.comment.as_str())
        .with_json(Some(serde_json::to_string(&Kept::of(&report.message)).unwrap_or_default()))
        .with(report.reported_at);
    Ok(tx.fetch_optional::<Id>(statement, args).await?.map(|Id(id)| id))
}

struct Id(Uuid);

impl FromRow for Id {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        row.uuid().map(Self)
    }
}

/// The reports of a project, open or closed, that were made before one, the newest first.
pub(in crate::chat) async fn list(
    db: &Db,
    project: &ProjectId,
    resolved: bool,
    before: Uuid,
    limit: usize,
) -> Result<Vec<Report>> {
    let is = if resolved { "IS NOT NULL" } else { "IS NULL" };
    let statement = format!(
        "SELECT {COLUMNS} FROM reports WHERE project_id = $1 AND report_id < $2 AND resolved_at {is} \
         ORDER BY report_id DESC LIMIT $3"
    );
    db.fetch_all(&statement, Args::new().with(project).with(before).with(limit as u64)).await
}

/// A report.
pub(in crate::chat) async fn get(tx: &mut Tx, project: &ProjectId, id: Uuid) -> Result<Option<Report>> {
    let statement = format!("SELECT {COLUMNS} FROM reports WHERE project_id = $1 AND report_id = $2");
    tx.fetch_optional(&statement, Args::new().with(project).with(id)).await
}

/// Closes a report that is open.
pub(in crate::chat) async fn resolve(
    tx: &mut Tx,
    project: &ProjectId,
    id: Uuid,
    resolution: &Resolution,
) -> Result<()> {
    let statement = "UPDATE reports SET resolved_by = $3, resolved_at = $4, resolution = $5 \
         WHERE project_id = $1 AND report_id = $2 AND resolved_at IS NULL";
    let args =
        Args::new().with(project).with(id).with(&resolution.by).with(resolution.at).with(resolution.note.as_str());
    tx.execute(statement, args).await.map(drop)
}
