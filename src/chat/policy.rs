//! Who may do what in a room: the one table.
//!
//! | action                    | owner | admin | member | read-only |
//! |---------------------------|-------|-------|--------|-----------|
//! | read                      | yes   | yes   | yes    | yes       |
//! | send, react               | yes   | yes   | yes    |           |
//! | edit, delete one's own    | yes   | yes   | yes    |           |
//! | add members               | yes   | yes   | yes    |           |
//! | mention everyone          | yes   | yes   |        |           |
//! | delete anyone's message   | yes   | yes   |        |           |
//! | update the room           | yes   | yes   |        |           |
//! | remove, update members    | yes   | yes   |        |           |
//! | ban, mute users           | yes   | yes   |        |           |
//! | pin messages              | yes   | yes   |        |           |
//! | delete the room           | yes   |       |        |           |
//!
//! Beside it: nobody gives a role above their own, and nobody removes or changes a member above their own; owners may do
//! both to owners, whom nobody bans or mutes. In direct rooms nobody adds, removes, bans, mutes, changes or deletes; both
//! users are members, and both pin and may mention everyone.

use super::room::Role;
use crate::error::{Error, Reason, Result};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table above says it")]
pub enum Action {
    Read,
    Send,
    React,
    ChangeOwnMessage,
    AddMembers,
    MentionRoom,
    DeleteAnyMessage,
    UpdateRoom,
    ManageMembers,
    Moderate,
    PinMessage,
    DeleteRoom,
}

impl Action {
    fn lowest_role(self) -> Role {
        match self {
            Self::Read => Role::ReadOnly,
            Self::Send | Self::React | Self::ChangeOwnMessage | Self::AddMembers => Role::Member,
            Self::MentionRoom
            | Self::DeleteAnyMessage
            | Self::UpdateRoom
            | Self::ManageMembers
            | Self::Moderate
            | Self::PinMessage => Role::Admin,
            Self::DeleteRoom => Role::Owner,
        }
    }

    /// What one does, for those who read errors.
    fn words(self) -> &'static str {
        match self {
            Self::Read => "reading",
            Self::Send => "sending",
            Self::React => "reacting",
            Self::ChangeOwnMessage => "editing and deleting messages",
            Self::AddMembers => "adding members",
            Self::MentionRoom => "mentioning everyone",
            Self::DeleteAnyMessage => "deleting messages of others",
            Self::UpdateRoom => "changing the room",
            Self::ManageMembers => "removing and changing members",
            Self::Moderate => "banning and muting",
            Self::PinMessage => "pinning messages",
            Self::DeleteRoom => "deleting the room",
        }
    }
}

/// Whether `role` may do `action`.
pub fn allows(role: Role, action: Action) -> bool {
    role >= action.lowest_role()
}

/// The same as an error.
pub fn require(role: Role, action: Action) -> Result<()> {
    if allows(role, action) {
        return Ok(());
    }
    Err(Error::new(
        Reason::RoleInsufficient,
        format!("{} needs the role {:?}, the caller has {role:?}", action.words(), action.lowest_role()),
    ))
}

/// Whether somebody with `role` may give `other`, or touch somebody who has it.
pub fn require_rank(role: Role, other: Role) -> Result<()> {
    if other <= role {
        return Ok(());
    }
    Err(Error::new(Reason::RoleInsufficient, format!("the role {other:?} is above the caller's, {role:?}")))
}

#[cfg(test)]
mod tests {
    use super::{Action::*, *};

    #[test]
    fn the_table_is_as_documented() {
        let documented = [
            (Read, [true, true, true, true]),
            (Send, [true, true, true, false]),
            (React, [true, true, true, false]),
            (ChangeOwnMessage, [true, true, true, false]),
            (AddMembers, [true, true, true, false]),
            (MentionRoom, [true, true, false, false]),
            (DeleteAnyMessage, [true, true, false, false]),
            (UpdateRoom, [true, true, false, false]),
            (ManageMembers, [true, true, false, false]),
            (Moderate, [true, true, false, false]),
            (PinMessage, [true, true, false, false]),
            (DeleteRoom, [true, false, false, false]),
        ];
        for (action, row) in documented {
            for (role, allowed) in Role::ALL.into_iter().zip(row) {
                assert_eq!(allows(role, action), allowed, "{action:?} by {role:?}");
                assert_eq!(require(role, action).is_ok(), allowed);
            }
        }
        assert!(require_rank(Role::Admin, Role::Owner).is_err());
        assert!(require_rank(Role::Owner, Role::Owner).is_ok());
    }
}
