//! An event in few words, so that deliveries can be kept and compared.

use relay_proto::chat::v1::{MemberRole, Message, RoomEvent, room_event::Event};
use relay_sdk::RoomEventKind;
use serde::Serialize;

use super::ledger::LaneNumber;

/// What happened in a room. Texts are as they were when it was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Brief {
    Created {
        seq: u64,
        sender: String,
        id: String,
        text: String,
        deleted: bool,
        /// Its place in a lane, and how many numbers before it were missing.
        lane: Option<(LaneNumber, u64)>,
    },
    Edited {
        seq: u64,
        text: String,
        deleted: bool,
    },
    Deleted {
        seq: u64,
    },
    Reacted {
        seq: u64,
        emoji: String,
        user: String,
    },
    Unreacted {
        seq: u64,
        emoji: String,
        user: String,
    },
    Joined {
        user: String,
        role: i32,
    },
    Left {
        user: String,
    },
    Promoted {
        user: String,
        role: i32,
    },
    Renamed,
    RoomDeleted,
    /// What the contract does not have.
    Unknown,
}

impl Brief {
    pub(super) fn of_wire(event: RoomEvent) -> Self {
        let user = event.actor_id;
        match event.event {
            Some(Event::MessageCreated(event)) => event.message.map_or(Self::Unknown, created),
            Some(Event::MessageEdited(event)) => event.message.map_or(Self::Unknown, edited),
            Some(Event::MessageDeleted(event)) => Self::Deleted { seq: event.seq },
            Some(Event::ReactionAdded(event)) => Self::Reacted { seq: event.seq, emoji: event.emoji, user },
            Some(Event::ReactionRemoved(event)) => Self::Unreacted { seq: event.seq, emoji: event.emoji, user },
            Some(Event::MemberJoined(event)) => {
                event.member.map_or(Self::Unknown, |member| Self::Joined { user: member.user_id, role: member.role })
            }
            Some(Event::MemberLeft(event)) => Self::Left { user: event.user_id },
            Some(Event::MemberUpdated(event)) => {
                event.member.map_or(Self::Unknown, |member| Self::Promoted { user: member.user_id, role: member.role })
            }
            Some(Event::RoomUpdated(_)) => Self::Renamed,
            Some(Event::RoomDeleted(_)) => Self::RoomDeleted,
            Some(Event::MessagePinned(_) | Event::MessageUnpinned(_)) | None => Self::Unknown,
        }
    }

    pub(super) fn of_sdk(user: String, kind: RoomEventKind) -> Self {
        match kind {
            RoomEventKind::MessageCreated(message) => created(message),
            RoomEventKind::MessageEdited(message) => edited(message),
            RoomEventKind::MessageDeleted { seq, .. } => Self::Deleted { seq },
            RoomEventKind::ReactionAdded { seq, emoji } => Self::Reacted { seq, emoji, user },
            RoomEventKind::ReactionRemoved { seq, emoji } => Self::Unreacted { seq, emoji, user },
            RoomEventKind::MemberJoined(member) => Self::Joined { user: member.user_id, role: member.role },
            RoomEventKind::MemberLeft { user_id, .. } => Self::Left { user: user_id },
            RoomEventKind::MemberUpdated(member) => Self::Promoted { user: member.user_id, role: member.role },
            RoomEventKind::RoomUpdated(_) => Self::Renamed,
            RoomEventKind::RoomDeleted => Self::RoomDeleted,
            _ => Self::Unknown,
        }
    }

    /// Whether two deliveries tell of the same event: texts and roles may have changed between them.
    pub(super) fn is_same_event(&self, other: &Self) -> bool {
        self.bare() == other.bare()
    }

    fn bare(&self) -> Self {
        match self.clone() {
            Self::Created { seq, sender, id, lane, .. } => {
                Self::Created { seq, sender, id, text: String::new(), deleted: false, lane }
            }
            Self::Edited { seq, .. } => Self::Edited { seq, text: String::new(), deleted: false },
            Self::Joined { user, .. } => Self::Joined { user, role: MemberRole::Unspecified.into() },
            other => other,
        }
    }
}

fn created(message: Message) -> Brief {
    let Message { seq, sender_id: sender, client_message_id: id, text, deleted_at, lane, .. } = message;
    let lane = lane.map(|place| (LaneNumber { lane: place.lane_id, number: place.client_seq }, place.missing_before));
    Brief::Created { seq, sender, id, text, deleted: deleted_at.is_some(), lane }
}

fn edited(message: Message) -> Brief {
    Brief::Edited { seq: message.seq, text: message.text, deleted: message.deleted_at.is_some() }
}
