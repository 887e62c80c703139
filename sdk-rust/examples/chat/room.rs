//! What is known of the room that is shown, and of the others as far as they have something unread.

use std::collections::{BTreeMap, btree_map::Entry as Slot};

use relay_sdk::{
    DisconnectReason, Event, Message, PresenceState, Receipt, ResumeVerdict, RoomEvent, RoomEventKind, RoomResume,
    Unread, UserPresence,
};

/// One line of what has happened, oldest first.
pub(crate) enum Entry {
    /// A message, by its number.
    Message(u64),
    /// Something to know.
    Note(String),
    /// A change of something above, which a full screen shows there.
    Change(String),
}

/// The room.
pub(crate) struct Room {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) connected: bool,
    pub(crate) entries: Vec<Entry>,
    pub(crate) messages: BTreeMap<u64, Message>,
    /// Messages that are not written yet, with what is in their way.
    pub(crate) waiting: Vec<(String, Option<String>)>,
    pub(crate) typing: Vec<String>,
    pub(crate) present: BTreeMap<String, UserPresence>,
    pub(crate) unread: Unread,
    /// How far the other members have got and read.
    receipts: BTreeMap<String, Receipt>,
}

impl Room {
    pub(crate) fn new(id: &str, user: &str) -> Self {
        Self {
            id: id.to_owned(),
            user: user.to_owned(),
            connected: false,
            entries: Vec::new(),
            messages: BTreeMap::new(),
            waiting: Vec::new(),
            typing: Vec::new(),
            present: BTreeMap::new(),
            unread: Unread::new(),
            receipts: BTreeMap::new(),
        }
    }

    /// The number of the newest message shown.
    pub(crate) fn newest(&self) -> u64 {
        self.messages.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    pub(crate) fn note(&mut self, line: impl Into<String>) {
        self.entries.push(Entry::Note(line.into()));
    }

    /// Shows a message, once. Live events begin a little before the end of the history, and may come before what was listed.
    pub(crate) fn message(&mut self, message: Message) {
        if let Slot::Vacant(slot) = self.messages.entry(message.seq) {
            self.entries.push(Entry::Message(message.seq));
            slot.insert(message);
        }
    }

    /// How far a message of the user's own has come: ✓ written, ✓✓ all have got it, or all have read it (`true`).
    pub(crate) fn ticks(&self, message: &Message) -> Option<(&'static str, bool)> {
        if message.sender_id != self.user || message.deleted_at.is_some() {
            return None;
        }
        let mut others = self.receipts.values().peekable();
        if others.peek().is_none() {
            return Some(("✓", false));
        }
        let all = |cursor: fn(&Receipt) -> u64| self.receipts.values().all(|receipt| cursor(receipt) >= message.seq);
        Some(match (all(|receipt| receipt.delivered_seq), all(|receipt| receipt.read_seq)) {
            (_, true) => ("✓✓", true),
            (true, false) => ("✓✓", false),
            (false, false) => ("✓", false),
        })
    }

    /// The cursors of all members, as a call has answered.
    pub(crate) fn cursors(&mut self, receipts: Vec<Receipt>) {
        self.receipts.clear();
        receipts.into_iter().for_each(|receipt| self.cursor(receipt));
    }

    /// Takes an event in. Answers whether the cursors are to be listed anew.
    pub(crate) fn event(&mut self, event: &Event) -> bool {
        self.unread.apply(event);
        match event {
            Event::Connected(session) => {
                self.connected = true;
                self.note(format!("* connected as {}", session.user_id));
            }
            Event::Disconnected { reason, retry_in } => {
                let why = match reason {
                    DisconnectReason::Failed(error) => error.to_string(),
                    other => format!("{other:?}"),
                };
                // Once is enough for who looks on while the server is away.
                if self.connected || self.entries.is_empty() {
                    self.note(format!("* disconnected: {why}; next try in {:.1} s", retry_in.as_secs_f64()));
                }
                (self.connected, self.typing) = (false, Vec::new());
            }
            Event::CaughtUp => return true,
            Event::Resumed(at) if at.room_id == self.id => self.resumed(at),
            Event::Room(event) if event.room_id == self.id => self.room_event(event),
            Event::Receipts(changed) if changed.room_id == self.id => {
                changed.receipts.iter().cloned().for_each(|receipt| self.cursor(receipt));
                return changed.partial;
            }
            Event::Typing(typing) if typing.room_id == self.id => {
                self.typing = typing.user_ids.iter().filter(|user| **user != self.user).cloned().collect();
            }
            Event::RoomPresence(room) if room.room_id == self.id => {
                self.present.values_mut().for_each(|user| user.state = PresenceState::Offline.into());
                room.present.iter().cloned().for_each(|user| self.presence(user));
            }
            Event::Presence(user) => self.presence(user.clone()),
            _ => {}
        }
        false
    }

    /// A line about a message.
    pub(crate) fn line(message: &Message) -> String {
        let Message { seq, sender_id, text, .. } = message;
        if message.deleted_at.is_some() {
            return match message.deletion_reason.as_str() {
                "" => format!("[{seq}] {sender_id}: (deleted)"),
                reason => format!("[{seq}] {sender_id}: (deleted: {reason})"),
            };
        }
        let edited = if message.edited_at.is_some() { " (edited)" } else { "" };
        let answered = match message.reply_to_seq {
            0 => String::new(),
            answered => format!(" (to {answered})"),
        };
        let reactions: String = message.reactions.iter().map(|r| format!(" {}{}", r.emoji, r.count)).collect();
        format!("[{seq}] {sender_id}{answered}: {text}{edited}{reactions}")
    }

    fn cursor(&mut self, receipt: Receipt) {
        if receipt.user_id != self.user {
            let held = self.receipts.entry(receipt.user_id.clone()).or_default();
            held.delivered_seq = held.delivered_seq.max(receipt.delivered_seq);
            held.read_seq = held.read_seq.max(receipt.read_seq);
        }
    }

    fn presence(&mut self, user: UserPresence) {
        let held = self.present.entry(user.user_id.clone()).or_default();
        if user.version >= held.version {
            *held = user;
        }
    }

    fn resumed(&mut self, at: &RoomResume) {
        match at.verdict() {
            ResumeVerdict::Left => self.note(format!("* you are not in {} any more", self.id)),
            // The messages sent meanwhile are listed; what happened to older ones is not.
            ResumeVerdict::Gap => self.note("* edits, deletions and reactions above may be missing"),
            _ => {}
        }
    }

    fn room_event(&mut self, event: &RoomEvent) {
        let actor = &event.actor_id;
        match &event.kind {
            RoomEventKind::MessageCreated(message) => {
                self.typing.retain(|user| *user != message.sender_id);
                if message.seq > self.newest() {
                    self.message(message.clone());
                }
            }
            RoomEventKind::MessageEdited(edited) => {
                if let Some(message) = self.messages.get_mut(&edited.seq) {
                    let reactions = std::mem::take(&mut message.reactions);
                    *message = Message { reactions, ..edited.clone() };
                }
                self.change(format!("* {actor} edited [{}]: {}", edited.seq, edited.text));
            }
            RoomEventKind::MessageDeleted { seq, reason } => {
                if let Some(message) = self.messages.get_mut(seq) {
                    (message.deleted_at, message.deletion_reason) = (event.occurred_at, reason.clone());
                }
                self.change(format!("* {actor} deleted [{seq}]"));
            }
            RoomEventKind::ReactionAdded { seq, emoji } => self.note(format!("* {actor} reacted {emoji} to [{seq}]")),
            RoomEventKind::ReactionRemoved { seq, emoji } => self.note(format!("* {actor} took {emoji} from [{seq}]")),
            RoomEventKind::MessagePinned { seq } => self.note(format!("* {actor} pinned [{seq}]")),
            RoomEventKind::MessageUnpinned { seq } => self.note(format!("* {actor} unpinned [{seq}]")),
            RoomEventKind::MemberJoined(member) => {
                let (user_id, at) = (member.user_id.clone(), self.newest());
                self.note(format!("* {user_id} joined"));
                self.cursor(Receipt { user_id, delivered_seq: at, read_seq: at });
            }
            RoomEventKind::MemberLeft { user_id, banned } => {
                self.receipts.remove(user_id);
                self.present.remove(user_id);
                self.note(format!("* {user_id} {}", if *banned { "was banned" } else { "left" }));
            }
            RoomEventKind::MemberUpdated(member) => {
                let muted =
                    member.muted_until.zip(event.occurred_at).is_some_and(|(until, at)| until.seconds > at.seconds);
                let muted = if muted { ", muted" } else { "" };
                self.note(format!("* {} is now {:?}{muted}", member.user_id, member.role()));
            }
            RoomEventKind::RoomUpdated(room) => self.note(format!("* {actor} changed the room: {}", room.title)),
            RoomEventKind::RoomDeleted => self.note(format!("* {actor} deleted the room")),
            _ => {}
        }
    }

    fn change(&mut self, line: String) {
        self.entries.push(Entry::Change(line));
    }
}
