//! What the user sets for a room: on all their devices, and nobody else sees it.

use prost_types::{FieldMask, Timestamp};
use relay_proto::chat::v1::{MembershipState, RoomSettings, UpdateRoomSettingsRequest};

use crate::{Client, Error};

/// What to change of the settings for a room; what is not named stays.
///
/// ```
/// let changes = relay_sdk::SettingsChanges::new().favourite(true).archived(false);
/// # let _ = changes;
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SettingsChanges {
    settings: RoomSettings,
    paths: Vec<String>,
}

impl SettingsChanges {
    /// No change yet; at least one is required.
    pub fn new() -> Self {
        Self::default()
    }

    /// Until when the room shall not notify; `None`: it shall. Up to the end of the year 9999, which is for ever.
    pub fn muted_until(mut self, until: Option<Timestamp>) -> Self {
        self.settings.muted_until = until;
        self.changes("muted_until")
    }

    /// Puts the room away, or brings it back. A new message does not bring it back.
    pub fn archived(mut self, archived: bool) -> Self {
        self.settings.archived = archived;
        self.changes("archived")
    }

    /// Shows the room first, or not any more.
    pub fn favourite(mut self, favourite: bool) -> Self {
        self.settings.favourite = favourite;
        self.changes("favourite")
    }

    fn changes(mut self, path: &str) -> Self {
        if !self.paths.iter().any(|named| named == path) {
            self.paths.push(path.to_owned());
        }
        self
    }
}

impl Client {
    /// Changes what the user has set for a room. Their other devices are told by [`Memberships`](crate::Event::Memberships).
    ///
    /// # Errors
    /// `RoomNotFound`, `NotAMember`, `FieldInvalid`.
    pub async fn update_room_settings(
        &self,
        room_id: impl Into<String>,
        changes: SettingsChanges,
    ) -> Result<MembershipState, Error> {
        let update = |request| {
            let mut rooms = self.rooms();
            async move { rooms.update_room_settings(request).await }
        };
        let request = UpdateRoomSettingsRequest {
            room_id: room_id.into(),
            settings: Some(changes.settings),
            update_mask: Some(FieldMask { paths: changes.paths }),
        };
        self.call(request, update).await?.state.ok_or_else(|| Error::missing("state"))
    }
}
