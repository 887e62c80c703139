//! What the user sees of one room.

use relay_sdk::{DisconnectReason, Event, Message, ResumeVerdict, RoomEvent, RoomEventKind, RoomResume};

/// Prints a room line by line, each message once.
pub(crate) struct Screen {
    room: String,
    /// The number of the newest message shown. Live events begin a little before the end of the history.
    pub(crate) newest: u64,
}

impl Screen {
    pub(crate) fn new(room: &str) -> Self {
        Self { room: room.to_owned(), newest: 0 }
    }

    pub(crate) fn message(&mut self, message: &Message) {
        self.newest = self.newest.max(message.seq);
        let Message { seq, sender_id, text, .. } = message;
        if message.deleted_at.is_some() {
            return note(&format!("[{seq}] {sender_id}: (deleted)"));
        }
        let edited = if message.edited_at.is_some() { " (edited)" } else { "" };
        let answered = match message.reply_to_seq {
            0 => String::new(),
            answered => format!(" (to {answered})"),
        };
        let reactions: String = message.reactions.iter().map(|r| format!(" {}{}", r.emoji, r.count)).collect();
        note(&format!("[{seq}] {sender_id}{answered}: {text}{edited}{reactions}"));
    }

    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Connected(session) => note(&format!("* connected as {}", session.user_id)),
            Event::Disconnected { reason, retry_in } => {
                let why = match reason {
                    DisconnectReason::Failed(error) => error.to_string(),
                    other => format!("{other:?}"),
                };
                note(&format!("* disconnected: {why}; next try in {:.1} s", retry_in.as_secs_f64()));
            }
            Event::Resumed(at) if at.room_id == self.room => self.resumed(at),
            Event::Room(event) if event.room_id == self.room => self.room_event(event),
            _ => {}
        }
    }

    fn resumed(&self, at: &RoomResume) {
        match at.verdict() {
            ResumeVerdict::Left => note(&format!("* you are not in {} any more", self.room)),
            // The messages sent meanwhile are listed; what happened to older ones is not.
            ResumeVerdict::Gap => note("* edits, deletions and reactions above may be missing"),
            _ => {}
        }
    }

    fn room_event(&mut self, event: &RoomEvent) {
        let actor = &event.actor_id;
        match &event.kind {
            RoomEventKind::MessageCreated(message) if message.seq > self.newest => self.message(message),
            RoomEventKind::MessageEdited(message) => {
                note(&format!("* {actor} edited [{}]: {}", message.seq, message.text))
            }
            RoomEventKind::MessageDeleted { seq, .. } => note(&format!("* {actor} deleted [{seq}]")),
            RoomEventKind::ReactionAdded { seq, emoji } => note(&format!("* {actor} reacted {emoji} to [{seq}]")),
            RoomEventKind::ReactionRemoved { seq, emoji } => note(&format!("* {actor} took {emoji} from [{seq}]")),
            RoomEventKind::MemberJoined(member) => note(&format!("* {} joined", member.user_id)),
            RoomEventKind::MemberLeft { user_id, .. } => note(&format!("* {user_id} left")),
            RoomEventKind::MemberUpdated(member) => note(&format!("* {} is now {:?}", member.user_id, member.role())),
            RoomEventKind::RoomUpdated(room) => note(&format!("* {actor} changed the room: {}", room.title)),
            RoomEventKind::RoomDeleted => note(&format!("* {actor} deleted the room")),
            _ => {}
        }
    }
}

/// Prints a line.
#[expect(clippy::print_stdout, reason = "the terminal is what this example is for")]
pub(crate) fn note(line: &str) {
    println!("{line}");
}
