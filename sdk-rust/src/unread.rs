//! Unread messages and mentions, counted as events come.

use std::collections::{BTreeMap, BTreeSet};

use relay_proto::chat::v1::{MembershipState, Message, ResumeVerdict, RoomSettings, mention::Target};

use crate::{Event, RoomEvent, RoomEventKind};

/// How many unread mentions are kept of a room: the newest.
const MENTIONS: usize = 100;

/// How the user stands in each room. Fed with the events of a stream whose client asks for
/// [`memberships`](crate::ClientBuilder::memberships) (the default), it has each room before
/// [`CaughtUp`](Event::CaughtUp).
///
/// ```no_run
/// # async fn run(client: relay_sdk::Client) -> Result<(), relay_sdk::Error> {
/// let (mut events, mut unread) = (client.events(), relay_sdk::Unread::new());
/// while let Some(event) = events.next().await {
///     unread.apply(&event?);
///     println!("{} unread", unread.rooms().map(|(_, room)| room.unread_count()).sum::<u64>());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Unread {
    /// The user, once a stream has said.
    user_id: String,
    rooms: BTreeMap<String, UnreadRoom>,
}

/// How the user stands in a room.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UnreadRoom {
    /// Whether the server has told the cursors. Until then only what came meanwhile is known.
    told: bool,
    last_seq: u64,
    delivered_seq: u64,
    read_seq: u64,
    mentions: BTreeSet<u64>,
    settings: RoomSettings,
    settings_version: u64,
}

impl Unread {
    /// Knows of no room yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How the user stands in a room. `None`: the user is not in it, or the server has not told yet.
    pub fn room(&self, room_id: &str) -> Option<&UnreadRoom> {
        self.rooms.get(room_id).filter(|room| room.told)
    }

    /// All rooms of the user, by id.
    pub fn rooms(&self) -> impl Iterator<Item = (&str, &UnreadRoom)> {
        self.rooms.iter().filter(|(_, room)| room.told).map(|(room_id, room)| (room_id.as_str(), room))
    }

    /// Takes an event into account.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Connected(session) => self.user_id.clone_from(&session.user_id),
            Event::Memberships(state) => self.membership(state),
            Event::Resumed(room) if room.verdict() == ResumeVerdict::Left => drop(self.rooms.remove(&room.room_id)),
            Event::Room(event) => self.room_event(event),
            _ => {}
        }
    }

    /// Takes into account how the user stands in a room, as a call has answered it.
    pub fn membership(&mut self, state: &MembershipState) {
        self.rooms.entry(state.room_id.clone()).or_default().merge(state);
    }

    /// The user has read a room up to this message: what [`mark_read`](crate::Client::mark_read) tells the server shows here
    /// at once.
    pub fn mark_read(&mut self, room_id: &str, seq: u64) {
        if let Some(room) = self.rooms.get_mut(room_id) {
            room.read_up_to(seq.min(room.last_seq));
        }
    }

    /// How the user stood in each room when it was stored.
    #[cfg(feature = "sqlite")]
    pub(crate) fn restore(user_id: String, states: Vec<MembershipState>) -> Self {
        let mut unread = Self { user_id, rooms: BTreeMap::new() };
        states.iter().for_each(|state| unread.membership(state));
        unread
    }

    /// The user, once a stream has said. Empty before.
    #[cfg(feature = "sqlite")]
    pub(crate) fn user_id(&self) -> &str {
        &self.user_id
    }

    fn room_event(&mut self, event: &RoomEvent) {
        match &event.kind {
            RoomEventKind::RoomDeleted => return drop(self.rooms.remove(&event.room_id)),
            RoomEventKind::MemberLeft { user_id, .. } if *user_id == self.user_id => {
                return drop(self.rooms.remove(&event.room_id));
            }
            _ => {}
        }
        let room = self.rooms.entry(event.room_id.clone()).or_default();
        match &event.kind {
            RoomEventKind::MessageCreated(message) => {
                room.last_seq = room.last_seq.max(message.seq);
                room.mention(message, &self.user_id);
                // Sending a message reads the room up to it, if the user had seen what stands above.
                if message.sender_id == self.user_id && !message.keeps_unread {
                    room.read_up_to(message.seq);
                }
            }
            RoomEventKind::MessageEdited(message) => room.mention(message, &self.user_id),
            RoomEventKind::MessageDeleted { seq, .. } => drop(room.mentions.remove(seq)),
            _ => {}
        }
    }
}

impl UnreadRoom {
    /// The room's newest message.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The newest message that a device of the user has.
    pub fn delivered_seq(&self) -> u64 {
        self.delivered_seq
    }

    /// The newest message that the user has read.
    pub fn read_seq(&self) -> u64 {
        self.read_seq
    }

    /// How many messages are unread, deleted ones included.
    pub fn unread_count(&self) -> u64 {
        self.last_seq.saturating_sub(self.read_seq)
    }

    /// The unread messages of others that mention the user or everyone, ascending: the newest 100. So many means that many or
    /// more.
    pub fn unread_mentions(&self) -> impl Iterator<Item = u64> {
        self.mentions.iter().copied()
    }

    /// What the user has set for the room.
    pub fn settings(&self) -> &RoomSettings {
        &self.settings
    }

    /// The same as the contract says it.
    #[cfg(feature = "sqlite")]
    pub(crate) fn state(&self, room_id: &str) -> MembershipState {
        MembershipState {
            room_id: room_id.to_owned(),
            delivered_seq: self.delivered_seq,
            read_seq: self.read_seq,
            last_seq: self.last_seq,
            unread_count: self.unread_count(),
            unread_mention_seqs: self.mentions.iter().copied().collect(),
            settings: Some(self.settings),
            settings_version: self.settings_version,
        }
    }

    /// Cursors never go back, and settings go by their version, as states may come in any order.
    fn merge(&mut self, state: &MembershipState) {
        // Of messages up to its newest, the state says which mention the user; of later ones, events have.
        let later = self.mentions.split_off(&(state.last_seq + 1));
        let older_state = self.told && state.last_seq < self.last_seq && state.read_seq < self.read_seq;
        if !older_state {
            self.mentions = state.unread_mention_seqs.iter().copied().collect();
        }
        self.mentions.extend(later);
        self.last_seq = self.last_seq.max(state.last_seq);
        self.delivered_seq = self.delivered_seq.max(state.delivered_seq);
        if !self.told || state.settings_version >= self.settings_version {
            self.settings = state.settings.unwrap_or_default();
            self.settings_version = state.settings_version;
        }
        self.told = true;
        self.read_up_to(state.read_seq);
    }

    fn mention(&mut self, message: &Message, user_id: &str) {
        let mentions = message.mentions.iter().any(|mention| match &mention.target {
            Some(Target::UserId(mentioned)) => mentioned == user_id,
            Some(Target::Room(_)) => true,
            None => false,
        });
        if mentions && message.seq > self.read_seq && message.sender_id != user_id {
            self.mentions.insert(message.seq);
        } else {
            self.mentions.remove(&message.seq);
        }
        while self.mentions.len() > MENTIONS {
            self.mentions.pop_first();
        }
    }

    fn read_up_to(&mut self, seq: u64) {
        self.read_seq = self.read_seq.max(seq);
        self.delivered_seq = self.delivered_seq.max(self.read_seq);
        self.mentions = self.mentions.split_off(&(self.read_seq + 1));
    }
}

#[cfg(test)]
#[path = "unread_tests.rs"]
mod tests;
