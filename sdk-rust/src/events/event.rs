//! What the event stream yields.

use std::{collections::BTreeMap, time::Duration};

use prost_types::Timestamp;
use relay_proto::chat::v1::{
    Hello, Member, MembershipState, Message, Room, RoomEvent as WireEvent, RoomPresence, UserPresence,
    room_event::Event as WireKind,
};
pub use relay_proto::chat::v1::{ReceiptsChanged, ResumeVerdict, RoomResume, TypingChanged};

use crate::Error;

/// The position held of each room, by room id. An application that stores it can begin there after a restart, with
/// [`events_from`](crate::Client::events_from).
pub type Positions = BTreeMap<String, u64>;

/// One item of [`Events`](crate::Events).
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "nearly every item is a room event, so a box would save nothing")]
pub enum Event {
    /// A stream is open. Verdicts, what was missed and [`CaughtUp`](Self::CaughtUp) follow.
    Connected(Session),
    /// The stream is lost or could not be opened. It is opened again without any doing, and nothing will be missing.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
        /// How long from now until the next attempt begins.
        retry_in: Duration,
    },
    /// How the stream stands to a room: at each opening, and when the user joins or leaves it. After the verdict `Gap`
    /// something was missed that the server no longer replays: list the room's messages anew.
    Resumed(RoomResume),
    /// Everything that was missed before the stream was opened has been yielded.
    CaughtUp,
    /// Something happened in a room. Each comes once, those of one room in order.
    Room(RoomEvent),
    /// How the user stands in a room: at each opening (with [`memberships`](crate::ClientBuilder::memberships)), and after
    /// something about it changed on any of their devices. [`Unread`](crate::Unread) keeps account of it.
    Memberships(MembershipState),
    /// How far members of a room have got and read. Cursors never go back: take the greater.
    Receipts(ReceiptsChanged),
    /// The presence of a user changed, in a room that is [watched](crate::Client::watch_presence). One with a smaller
    /// version than what is held is old.
    Presence(UserPresence),
    /// Who of a watched room is there.
    RoomPresence(RoomPresence),
    /// Who types in a room, the user perhaps among them.
    Typing(TypingChanged),
    /// The user blocked somebody, or took it back, on any of their devices.
    Block {
        /// Whom.
        user_id: String,
        /// Whether they are blocked now.
        blocked: bool,
    },
}

/// Facts about an open stream.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Session {
    /// The id of the stream, as it stands in the server's logs.
    pub session_id: String,
    /// Whom the token names.
    pub user_id: String,
    /// The project of the token.
    pub project_id: String,
    /// The server's clock.
    pub server_time: Option<Timestamp>,
    /// When the token expires. It is renewed before, without any doing.
    pub token_expires_at: Option<Timestamp>,
}

/// Why a stream ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The server goes away, and said so.
    Draining,
    /// No frame came for three heartbeats: the link is dead.
    Silent,
    /// The stream skipped something. What is missing comes with the next one.
    OutOfOrder,
    /// The server ended the stream without an error.
    Closed,
    /// It failed with an error that passes.
    Failed(Error),
}

/// Something durable that happened in a room.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RoomEvent {
    /// The room.
    pub room_id: String,
    /// The event's number in the room: 1, 2, 3, … without holes.
    pub position: u64,
    /// When the server wrote it.
    pub occurred_at: Option<Timestamp>,
    /// The user who did it.
    pub actor_id: String,
    /// What happened.
    pub kind: RoomEventKind,
}

/// What happened in a room. In a replay a message comes as it is now: edited with its new text, deleted without any.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RoomEventKind {
    /// A message was sent.
    MessageCreated(Message),
    /// A message was edited; this is its new content.
    MessageEdited(Message),
    /// A message was deleted.
    MessageDeleted {
        /// The number of the message.
        seq: u64,
        /// Why, as the one who deleted it said. May be empty.
        reason: String,
    },
    /// The actor pinned a message.
    MessagePinned {
        /// The number of the message.
        seq: u64,
    },
    /// The actor unpinned a message, or deleted it while it was pinned.
    MessageUnpinned {
        /// The number of the message.
        seq: u64,
    },
    /// The actor reacted to a message.
    ReactionAdded {
        /// The number of the message.
        seq: u64,
        /// The emoji.
        emoji: String,
    },
    /// The actor took a reaction back.
    ReactionRemoved {
        /// The number of the message.
        seq: u64,
        /// The emoji.
        emoji: String,
    },
    /// A user joined, or was added by the actor.
    MemberJoined(Member),
    /// A user left, or was removed by the actor.
    MemberLeft {
        /// The user.
        user_id: String,
        /// Whether they were banned by it.
        banned: bool,
    },
    /// A member's role changed, or they were muted, or may speak again.
    MemberUpdated(Member),
    /// The title, description, metadata or slow mode changed.
    RoomUpdated(Room),
    /// The room was deleted. Its last event.
    RoomDeleted,
    /// Something that this version of the crate does not know.
    Unknown,
}

impl From<Hello> for Session {
    fn from(hello: Hello) -> Self {
        let Hello { session_id, user_id, project_id, server_time, token_expires_at, heartbeat_interval: _ } = hello;
        Self { session_id, user_id, project_id, server_time, token_expires_at }
    }
}

impl From<WireEvent> for RoomEvent {
    fn from(event: WireEvent) -> Self {
        Self {
            room_id: event.room_id,
            position: event.position,
            occurred_at: event.occurred_at,
            actor_id: event.actor_id,
            kind: event.event.and_then(kind).unwrap_or(RoomEventKind::Unknown),
        }
    }
}

/// `None` if the event lacks what it is about.
fn kind(event: WireKind) -> Option<RoomEventKind> {
    Some(match event {
        WireKind::MessageCreated(event) => RoomEventKind::MessageCreated(event.message?),
        WireKind::MessageEdited(event) => RoomEventKind::MessageEdited(event.message?),
        WireKind::MessageDeleted(event) => RoomEventKind::MessageDeleted { seq: event.seq, reason: event.reason },
        WireKind::ReactionAdded(event) => RoomEventKind::ReactionAdded { seq: event.seq, emoji: event.emoji },
        WireKind::ReactionRemoved(event) => RoomEventKind::ReactionRemoved { seq: event.seq, emoji: event.emoji },
        WireKind::MemberJoined(event) => RoomEventKind::MemberJoined(event.member?),
        WireKind::MemberLeft(event) => RoomEventKind::MemberLeft { user_id: event.user_id, banned: event.banned },
        WireKind::MemberUpdated(event) => RoomEventKind::MemberUpdated(event.member?),
        WireKind::RoomUpdated(event) => RoomEventKind::RoomUpdated(event.room?),
        WireKind::RoomDeleted(_) => RoomEventKind::RoomDeleted,
        WireKind::MessagePinned(event) => RoomEventKind::MessagePinned { seq: event.seq },
        WireKind::MessageUnpinned(event) => RoomEventKind::MessageUnpinned { seq: event.seq },
    })
}
