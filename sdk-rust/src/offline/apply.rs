//! What an event changes in the cache. Each event with its position is one change, so that the next start goes on behind it.

use std::collections::BTreeSet;

use relay_proto::chat::v1::{Message, ReactionSummary, ResumeVerdict, RoomResume};

use super::{
    cache::{
        belongs_to, block, doubt, forget_room, message_at, position, put_membership, put_message, put_position, trim,
    },
    rooms::{self, change_room},
    store::{Store, Tx, begin, storage},
};
use crate::{Error, Event, RoomEvent, RoomEventKind, Unread};

impl Store {
    /// Stores events, all or none. Those that were stored before change nothing.
    pub(super) async fn apply(&self, events: &[Event], unread: &mut Unread, kept: u64) -> Result<(), Error> {
        let mut connection = self.connection().await;
        let mut tx = begin(&mut connection).await?;
        let mut counted = BTreeSet::new();
        for event in events {
            unread.apply(event);
            if takes_away(event, unread.user_id()) {
                self.outdates_lists();
            }
            match event {
                Event::Connected(session) => belongs_to(&mut tx, &session.user_id).await?,
                Event::Resumed(room) => resumed(&mut tx, room).await?,
                Event::Room(event) => {
                    counted.insert(event.room_id.as_str());
                    room_event(&mut tx, event, unread.user_id(), kept).await?;
                }
                Event::Memberships(state) => drop(counted.insert(state.room_id.as_str())),
                Event::Block { user_id, blocked } => block(&mut tx, user_id, *blocked).await?,
                _ => {}
            }
        }
        for room_id in counted {
            if let Some(room) = unread.room(room_id) {
                put_membership(&mut tx, &room.state(room_id)).await?;
            }
        }
        tx.commit().await.map_err(storage)
    }
}

/// Whether a list that was read before the event would bring back what it takes away.
fn takes_away(event: &Event, user_id: &str) -> bool {
    match event {
        Event::Resumed(room) => room.verdict() == ResumeVerdict::Left,
        Event::Room(event) => ends(&event.kind, user_id),
        Event::Block { .. } => true,
        _ => false,
    }
}

/// Whether the user is not in the room any more.
fn ends(kind: &RoomEventKind, user_id: &str) -> bool {
    match kind {
        RoomEventKind::RoomDeleted => true,
        RoomEventKind::MemberLeft { user_id: left, .. } => left == user_id,
        _ => false,
    }
}

async fn resumed(tx: &mut Tx<'_>, room: &RoomResume) -> Result<(), Error> {
    match room.verdict() {
        ResumeVerdict::Left => return forget_room(tx, &room.room_id).await,
        // What happened in between is not known, to messages that are held neither.
        ResumeVerdict::Gap | ResumeVerdict::Joined => doubt(tx, &room.room_id).await?,
        ResumeVerdict::Complete | ResumeVerdict::Unspecified => return Ok(()),
    }
    put_position(tx, &room.room_id, room.position).await
}

async fn room_event(tx: &mut Tx<'_>, event: &RoomEvent, user_id: &str, kept: u64) -> Result<(), Error> {
    if position(tx, &event.room_id).await?.is_some_and(|held| held >= event.position) {
        return Ok(());
    }
    if ends(&event.kind, user_id) {
        return forget_room(tx, &event.room_id).await;
    }
    match &event.kind {
        RoomEventKind::MessageCreated(message) => {
            let held = message_at(tx, &event.room_id, message.seq).await?;
            if held.is_none_or(|held| held.stale || held.as_of < event.position) {
                put_message(tx, message, event.position).await?;
            }
            trim(tx, &event.room_id, message.seq, kept).await?;
        }
        _ => {
            if let Some(seq) = seq_of(&event.kind) {
                change_message(tx, event, seq, user_id).await?;
            }
        }
    }
    change_room(tx, &event.room_id, |summary| rooms::apply(summary, event)).await?;
    put_position(tx, &event.room_id, event.position).await
}

/// The message that is changed.
fn seq_of(kind: &RoomEventKind) -> Option<u64> {
    match kind {
        RoomEventKind::MessageEdited(message) => Some(message.seq),
        RoomEventKind::MessageDeleted { seq, .. }
        | RoomEventKind::ReactionAdded { seq, .. }
        | RoomEventKind::ReactionRemoved { seq, .. } => Some(*seq),
        _ => None,
    }
}

/// Changes a message that is held. One that is not held, or is newer than the event, is left alone.
async fn change_message(tx: &mut Tx<'_>, event: &RoomEvent, seq: u64, user_id: &str) -> Result<(), Error> {
    let Some(held) = message_at(tx, &event.room_id, seq).await? else { return Ok(()) };
    if held.as_of >= event.position || held.stale {
        return Ok(());
    }
    let message = changed(held.message, event, user_id);
    put_message(tx, &message, event.position).await
}

/// A message after an event.
pub(super) fn changed(mut message: Message, event: &RoomEvent, user_id: &str) -> Message {
    match &event.kind {
        // Events carry no reactions.
        RoomEventKind::MessageEdited(edited) => {
            return Message { reactions: message.reactions, ..edited.clone() };
        }
        RoomEventKind::MessageDeleted { reason, .. } => {
            message.text.clear();
            message.content_type.clear();
            message.metadata.clear();
            message.attachments.clear();
            message.mentions.clear();
            message.reactions.clear();
            message.deleted_at = event.occurred_at;
            message.deleted_by.clone_from(&event.actor_id);
            message.deletion_reason.clone_from(reason);
        }
        RoomEventKind::ReactionAdded { emoji, .. } => react(&mut message.reactions, emoji, &event.actor_id, user_id),
        RoomEventKind::ReactionRemoved { emoji, .. } => {
            take_back(&mut message.reactions, emoji, &event.actor_id, user_id);
        }
        _ => {}
    }
    message
}

/// How many users a summary names.
const NAMED: usize = 10;

fn react(reactions: &mut Vec<ReactionSummary>, emoji: &str, actor: &str, user_id: &str) {
    let at = reactions.iter().position(|reaction| reaction.emoji == emoji).unwrap_or_else(|| {
        reactions.push(ReactionSummary { emoji: emoji.to_owned(), ..ReactionSummary::default() });
        reactions.len() - 1
    });
    let reaction = &mut reactions[at];
    // The list may be newer than its position says, and have this one.
    if reaction.user_ids.iter().any(|named| named == actor) {
        return;
    }
    reaction.count += 1;
    reaction.reacted_by_caller |= actor == user_id;
    if reaction.user_ids.len() < NAMED {
        reaction.user_ids.push(actor.to_owned());
    }
}

fn take_back(reactions: &mut Vec<ReactionSummary>, emoji: &str, actor: &str, user_id: &str) {
    let Some(at) = reactions.iter().position(|reaction| reaction.emoji == emoji) else { return };
    let reaction = &mut reactions[at];
    reaction.count = reaction.count.saturating_sub(1);
    reaction.user_ids.retain(|named| named != actor);
    reaction.reacted_by_caller &= actor != user_id;
    if reaction.count == 0 {
        reactions.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use relay_proto::chat::v1::{Attachment, Mention};

    use super::*;

    #[test]
    fn a_deleted_message_is_the_tombstone_that_the_server_has() {
        let message = Message {
            room_id: "r".into(),
            seq: 2,
            text: "secret".into(),
            content_type: "text/markdown".into(),
            metadata: [("k".to_owned(), "v".to_owned())].into(),
            attachments: vec![Attachment::default()],
            mentions: vec![Mention::default()],
            reactions: vec![ReactionSummary::default()],
            ..Message::default()
        };
        let kind = RoomEventKind::MessageDeleted { seq: 2, reason: "spam".into() };
        let occurred_at = Some(crate::Timestamp { seconds: 7, nanos: 0 });
        let event = RoomEvent { room_id: "r".into(), position: 3, occurred_at, actor_id: "ben".into(), kind };
        let tombstone = Message {
            room_id: "r".into(),
            seq: 2,
            deleted_at: occurred_at,
            deleted_by: "ben".into(),
            deletion_reason: "spam".into(),
            ..Message::default()
        };
        assert_eq!(changed(message, &event, "ana"), tombstone);
    }
}
