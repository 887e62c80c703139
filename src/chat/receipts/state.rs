//! How far members are and how they stand in rooms: what it is.

use crate::{clock::Timestamp, id::RoomId};

/// How many unread mentions are named.
pub(in crate::chat) const MAX_MENTIONS_SHOWN: usize = 100;

/// How far a member has got and read the messages of a room. Who has read a message has got it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    /// The newest message that a device of theirs has.
    pub delivered: u64,
    /// The newest message that they have read.
    pub read: u64,
}

/// What a member has set for a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomSettings {
    /// Until when it shall not notify.
    pub quiet_until: Option<Timestamp>,
    /// Put away.
    pub archived: bool,
    /// Shown first.
    pub favourite: bool,
}

/// A change of what a member has set; `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// Until when it shall not notify; `Some(None)`: it shall.
    pub quiet_until: Option<Option<Timestamp>>,
    /// Put away.
    pub archived: Option<bool>,
    /// Shown first.
    pub favourite: Option<bool>,
}

/// How a user stands in a room: what only they see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The room.
    pub room: RoomId,
    /// How far they are.
    pub cursors: Cursors,
    /// The room's newest message.
    pub last_seq: u64,
    /// The unread messages that mention them or everyone, ascending: the newest 100.
    pub unread_mentions: Vec<u64>,
    /// What they have set.
    pub settings: RoomSettings,
    /// Grows with each change of the settings, also by leaving and joining again.
    pub settings_version: u64,
}

/// How far a message has come among those who did not send it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageStatus {
    /// How many there are.
    pub members: u64,
    /// How many have got it.
    pub delivered: u64,
    /// How many have read it.
    pub read: u64,
}

impl Cursors {
    /// The cursors of who has got the messages up to `delivered` and read those up to `read`.
    pub fn new(delivered: u64, read: u64) -> Self {
        Self { delivered: delivered.max(read), read }
    }

    /// Takes the greater of each.
    pub fn raise(&mut self, other: Self) {
        self.delivered = self.delivered.max(other.delivered);
        self.read = self.read.max(other.read);
    }
}

impl SettingsChange {
    /// The settings after the change.
    #[must_use]
    pub fn of(&self, before: RoomSettings) -> RoomSettings {
        RoomSettings {
            quiet_until: self.quiet_until.unwrap_or(before.quiet_until),
            archived: self.archived.unwrap_or(before.archived),
            favourite: self.favourite.unwrap_or(before.favourite),
        }
    }
}

impl Membership {
    /// How many messages they have not read, deleted ones included.
    pub fn unread(&self) -> u64 {
        self.last_seq.saturating_sub(self.cursors.read)
    }

    /// What the database holds, with cursors that are not written there yet.
    #[must_use]
    pub fn raised(mut self, cursors: Cursors) -> Self {
        self.cursors.raise(cursors);
        // They were reported after the room was looked at.
        self.last_seq = self.last_seq.max(self.cursors.delivered);
        self.unread_mentions.retain(|seq| *seq > self.cursors.read);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_only_grow_and_reading_is_getting() {
        let mut cursors = Cursors::new(3, 5);
        assert_eq!(cursors, Cursors { delivered: 5, read: 5 });
        cursors.raise(Cursors::new(9, 2));
        cursors.raise(Cursors::new(1, 1));
        assert_eq!(cursors, Cursors { delivered: 9, read: 5 });
    }

    #[test]
    fn what_was_read_since_is_not_unread() {
        let membership = Membership {
            room: RoomId::from_shared("r".into()),
            cursors: Cursors::new(4, 4),
            last_seq: 8,
            unread_mentions: vec![5, 8],
            settings: RoomSettings::default(),
            settings_version: 0,
        };
        assert_eq!(membership.unread(), 4);
        let raised = membership.clone().raised(Cursors::new(9, 7));
        assert_eq!((raised.unread(), raised.unread_mentions), (2, vec![8]));
        assert_eq!(membership.clone().raised(Cursors::new(1, 1)), membership);
    }
}
