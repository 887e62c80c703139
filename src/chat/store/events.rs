//! The log of a room's durable events: writing the ones that are no messages, reading all of them, forgetting old ones.

use std::{collections::HashMap, sync::Arc};

use super::{append, by_room, history, index, messages, rooms};
use crate::{
    chat::{
        event::{Event, EventBody},
        message::Message,
        room::{Member, Role, Room},
    },
    clock::Timestamp,
    db::{Args, Db, Dialect, FromRow, Row, RowResult, Tx},
    error::Result,
    id::{RoomKey, UserId},
};

/// The number that the database keeps for each kind; 1 is the creation of a message, which its own row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    MessageEdited = 2,
    MessageDeleted = 3,
    ReactionAdded = 4,
    ReactionRemoved = 5,
    MemberJoined = 6,
    MemberLeft = 7,
    MemberUpdated = 8,
    RoomUpdated = 9,
    RoomDeleted = 10,
    MessagePinned = 11,
    MessageUnpinned = 12,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::MessageEdited,
        Self::MessageDeleted,
        Self::ReactionAdded,
        Self::ReactionRemoved,
        Self::MemberJoined,
        Self::MemberLeft,
        Self::MemberUpdated,
        Self::RoomUpdated,
        Self::RoomDeleted,
        Self::MessagePinned,
        Self::MessageUnpinned,
    ];
}

/// The detail of a leaving by a ban.
const BANNED: &str = "banned";

/// Writes an event. The creation of a message writes nothing here.
pub(in crate::chat) async fn insert(tx: &mut Tx, event: &Event) -> Result<()> {
    let role = |member: &Member| {
        let muted = member.muted_until.map(|until| format!(" {}", until.0)).unwrap_or_default();
        Some(format!("{} {}{muted}", member.role.number(), member.joined_at.0))
    };
    let (kind, seq, user, detail) = match &event.body {
        EventBody::MessageCreated(_) => return Ok(()),
        EventBody::MessageEdited(message) => (Kind::MessageEdited, Some(message.seq), None, None),
        EventBody::MessageDeleted { seq, reason } => {
            (Kind::MessageDeleted, Some(*seq), None, Some(reason.clone()).filter(|reason| !reason.is_empty()))
        }
        EventBody::ReactionAdded { seq, emoji } => (Kind::ReactionAdded, Some(*seq), None, Some(emoji.clone())),
        EventBody::ReactionRemoved { seq, emoji } => (Kind::ReactionRemoved, Some(*seq), None, Some(emoji.clone())),
        EventBody::MemberJoined(member) => (Kind::MemberJoined, None, Some(&member.user), role(member)),
        EventBody::MemberLeft { user, banned } => {
            (Kind::MemberLeft, None, Some(user), banned.then(|| BANNED.to_owned()))
        }
        EventBody::MemberUpdated(member) => (Kind::MemberUpdated, None, Some(&member.user), role(member)),
        EventBody::RoomUpdated(_) => (Kind::RoomUpdated, None, None, None),
        EventBody::RoomDeleted => (Kind::RoomDeleted, None, None, None),
        EventBody::MessagePinned { seq } => (Kind::MessagePinned, Some(*seq), None, None),
        EventBody::MessageUnpinned { seq } => (Kind::MessageUnpinned, Some(*seq), None, None),
    };
    let statement = "INSERT INTO events (project_id, room_id, position, kind, actor_id, occurred_at, seq, user_id, detail) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let args = by_room(&event.room)
        .with(event.position)
        .with(kind as i64)
        .with(&event.actor)
        .with(event.at)
        .with(seq)
        .with(user.map(|u| u.as_str().to_owned()))
        .with(detail);
    tx.execute(statement, args).await.map(drop)
}

/// Whether an event that was given this position stands in the log. The transaction waits for one that is still writing
/// it.
pub(in crate::chat) async fn is_written(tx: &mut Tx, event: &Event) -> Result<bool> {
    rooms::load_counters(tx, &event.room).await?;
    let (statement, args) = match &event.body {
        EventBody::MessageCreated(message) => (
            "SELECT 1 FROM messages WHERE project_id = $1 AND room_id = $2 AND position = $3 AND client_message_id = $4",
            by_room(&event.room).with(event.position).with(message.client_message_id),
        ),
        _ => (
            "SELECT 1 FROM events WHERE project_id = $1 AND room_id = $2 AND position = $3 AND actor_id = $4 \
             AND occurred_at = $5",
            by_room(&event.room).with(event.position).with(&event.actor).with(event.at),
        ),
    };
    Ok(tx.fetch_optional::<(i64,)>(statement, args).await?.is_some())
}

struct Stored {
    position: u64,
    kind: i64,
    actor: UserId,
    at: Timestamp,
    seq: Option<u64>,
    user: Option<UserId>,
    detail: Option<String>,
}

impl FromRow for Stored {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self {
            position: row.count()?,
            kind: row.int()?,
            actor: row.read()?,
            at: row.time()?,
            seq: row.count_opt()?,
            user: row.text_opt()?.map(UserId::stored),
            detail: row.text_opt()?,
        })
    }
}

/// The newest position of a room, as far as `user` is a member; `None` if they are not, or there is no such room any more.
pub(in crate::chat) async fn end_for(db: &Db, room: &RoomKey, user: &UserId) -> Result<Option<u64>> {
    let statement = "SELECT r.last_position FROM rooms r JOIN members me \
             ON me.project_id = r.project_id AND me.room_id = r.room_id AND me.user_id = $3 \
         WHERE r.project_id = $1 AND r.room_id = $2 AND r.deleted_at IS NULL";
    let found = db.fetch_optional::<(i64,)>(statement, by_room(room).with(user)).await?;
    Ok(found.map(|(end,)| u64::try_from(end).unwrap_or_default()))
}

/// The newest position of a room; `None` if there is no such room any more.
pub(in crate::chat) async fn end(db: &Db, room: &RoomKey) -> Result<Option<u64>> {
    let statement = "SELECT last_position FROM rooms WHERE project_id = $1 AND room_id = $2 AND deleted_at IS NULL";
    let found = db.fetch_optional::<(i64,)>(statement, by_room(room)).await?;
    Ok(found.map(|(end,)| u64::try_from(end).unwrap_or_default()))
}

/// Reads the events after `after` up to `last`, both known to be in the log, in the order of their positions, as they are
/// now. `None`: some of them have been forgotten.
pub(in crate::chat) async fn read(db: &Db, room: &RoomKey, after: u64, last: u64) -> Result<Option<Vec<Event>>> {
    // As new as the room is, not only as the page: nothing of a message that was changed or deleted since is shown.
    let between = |db: Db| async move { Between::load(&db, room, after, last).await };
    let Between { created, stored, current } = history::read_newest(db, room, between).await?;
    let mut events: Vec<Event> = created
        .into_iter()
        .map(|message| Event {
            room: room.clone(),
            position: message.position,
            at: message.created_at,
            actor: message.sender.clone(),
            body: EventBody::MessageCreated(Box::new(message)),
        })
        .chain(stored.into_iter().filter_map(|event| current.event(room, event)))
        .collect();
    events.sort_by_key(|event| event.position);
    let complete = events.len() as u64 == last.saturating_sub(after);
    Ok(complete.then_some(events))
}

/// A user's joining of a room, as the log has it.
pub(in crate::chat) struct Joining {
    pub(in crate::chat) room: RoomKey,
    pub(in crate::chat) user: UserId,
    pub(in crate::chat) position: u64,
    pub(in crate::chat) at: Timestamp,
}

impl FromRow for Joining {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { room: row.read()?, user: row.read()?, position: row.count()?, at: row.time()? })
    }
}

/// The last joinings of members, those from `since` on, at most `limit`, the oldest first. More than `limit` may have been
/// at one moment. Who left and came again joined when they came again.
pub(in crate::chat) async fn joinings(db: &Db, since: Timestamp, limit: u64) -> Result<Vec<Joining>> {
    // The kind stands in the text, so that the index of joinings is found.
    let statement = format!(
        "SELECT e.project_id, e.room_id, e.user_id, MAX(e.position), e.occurred_at FROM events e \
         JOIN members me ON me.project_id = e.project_id AND me.room_id = e.room_id AND me.user_id = e.user_id \
              AND me.joined_at = e.occurred_at \
         WHERE e.kind = {} AND e.occurred_at >= $1 \
         GROUP BY e.project_id, e.room_id, e.user_id, e.occurred_at ORDER BY e.occurred_at LIMIT $2",
        Kind::MemberJoined as i64
    );
    db.fetch_all(&statement, Args::new().with(since).with(limit)).await
}

/// The rows of a part of a log.
struct Between {
    created: Vec<Message>,
    stored: Vec<Stored>,
    current: Current,
}

impl Between {
    /// What came after `after`, up to `last`.
    async fn load(db: &Db, room: &RoomKey, after: u64, last: u64) -> Result<Self> {
        let range = || by_room(room).with(after).with(last);
        let created: Vec<Message> = db.fetch_all(&created_statement(), range()).await?;
        let stored: Vec<Stored> = match created.len() as u64 == last.saturating_sub(after) {
            // Nothing but messages.
            true => Vec::new(),
            false => db.fetch_all(STORED, range()).await?,
        };
        let current = Current::load(db, room, &stored).await?;
        Ok(Self { created, stored, current })
    }
}

pub(super) fn created_statement() -> String {
    format!(
        "SELECT {} FROM messages m WHERE project_id = $1 AND room_id = $2 AND position > $3 AND position <= $4",
        messages::COLUMNS
    )
}

pub(super) const STORED: &str = "SELECT position, kind, actor_id, occurred_at, seq, user_id, detail FROM events \
     WHERE project_id = $1 AND room_id = $2 AND position > $3 AND position <= $4";

/// What events refer to, as it is now.
struct Current {
    messages: HashMap<u64, Message>,
    room: Option<Arc<Room>>,
}

impl Current {
    async fn load(db: &Db, room: &RoomKey, stored: &[Stored]) -> Result<Self> {
        let mut seqs: Vec<u64> =
            stored.iter().filter(|e| e.kind == Kind::MessageEdited as i64).filter_map(|e| e.seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        let messages = messages::get_all(db, room, &seqs).await?.into_iter().map(|m| (m.seq, m)).collect();
        let room = match stored.iter().any(|e| e.kind == Kind::RoomUpdated as i64) {
            true => rooms::current(db, room).await?.map(Arc::new),
            false => None,
        };
        Ok(Self { messages, room })
    }

    /// The event; `None` if what it is about is not there any more, which only a deletion of the room does.
    fn event(&self, room: &RoomKey, stored: Stored) -> Option<Event> {
        let Stored { position, kind, actor, at, seq, user, detail } = stored;
        let seq = seq.unwrap_or_default();
        let member = || {
            let mut parts = detail.as_deref()?.split(' ');
            let role = Role::from_number(parts.next()?.parse().ok()?)?;
            let joined_at = Timestamp(parts.next()?.parse().ok()?);
            let muted_until = parts.next().and_then(|until| until.parse().ok()).map(Timestamp);
            Some(Member { user: user.clone()?, role, joined_at, muted_until })
        };
        let body = match Kind::ALL.into_iter().find(|k| *k as i64 == kind)? {
            Kind::MessageEdited => EventBody::MessageEdited(Box::new(self.messages.get(&seq)?.clone())),
            Kind::MessageDeleted => EventBody::MessageDeleted { seq, reason: detail.unwrap_or_default() },
            Kind::ReactionAdded => EventBody::ReactionAdded { seq, emoji: detail? },
            Kind::ReactionRemoved => EventBody::ReactionRemoved { seq, emoji: detail? },
            Kind::MemberJoined => EventBody::MemberJoined(member()?),
            Kind::MemberLeft => EventBody::MemberLeft { user: user?, banned: detail.as_deref() == Some(BANNED) },
            Kind::MemberUpdated => EventBody::MemberUpdated(member()?),
            Kind::RoomUpdated => EventBody::RoomUpdated(self.room.clone()?),
            Kind::RoomDeleted => EventBody::RoomDeleted,
            Kind::MessagePinned => EventBody::MessagePinned { seq },
            Kind::MessageUnpinned => EventBody::MessageUnpinned { seq },
        };
        Some(Event { room: room.clone(), position, at, actor, body })
    }
}

/// Forgets events older than `before`, of about `limit`, and notes in their rooms up to where. Answers of how many rooms.
pub(in crate::chat) async fn prune(tx: &mut Tx, before: Timestamp, limit: u64) -> Result<usize> {
    let statement =
        "SELECT project_id, room_id, position FROM events WHERE occurred_at < $1 ORDER BY occurred_at LIMIT $2";
    let aged: Vec<(RoomKey, (i64,))> = tx.fetch_all(statement, Args::new().with(before).with(limit)).await?;
    let mut up_to: HashMap<RoomKey, u64> = HashMap::new();
    for (room, (position,)) in aged {
        let newest = up_to.entry(room).or_default();
        *newest = (*newest).max(u64::try_from(position).unwrap_or_default());
    }
    // All nodes sweep, and the batch has locked rooms before: the next sweep comes to those that are in use now.
    let free = append::lock_free(tx, up_to.keys().cloned().collect()).await?;
    for room in &free {
        let position = up_to.get(room).copied().unwrap_or_default();
        let statement = "DELETE FROM events WHERE project_id = $1 AND room_id = $2 AND position <= $3";
        tx.execute(statement, by_room(room).with(position)).await?;
        let statement = "UPDATE rooms SET pruned_position = $3 \
             WHERE project_id = $1 AND room_id = $2 AND pruned_position < $3";
        tx.execute(statement, by_room(room).with(position)).await?;
    }
    Ok(free.len())
}

/// Erases rows of one deleted room, at most `limit` of each kind; answers whether there was anything to do.
pub(in crate::chat) async fn erase_deleted(tx: &mut Tx, now: Timestamp, limit: u64) -> Result<bool> {
    // Another node may be at it: what it deletes is not there for this one, and would look as if there were no more.
    let lock = match tx.dialect() {
        Dialect::ValueLists => "",
        Dialect::ArraysAndLocks => "FOR NO KEY UPDATE SKIP LOCKED",
    };
    let statement = format!(
        "SELECT project_id, room_id FROM rooms WHERE deleted_at IS NOT NULL AND erased_at IS NULL LIMIT 1 {lock}"
    );
    let Some(room) = tx.fetch_optional::<RoomKey>(&statement, Args::new()).await? else {
        return Ok(false);
    };
    let mut erased = 0;
    for (table, key) in [
        ("reactions", "seq"),
        ("pins", "seq"),
        ("mentions", "seq"),
        ("bans", "user_id"),
        ("restraints", "user_id"),
        ("messages", "seq"),
        ("events", "position"),
        ("lanes", "sender_id"),
    ] {
        let statement = format!(
            "DELETE FROM {table} WHERE project_id = $1 AND room_id = $2 AND {key} IN \
             (SELECT {key} FROM {table} WHERE project_id = $1 AND room_id = $2 ORDER BY {key} LIMIT $3)"
        );
        erased += tx.execute(&statement, by_room(&room).with(limit)).await?;
    }
    if erased == 0 && !index::erase(tx, &room, limit).await? {
        let statement = "UPDATE rooms SET erased_at = $3 WHERE project_id = $1 AND room_id = $2";
        tx.execute(statement, by_room(&room).with(now)).await?;
    }
    Ok(true)
}
