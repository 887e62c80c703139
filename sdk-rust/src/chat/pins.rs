//! Calls about pinned messages.

use relay_proto::chat::v1::{ListPinnedMessagesRequest, PinMessageRequest, PinnedMessage, UnpinMessageRequest};

use crate::{Client, Error, MessageRef};

impl Client {
    /// Pins a message. Owners and admins; in direct rooms both. Pinning again changes nothing.
    ///
    /// # Errors
    /// `RoleInsufficient`, `MessageNotFound`, `MessageDeleted`, `TooManyPins` (50).
    pub async fn pin(&self, message: impl Into<MessageRef>) -> Result<(), Error> {
        let MessageRef { room_id, seq } = message.into();
        let pin = |request| {
            let mut chat = self.chat();
            async move { chat.pin_message(request).await }
        };
        self.call(PinMessageRequest { room_id, seq }, pin).await.map(drop)
    }

    /// Unpins a message. Without a pin, changes nothing.
    ///
    /// # Errors
    /// `RoleInsufficient`, `MessageNotFound`, `RoomNotFound`, `NotAMember`.
    pub async fn unpin(&self, message: impl Into<MessageRef>) -> Result<(), Error> {
        let MessageRef { room_id, seq } = message.into();
        let unpin = |request| {
            let mut chat = self.chat();
            async move { chat.unpin_message(request).await }
        };
        self.call(UnpinMessageRequest { room_id, seq }, unpin).await.map(drop)
    }

    /// Lists all pinned messages of a room, the last pinned first.
    ///
    /// # Errors
    /// `RoomNotFound`, `NotAMember`.
    pub async fn list_pinned(&self, room_id: impl Into<String>) -> Result<Vec<PinnedMessage>, Error> {
        let list = |request| {
            let mut chat = self.chat();
            async move { chat.list_pinned_messages(request).await }
        };
        Ok(self.call(ListPinnedMessagesRequest { room_id: room_id.into() }, list).await?.messages)
    }
}
