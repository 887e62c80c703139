//! Consecutive events of a room as nodes handle them: the bytes that readers get, and beside them what a node must know.

use serde::{Deserialize, Serialize};

use super::{
    event::{Event, EventBody},
    frame::Encoder,
};
use crate::{hub::Batch, id::UserId};

/// Consecutive events of a room.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    batch: Batch,
    /// One an event.
    marks: Vec<Mark>,
}

/// What a node must know of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mark {
    /// A message was sent.
    Created(u64),
    /// A message was edited: what came before shows it as it is no more.
    Edited(u64),
    /// A message was deleted: the same.
    Deleted(u64),
    /// The reactions on a message changed.
    Reacted(u64),
    /// The room's profile changed.
    Updated,
    /// A user joined.
    Joined(UserId),
    /// A user left.
    Left(UserId),
    /// The room was deleted.
    Ended,
    /// Nothing.
    Plain,
}

impl Mark {
    fn of(event: &Event) -> Self {
        match &event.body {
            EventBody::MessageCreated(message) => Self::Created(message.seq),
            EventBody::MessageEdited(message) => Self::Edited(message.seq),
            EventBody::MessageDeleted { seq, .. } => Self::Deleted(*seq),
            EventBody::ReactionAdded { seq, .. } | EventBody::ReactionRemoved { seq, .. } => Self::Reacted(*seq),
            EventBody::MemberJoined(member) => Self::Joined(member.user.clone()),
            EventBody::MemberLeft { user, .. } => Self::Left(user.clone()),
            EventBody::MemberUpdated(_) | EventBody::MessagePinned { .. } | EventBody::MessageUnpinned { .. } => {
                Self::Plain
            }
            EventBody::RoomUpdated(_) => Self::Updated,
            EventBody::RoomDeleted => Self::Ended,
        }
    }

    /// Whether an earlier event with `other` shows what this one has changed.
    pub(super) fn outdates(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Edited(seq) | Self::Deleted(seq), Self::Created(before) | Self::Edited(before)) => seq == before,
            (Self::Updated, Self::Updated) => true,
            _ => false,
        }
    }

    /// Whether it may outdate anything.
    pub(super) fn is_change(&self) -> bool {
        matches!(self, Self::Edited(_) | Self::Deleted(_) | Self::Updated)
    }
}

impl Piece {
    /// Encodes consecutive events of one room, at least one.
    pub(super) fn encode(events: &[Event], encoder: &dyn Encoder) -> Self {
        Self { batch: encoder.events(events), marks: events.iter().map(Mark::of).collect() }
    }

    /// One that was taken apart; `None` if it does not fit together.
    pub(super) fn from_parts(batch: Batch, marks: Vec<Mark>) -> Option<Self> {
        (batch.ends().len() == marks.len()).then_some(Self { batch, marks })
    }

    /// The frames.
    pub(super) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// What is to be known of each event, in order.
    pub(super) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Each position with its mark.
    pub(super) fn marked(&self) -> impl DoubleEndedIterator<Item = (u64, &Mark)> + ExactSizeIterator {
        let first = self.batch.first();
        self.marks.iter().enumerate().map(move |(i, mark)| (first + i as u64, mark))
    }

    /// The number of the newest message that was sent by it.
    pub(super) fn newest_message(&self) -> Option<u64> {
        self.marks.iter().rev().find_map(|mark| match mark {
            Mark::Created(seq) => Some(*seq),
            _ => None,
        })
    }

    /// The position of the first event.
    pub(super) fn first(&self) -> u64 {
        self.batch.first()
    }

    /// The position of the last event.
    pub(super) fn last(&self) -> u64 {
        self.batch.last()
    }

    /// Bytes of all frames.
    pub(super) fn size(&self) -> usize {
        self.batch.bytes().len()
    }

    /// The events after `position`; `None` if there are none.
    pub(super) fn after(self, position: u64) -> Option<Self> {
        if position < self.first() {
            return Some(self);
        }
        if position >= self.last() {
            return None;
        }
        let batch = self.batch.part(position + 1, self.batch.last());
        let marks = self.marks[(position + 1 - self.first()) as usize..].to_vec();
        Some(Self { batch, marks })
    }
}
