//! What streams carry beside events, and the port through which it becomes bytes: chat knows no wire.

use std::time::Duration;

use bytes::Bytes;

use super::{
    event::Event,
    message::Message,
    presence::UserPresence,
    receipts::{Cursors, Membership},
};
use crate::{
    clock::Timestamp,
    hub::{Batch, SessionId},
    id::{RoomId, UserId, UserKey},
};

/// A frame that is no event.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the same frames, documented, are in proto/relay/chat/v1/stream.proto")]
pub enum Frame {
    Hello { session: SessionId, user: UserKey, heartbeat_interval: Duration, now: Timestamp, expires_at: Timestamp },
    Resumed(Vec<RoomResume>),
    CaughtUp,
    Heartbeat { now: Timestamp, positions: Vec<(RoomId, u64)> },
    TokenExpiring { at: Timestamp },
    Drain { reconnect_after: Duration },
    Block { user: UserId, blocked: bool },
    Typing { room: RoomId, users: Vec<UserId>, count: usize },
    Presence(UserPresence),
    RoomPresence { room: RoomId, count: u64, present: Vec<UserPresence>, sample: bool },
    Memberships(Vec<Membership>),
    Receipts { room: RoomId, receipts: Vec<(UserId, Cursors)>, partial: bool },
}

/// How a stream stands to a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomResume {
    /// The room.
    pub room: RoomId,
    /// The verdict.
    pub verdict: Verdict,
    /// The position after which events follow.
    pub position: u64,
    /// The room's newest position.
    pub last_position: u64,
}

/// How a stream stands to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything after the client's position follows.
    Complete,
    /// Some of what came after it cannot be had.
    Gap,
    /// New to the client.
    Joined,
    /// The client has no part in it (any more).
    Left,
}

impl RoomResume {
    /// The verdict on a room that the user is not in.
    pub fn left(room: RoomId) -> Self {
        Self { room, verdict: Verdict::Left, position: 0, last_position: 0 }
    }

    /// The verdict on a room whose events follow after `position`, its newest.
    pub fn at(room: RoomId, verdict: Verdict, position: u64) -> Self {
        Self { room, verdict, position, last_position: position }
    }
}

/// Turns frames into the bytes that go over the wire, the same for every reader; and messages back.
pub trait Encoder: Send + Sync + 'static {
    /// One frame.
    fn frame(&self, frame: &Frame) -> Bytes;

    /// Consecutive events of one room, at least one, in the order of their positions.
    fn events(&self, events: &[Event]) -> Batch;

    /// The message whose creation a frame tells; `None` if it is another frame.
    fn message(&self, frame: &[u8]) -> Option<Message>;
}

/// The frame that tells a reader that they have no part in a room any more.
pub(super) fn left(encoder: &dyn Encoder, room: &RoomId) -> Bytes {
    encoder.frame(&Frame::Resumed(vec![RoomResume::left(room.clone())]))
}
