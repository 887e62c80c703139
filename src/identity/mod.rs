//! Who calls: tokens become a [`Caller`].

mod keys;
mod tokens;

pub use keys::{KeyError, KeyRing};
pub use tokens::{Tokens, mint};

use crate::{clock::Timestamp, id::UserKey};

/// Somebody whose credentials were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user, in their project.
    pub user: UserKey,
    /// When the token stops being good.
    pub expires_at: Timestamp,
}
