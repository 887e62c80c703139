//! Sending, editing, deleting, reacting; reading one message or many.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    Chat,
    event::EventBody,
    log::{Unit, replace_mentions, require_mentioned},
    membership::{refuse_silenced, require, require_reader},
    message::{
        Content, MAX_EMOJI_PER_MESSAGE, MAX_EMOJI_PER_USER, Message, NewMessage, ReactionSummary, Receipt, check_emoji,
    },
    moderation::check_reason,
    page::{self, Page},
    pins::drop_pin,
    policy::{self, Action},
    receipts::MessageStatus,
    search, store,
};
use crate::{
    db::Db,
    error::{Error, Reason, Result},
    id::{RoomId, RoomKey, UserId, UserKey},
};

/// A page that begins further than this from the newest message is read from the database.
const HOT_SEQS: u64 = 1_000;

/// A message with its reactions.
pub type Reacted = (Message, Vec<ReactionSummary>);

/// A page of messages.
#[derive(Debug)]
pub struct Listed {
    /// The messages, in the direction asked for.
    pub page: Page<Reacted>,
    /// A position of the room that they are at least as new as.
    pub position: u64,
}

/// What of a room to list.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// From the oldest to the newest, instead of the other way.
    pub upwards: bool,
    /// The seq to start at; `None` is the end that the direction comes from.
    pub start: Option<u64>,
    /// How many.
    pub limit: usize,
}

impl Chat {
    /// Sends a message; `reply` gets the outcome after the commit.
    ///
    /// # Errors
    /// FIELD_INVALID, OVERLOADED, DRAINING: `reply` is not called then.
    pub fn send_with(&self, caller: UserKey, message: NewMessage, reply: super::Reply) -> Result<()> {
        message.content.check()?;
        self.log().send(caller, message, reply)
    }

    /// Queues a message; what it answers with is the outcome, after the commit.
    ///
    /// # Errors
    /// FIELD_INVALID, OVERLOADED, DRAINING.
    pub fn queue(
        &self,
        caller: UserKey,
        message: NewMessage,
    ) -> Result<impl Future<Output = Result<Receipt>> + Send + use<>> {
        let (answer, answered) = oneshot::channel();
        // A caller that hung up does not need the answer; the message is written all the same.
        self.send_with(caller, message, Box::new(|outcome| drop(answer.send(outcome))))?;
        Ok(async { answered.await.unwrap_or_else(|_| Err(Error::draining())) })
    }

    /// Replaces the content of a message of the caller's own.
    pub async fn edit(&self, caller: UserKey, room: RoomId, seq: u64, content: Content) -> Result<Message> {
        content.check()?;
        self.log()
            .write(Some(caller.room(room.clone())), content.weight(), move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    let own = require(unit, &key, &caller.user, Action::ChangeOwnMessage).await?;
                    refuse_silenced(unit, &key, &own).await?;
                    let mut message = find(unit, &key, seq).await?;
                    if message.sender != caller.user {
                        return Err(Error::new(Reason::RoleInsufficient, "only its sender edits a message"));
                    }
                    refuse_deleted(&message)?;
                    if *message.content == content {
                        return Ok(message);
                    }
                    require_mentioned(unit, &key, &content.mentions, own.role).await?;
                    store::messages::edit(&mut unit.tx, &key, seq, &content, unit.now).await?;
                    search::reflect(unit, &key, &message, &content.text).await?;
                    replace_mentions(unit, &key, &message, &content.mentions).await?;
                    message.content = Arc::new(content);
                    message.edited_at = Some(unit.now);
                    unit.append(&key, &caller.user, EventBody::MessageEdited(Box::new(message.clone()))).await?;
                    Ok(message)
                })
            })
            .await
    }

    /// Deletes a message and leaves a tombstone, for the reason that is given, if any. Deleting again changes nothing.
    pub async fn delete(&self, caller: UserKey, room: RoomId, seq: u64, reason: String) -> Result<()> {
        check_reason(&reason)?;
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    let own = require(unit, &key, &caller.user, Action::Read).await?;
                    let message = find(unit, &key, seq).await?;
                    let mine = message.sender == caller.user;
                    policy::require(own.role, if mine { Action::ChangeOwnMessage } else { Action::DeleteAnyMessage })?;
                    if message.deleted.is_some() {
                        return Ok(());
                    }
                    drop_pin(unit, &key, &caller.user, seq).await?;
                    store::messages::delete(&mut unit.tx, &key, seq, &caller.user, &reason, unit.now).await?;
                    search::reflect(unit, &key, &message, "").await?;
                    unit.append(&key, &caller.user, EventBody::MessageDeleted { seq, reason }).await.map(drop)
                })
            })
            .await
    }

    /// Reacts to a message. The same emoji again changes nothing.
    pub async fn react(&self, caller: UserKey, room: RoomId, seq: u64, emoji: String) -> Result<()> {
        check_emoji(&emoji)?;
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    let own = require(unit, &key, &caller.user, Action::React).await?;
                    refuse_silenced(unit, &key, &own).await?;
                    refuse_deleted(&find(unit, &key, seq).await?)?;
                    if reacted_already(unit, &key, seq, &emoji, &caller.user).await? {
                        return Ok(());
                    }
                    let body = EventBody::ReactionAdded { seq, emoji: emoji.clone() };
                    let position = unit.append(&key, &caller.user, body).await?;
                    store::messages::react(&mut unit.tx, &key, seq, &emoji, &caller.user, position).await
                })
            })
            .await
    }

    /// Takes a reaction back. Without one, changes nothing.
    pub async fn unreact(&self, caller: UserKey, room: RoomId, seq: u64, emoji: String) -> Result<()> {
        check_emoji(&emoji)?;
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    require(unit, &key, &caller.user, Action::React).await?;
                    find(unit, &key, seq).await?;
                    if store::messages::unreact(&mut unit.tx, &key, seq, &emoji, &caller.user).await? {
                        unit.append(&key, &caller.user, EventBody::ReactionRemoved { seq, emoji }).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// One message, and how far it has come.
    pub async fn get_message(&self, caller: &UserKey, room: RoomId, seq: u64) -> Result<(Reacted, MessageStatus)> {
        let key = caller.room(room);
        let standing = require_reader(self, &key, &caller.user).await?;
        let room = &key;
        let found = store::history::read(self.db(), room, standing.last_position, |db| async move {
            let Some(message) = store::messages::get(&db, room, seq).await? else { return Ok(None) };
            let reactions = store::messages::reactions(&db, room, seq, seq, &caller.user).await?;
            Ok(Some((message, reactions.into_iter().map(|(_, reaction)| reaction).collect())))
        });
        let found: Reacted = found.await?.ok_or_else(|| not_found(seq))?;
        let status = self.message_status(room, seq, &found.0.sender).await?;
        Ok((found, status))
    }

    /// A page of a room's messages.
    pub async fn list_messages(&self, caller: &UserKey, room: RoomId, range: Range, token: &str) -> Result<Listed> {
        let key = caller.room(room);
        // The position is read before the messages: what comes in between is on the stream as well, never on neither.
        let standing = require_reader(self, &key, &caller.user).await?;
        let list = ["messages", key.project.as_str(), key.room.as_str(), if range.upwards { "up" } else { "down" }];
        let default = if range.upwards { 1 } else { standing.last_seq };
        let start = match self.pages().open(token, &list)?.as_slice() {
            [] => range.start.unwrap_or(default),
            [seq] => seq.parse().map_err(|_| page::invalid())?,
            _ => return Err(page::invalid()),
        };
        let hot = if range.upwards { None } else { self.hot_page(&key, &standing, start, range.limit).await };
        if let Some((items, next)) = hot {
            let next_page_token = next.map(|seq| self.pages().seal(&list, &[&seq.to_string()]));
            return Ok(Listed { page: Page { items, next_page_token }, position: standing.last_position });
        }
        let room = &key;
        let (mut items, beyond) = store::history::read(self.db(), room, standing.last_position, |db| async move {
            let mut messages = store::messages::list(&db, room, start, range.upwards, range.limit + 1).await?;
            let beyond = messages.get(range.limit).map(|m| m.seq);
            messages.truncate(range.limit);
            Ok((with_reactions(&db, room, messages, &caller.user).await?, beyond))
        })
        .await?;
        let fits = fitting(&items);
        let next = items.get(fits).map(|(m, _)| m.seq).or(beyond);
        items.truncate(fits);
        let next_page_token = next.map(|seq| self.pages().seal(&list, &[&seq.to_string()]));
        Ok(Listed { page: Page { items, next_page_token }, position: standing.last_position })
    }

    /// The page downwards from `start`, and where the next begins, if it is among what was written last and is held in memory
    /// or Redis.
    async fn hot_page(
        &self,
        room: &RoomKey,
        standing: &store::rooms::Standing,
        start: u64,
        limit: usize,
    ) -> Option<(Vec<Reacted>, Option<u64>)> {
        let to = start.min(standing.last_seq);
        let from = to.saturating_sub(limit as u64 - 1).max(1);
        if to == 0 || standing.last_seq - from >= HOT_SEQS {
            return None;
        }
        let messages = self.history().messages(room, standing.last_position, from, to).await?;
        let mut items: Vec<Reacted> = messages.into_iter().rev().map(|message| (message, Vec::new())).collect();
        items.truncate(fitting(&items));
        let next = items.last().map(|(message, _)| message.seq - 1).filter(|seq| *seq > 0);
        Some((items, next))
    }
}

async fn with_reactions(db: &Db, room: &RoomKey, messages: Vec<Message>, caller: &UserId) -> Result<Vec<Reacted>> {
    let first = messages.iter().map(|m| m.seq).min();
    let last = messages.iter().map(|m| m.seq).max();
    let (Some(first), Some(last)) = (first, last) else { return Ok(Vec::new()) };
    let mut reactions = store::messages::reactions(db, room, first, last, caller).await?;
    let items = messages.into_iter().map(|message| {
        let own = reactions.extract_if(.., |(seq, _)| *seq == message.seq).map(|(_, r)| r).collect();
        (message, own)
    });
    Ok(items.collect())
}

/// How many of these fit on a page; at least one.
fn fitting(items: &[Reacted]) -> usize {
    page::fitting(items, |(message, reactions)| {
        let users = reactions.iter().flat_map(|r| &r.users).map(|user| user.as_str().len());
        let emoji = reactions.iter().map(|r| r.emoji.len());
        message.content.weight() + users.sum::<usize>() + emoji.sum::<usize>()
    })
}

fn not_found(seq: u64) -> Error {
    Error::new(Reason::MessageNotFound, format!("the room has no message {seq}"))
}

pub(super) async fn find(unit: &mut Unit, room: &RoomKey, seq: u64) -> Result<Message> {
    store::messages::get_for_change(&mut unit.tx, room, seq).await?.ok_or_else(|| not_found(seq))
}

pub(super) fn refuse_deleted(message: &Message) -> Result<()> {
    match message.deleted {
        Some(_) => Err(Error::new(Reason::MessageDeleted, "the message was deleted")),
        None => Ok(()),
    }
}

/// Whether the user has reacted with this emoji; an error if one more would be too many.
async fn reacted_already(unit: &mut Unit, room: &RoomKey, seq: u64, emoji: &str, user: &UserId) -> Result<bool> {
    let found = store::messages::reaction_use(&mut unit.tx, room, seq, emoji, user).await?;
    if found.mine {
        return Ok(true);
    }
    let full =
        !found.used && store::messages::count_emoji(&mut unit.tx, room, seq).await? >= MAX_EMOJI_PER_MESSAGE as i64;
    if full || found.of_user >= MAX_EMOJI_PER_USER as u64 {
        let message = format!(
            "a message has at most {MAX_EMOJI_PER_MESSAGE} different reactions, {MAX_EMOJI_PER_USER} of one user"
        );
        return Err(Error::new(Reason::TooManyReactions, message));
    }
    Ok(false)
}
