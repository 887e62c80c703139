//! Whether a user is there, as it is told.

use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, hub::Devices, id::UserId};

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Availability {
    /// A device is in use.
    Online,
    /// Streams are open, and no device is in use.
    Away,
    /// No stream is open.
    Offline,
}

impl Availability {
    /// Its number in the database: the lowest of a user's devices is theirs.
    pub(in crate::chat) fn number(self) -> i64 {
        match self {
            Self::Online => 1,
            Self::Away => 2,
            Self::Offline => 3,
        }
    }

    /// The one with this number.
    pub(in crate::chat) fn from_number(number: i64) -> Option<Self> {
        [Self::Online, Self::Away, Self::Offline].into_iter().find(|state| state.number() == number)
    }

    /// What a user with these devices is.
    pub(super) fn of(devices: Devices) -> Self {
        match devices {
            Devices { open: 0, .. } => Self::Offline,
            Devices { open, away } if away < open => Self::Online,
            Devices { .. } => Self::Away,
        }
    }
}

/// The presence of a user, over all their devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPresence {
    /// The user.
    pub user: UserId,
    /// Whether they are there.
    pub state: Availability,
    /// When their last device went, if they are offline and were there before.
    pub last_seen_at: Option<Timestamp>,
    /// What they say of themselves.
    pub status_text: String,
    /// Grows with each change.
    pub version: u64,
}
