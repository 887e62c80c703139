//! The durable events of a room: what its log holds.

use std::sync::Arc;

use super::{
    message::Message,
    room::{Member, Room},
};
use crate::{
    clock::Timestamp,
    id::{RoomKey, UserId},
};

/// Something that happened in a room, with its number there.
#[derive(Clone, Debug)]
pub struct Event {
    /// The room.
    pub room: RoomKey,
    /// 1, 2, 3, … without holes.
    pub position: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Who did it.
    pub actor: UserId,
    /// What it was.
    pub body: EventBody,
}

/// What happened.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the same events, documented, are in proto/relay/chat/v1/stream.proto")]
pub enum EventBody {
    MessageCreated(Box<Message>),
    MessageEdited(Box<Message>),
    MessageDeleted { seq: u64, reason: String },
    ReactionAdded { seq: u64, emoji: String },
    ReactionRemoved { seq: u64, emoji: String },
    MemberJoined(Member),
    MemberLeft { user: UserId, banned: bool },
    MemberUpdated(Member),
    RoomUpdated(Arc<Room>),
    RoomDeleted,
    MessagePinned { seq: u64 },
    MessageUnpinned { seq: u64 },
}

/// About how many bytes an event takes beside its content.
const EVENT_WEIGHT: usize = 256;

impl Event {
    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        EVENT_WEIGHT
            + match &self.body {
                EventBody::MessageCreated(message) | EventBody::MessageEdited(message) => message.content.weight(),
                EventBody::RoomUpdated(room) => room.weight(),
                EventBody::MessageDeleted { reason, .. } => reason.len(),
                _ => 0,
            }
    }
}

/// How many events from the start weigh at most `bytes` together; at least one, if there is any.
pub(super) fn fitting(events: &[Event], bytes: usize) -> usize {
    let mut sum = 0;
    let fits = events.iter().take_while(|event| {
        sum += event.weight();
        sum <= bytes
    });
    fits.count().max(1).min(events.len())
}
