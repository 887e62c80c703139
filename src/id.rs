//! The names of projects, users and rooms: what they may look like, in one place.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The most bytes that a name may have.
pub const MAX_ID_BYTES: usize = 128;

/// A project: the tenant to which every row belongs.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProjectId(Arc<str>);

/// A user of a project: the `sub` of a token.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserId(Arc<str>);

/// A room in its project.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RoomId(Arc<str>);

/// A room, named for the whole server. No statement and no map takes a room without its project.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RoomKey {
    /// The project.
    pub project: ProjectId,
    /// The room.
    pub room: RoomId,
}

/// A user, named for the whole server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserKey {
    /// The project.
    pub project: ProjectId,
    /// The user.
    pub user: UserId,
}

impl RoomId {
    /// A new id that sorts by time.
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().to_string().into())
    }

    /// The name as shared text.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// The room that [`RoomId::shared`] came from.
    pub fn from_shared(text: Arc<str>) -> Self {
        Self(text)
    }
}

impl RoomKey {
    /// The room `room` of `project`.
    pub fn new(project: &ProjectId, room: RoomId) -> Self {
        Self { project: project.clone(), room }
    }

    /// A user of the room's project.
    pub fn user(&self, user: &UserId) -> UserKey {
        UserKey { project: self.project.clone(), user: user.clone() }
    }
}

impl UserKey {
    /// A room of the user's project.
    pub fn room(&self, room: RoomId) -> RoomKey {
        RoomKey::new(&self.project, room)
    }
}

fn check(text: &str, field: &str, also: &[u8]) -> Result<Arc<str>> {
    let limit = |what: &str| Error::field(field, format!("{what}; it takes 1 to {MAX_ID_BYTES} of {}", allowed(also)));
    if text.is_empty() {
        return Err(limit("is empty"));
    }
    if text.len() > MAX_ID_BYTES {
        return Err(limit(&format!("has {} bytes", text.len())));
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b) || also.contains(&b)) {
        return Err(limit("has a character that is not allowed"));
    }
    Ok(text.into())
}

fn allowed(also: &[u8]) -> String {
    format!("A-Z a-z 0-9 . _ : -{}", also.iter().map(|b| format!(" {}", *b as char)).collect::<String>())
}

macro_rules! name {
    ($type:ty, $also:expr) => {
        impl $type {
            /// Checks that `text` is a name; `field` names it in the error.
            pub fn parse(text: &str, field: &str) -> Result<Self> {
                check(text, field, $also).map(Self)
            }

            /// A name that the database gave back: it was checked when it went in.
            pub fn stored(text: String) -> Self {
                Self(text.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name!(ProjectId, b"");
name!(UserId, b"@|");
name!(RoomId, b"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet_and_length() {
        for good in ["a", "general", "A.b_c:d-9", &"x".repeat(128)] {
            assert!(RoomId::parse(good, "room_id").is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "ä", "a/b", "a\0", "a@b", &"x".repeat(129)] {
            let error = RoomId::parse(bad, "room_id").expect_err(bad);
            assert_eq!(error.violations()[0].field, "room_id");
        }
        assert!(UserId::parse("auth0|5f7@example", "user_id").is_ok());
    }
}
