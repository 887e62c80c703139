//! Rooms and members: what they are.

use crate::{
    chat::{
        message::{Message, Metadata, at_most, check_metadata, no_nul},
        receipts::Membership,
    },
    clock::Timestamp,
    error::{Error, Result},
    id::{RoomId, UserId},
};

/// The most bytes of a title.
pub const MAX_TITLE_BYTES: usize = 256;
/// The longest slow mode: a day.
pub const MAX_SLOW_MODE_SECONDS: u32 = 86_400;
/// The most bytes of a description.
pub const MAX_DESCRIPTION_BYTES: usize = 4_096;
/// The most users added to a room in one call.
pub const MAX_NEW_MEMBERS: usize = 100;

/// Who can find and join a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomKind {
    /// Every user of the project.
    Public,
    /// Whom a member adds.
    Private,
    /// Two users, one room for each pair.
    Direct,
}

/// What a member may do; [`crate::chat::policy`] has the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the policy table says what each may do")]
pub enum Role {
    ReadOnly,
    Member,
    Admin,
    Owner,
}

/// A room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the same fields, documented, are in proto/relay/chat/v1/room.proto")]
pub struct Room {
    pub id: RoomId,
    pub kind: RoomKind,
    pub title: String,
    pub description: String,
    pub metadata: Metadata,
    pub created_by: UserId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub last_activity_at: Timestamp,
    pub last_seq: u64,
    pub last_position: u64,
    pub member_count: u64,
    pub slow_mode_seconds: u32,
    /// The two users of a direct room.
    pub pair: Option<(UserId, UserId)>,
}

/// A user in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// Since when they are in.
    pub joined_at: Timestamp,
    /// Until when a moderator lets them only read.
    pub muted_until: Option<Timestamp>,
}

/// A room as a list shows it to a user.
#[derive(Clone, Debug)]
pub struct RoomSummary {
    /// The room.
    pub room: Room,
    /// The user's membership.
    pub membership: Option<Member>,
    /// Its newest message, for members.
    pub last_message: Option<Message>,
    /// How the user stands in it, if they are a member; filled in after it was read.
    pub state: Option<Membership>,
}

/// A user to add.
#[derive(Clone, Debug)]
pub struct NewMember {
    /// The user.
    pub user: UserId,
    /// Their role.
    pub role: Role,
}

/// A room to make.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// Its id; `None` makes one.
    pub id: Option<RoomId>,
    /// Public or private.
    pub kind: RoomKind,
    /// What it says of itself.
    pub profile: Profile,
    /// Who is in from the start, beside the creator.
    pub members: Vec<NewMember>,
}

/// What a room says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The title.
    pub title: String,
    /// What it is about.
    pub description: String,
    /// What the application keeps with it.
    pub metadata: Metadata,
    /// How long a member waits between two messages; 0: not at all.
    pub slow_mode_seconds: u32,
}

/// A change of what a room says of itself; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// The title.
    pub title: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// What the application keeps with it.
    pub metadata: Option<Metadata>,
    /// How long a member waits between two messages.
    pub slow_mode_seconds: Option<u32>,
}

impl Room {
    /// The other user of a direct room.
    pub fn other(&self, caller: &UserId) -> Option<&UserId> {
        self.pair.as_ref().map(|(a, b)| if a == caller { b } else { a })
    }

    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        let metadata = self.metadata.iter().map(|(key, value)| key.len() + value.len());
        self.title.len() + self.description.len() + metadata.sum::<usize>()
    }
}

impl RoomSummary {
    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        self.room.weight() + self.last_message.as_ref().map_or(0, |message| message.content.weight())
    }
}

impl Profile {
    /// Checks every limit.
    pub fn check(&self) -> Result<()> {
        at_most("title", self.title.len(), MAX_TITLE_BYTES)?;
        if self.title.chars().any(char::is_control) {
            return Err(Error::field("title", "has a control character"));
        }
        at_most("description", self.description.len(), MAX_DESCRIPTION_BYTES)?;
        no_nul("description", &self.description)?;
        if self.slow_mode_seconds > MAX_SLOW_MODE_SECONDS {
            return Err(Error::field("slow_mode_seconds", format!("is above {MAX_SLOW_MODE_SECONDS}")));
        }
        check_metadata(&self.metadata)
    }

    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        let metadata = self.metadata.iter().map(|(key, value)| key.len() + value.len());
        self.title.len() + self.description.len() + metadata.sum::<usize>()
    }
}

impl RoomKind {
    /// The number that the database keeps.
    pub fn number(self) -> i64 {
        match self {
            Self::Public => 1,
            Self::Private => 2,
            Self::Direct => 3,
        }
    }

    /// The kind that the database kept.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Public, Self::Private, Self::Direct].into_iter().find(|kind| kind.number() == number)
    }
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Member, Self::ReadOnly];

    /// The number that the database keeps.
    pub fn number(self) -> i64 {
        match self {
            Self::Owner => 1,
            Self::Admin => 2,
            Self::Member => 3,
            Self::ReadOnly => 4,
        }
    }

    /// The role that the database kept.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.number() == number)
    }
}
