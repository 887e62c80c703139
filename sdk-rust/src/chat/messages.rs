//! Calls that write or read single messages.

use std::ops::RangeInclusive;

use relay_proto::chat::v1::{
    AddReactionRequest, DeleteMessageRequest, GetMessageRequest, Message, RemoveReactionRequest, SendMessagesRequest,
    SendReceipt, SendResult, SkipLaneRequest, send_result::Result as Outcome,
};

use crate::{Client, Error, MessageRef, NewContent, OutgoingMessage};

impl Client {
    /// Sends a message, and answers when it is committed and will reach every member.
    ///
    /// What fails in passing (no connection, a server that restarts or has too much to do) is tried again with the same
    /// id until the send deadline, so the message is written once. Messages that are sent at the same time from several
    /// tasks are written in any order: to keep an order, wait for each answer or use [`send_batch`](Self::send_batch).
    ///
    /// # Errors
    /// Final answers, for example `RoomNotFound`, `NotAMember`, `FieldInvalid`, `ClientMessageIdReused`; and
    /// [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when no answer says whether it was written.
    pub async fn send(&self, message: OutgoingMessage) -> Result<SendReceipt, Error> {
        let send = |request| {
            let mut chat = self.chat();
            async move { chat.send_message(request).await }
        };
        self.typing_is_over(message.room_id());
        let request = message.into_request();
        let written_after = request.written_after_seq;
        let answer = self.call_send(request, send).await?;
        let receipt = answer.receipt.ok_or_else(|| Error::missing("receipt"))?;
        self.has_sent(&receipt, written_after);
        Ok(receipt)
    }

    /// Sends 1 to 100 messages, which are written in this order. Each succeeds or fails by itself: the answer has a
    /// result for each, in the same order.
    ///
    /// # Errors
    /// As [`send`](Self::send), if the call as a whole failed. All together may have 1 MiB, unless the server says
    /// otherwise: `RequestTooLarge`. A single result that failed in passing is not tried again: send that message again.
    pub async fn send_batch(
        &self,
        messages: impl IntoIterator<Item = OutgoingMessage>,
    ) -> Result<Vec<Result<SendReceipt, Error>>, Error> {
        let requests: Vec<_> = messages.into_iter().map(OutgoingMessage::into_request).collect();
        let written_after: Vec<_> = requests.iter().map(|request| request.written_after_seq).collect();
        let send = |request| {
            let mut chat = self.chat();
            async move { chat.send_messages(request).await }
        };
        let answer = self.call_send(SendMessagesRequest { requests }, send).await?;
        let results: Vec<_> = answer.results.into_iter().map(outcome).collect();
        for (result, written_after) in results.iter().zip(written_after) {
            result.iter().for_each(|receipt| self.has_sent(receipt, written_after));
        }
        Ok(results)
    }

    /// Replaces the content of a message of the user's own; the text alone can be given as a string. Answers with the
    /// message as it is now, without its reactions.
    ///
    /// # Errors
    /// `RoleInsufficient` for the message of someone else, `MessageDeleted`, `MessageNotFound`, `FieldInvalid`.
    pub async fn edit(&self, message: impl Into<MessageRef>, content: impl Into<NewContent>) -> Result<Message, Error> {
        let edit = |request| {
            let mut chat = self.chat();
            async move { chat.edit_message(request).await }
        };
        let answer = self.call(content.into().into_request(message.into()), edit).await?;
        answer.message.ok_or_else(|| Error::missing("message"))
    }

    /// Deletes a message of the user's own, or as an owner or admin of the room anyone's. Deleting again changes nothing.
    ///
    /// # Errors
    /// `RoleInsufficient`, `MessageNotFound`.
    pub async fn delete(&self, message: impl Into<MessageRef>) -> Result<(), Error> {
        self.delete_with_reason(message, "").await
    }

    /// Deletes a message and says why, to all members: at most 256 bytes without control characters.
    ///
    /// # Errors
    /// `RoleInsufficient`, `MessageNotFound`, `FieldInvalid`.
    pub async fn delete_with_reason(
        &self,
        message: impl Into<MessageRef>,
        reason: impl Into<String>,
    ) -> Result<(), Error> {
        let MessageRef { room_id, seq } = message.into();
        let delete = |request| {
            let mut chat = self.chat();
            async move { chat.delete_message(request).await }
        };
        self.call(DeleteMessageRequest { room_id, seq, reason: reason.into() }, delete).await.map(drop)
    }

    /// Reacts to a message with an emoji or any short text: 1 to 64 bytes. The same again changes nothing.
    ///
    /// # Errors
    /// `MessageDeleted`, `TooManyReactions` (50 different ones on a message, 20 of one user), `MessageNotFound`.
    pub async fn react(&self, message: impl Into<MessageRef>, emoji: impl Into<String>) -> Result<(), Error> {
        let MessageRef { room_id, seq } = message.into();
        let react = |request| {
            let mut chat = self.chat();
            async move { chat.add_reaction(request).await }
        };
        self.call(AddReactionRequest { room_id, seq, emoji: emoji.into() }, react).await.map(drop)
    }

    /// Takes a reaction of the user's own back. Without one, changes nothing.
    ///
    /// # Errors
    /// `MessageNotFound`, `RoomNotFound`, `NotAMember`.
    pub async fn unreact(&self, message: impl Into<MessageRef>, emoji: impl Into<String>) -> Result<(), Error> {
        let MessageRef { room_id, seq } = message.into();
        let unreact = |request| {
            let mut chat = self.chat();
            async move { chat.remove_reaction(request).await }
        };
        self.call(RemoveReactionRequest { room_id, seq, emoji: emoji.into() }, unreact).await.map(drop)
    }

    /// Reads one message with its reactions and its status: how many have got and read it. A deleted one is a tombstone.
    ///
    /// # Errors
    /// `MessageNotFound`, `RoomNotFound`, `NotAMember`.
    pub async fn get_message(&self, message: impl Into<MessageRef>) -> Result<Message, Error> {
        let MessageRef { room_id, seq } = message.into();
        let get = |request| {
            let mut chat = self.chat();
            async move { chat.get_message(request).await }
        };
        let answer = self.call(GetMessageRequest { room_id, seq }, get).await?;
        answer.message.ok_or_else(|| Error::missing("message"))
    }
}

impl Client {
    /// Declares numbers of a lane of the user's as skipped, at most 1,000 at once, so that nothing waits for them any more.
    /// Answers with the number that the lane expects next.
    ///
    /// # Errors
    /// `LaneJumpTooFar`, `RoomNotFound`, `NotAMember`, `FieldInvalid`.
    pub async fn skip_lane(
        &self,
        room_id: impl Into<String>,
        lane_id: impl Into<String>,
        numbers: RangeInclusive<u64>,
    ) -> Result<u64, Error> {
        let skip = |request| {
            let mut chat = self.chat();
            async move { chat.skip_lane(request).await }
        };
        let (first_client_seq, last_client_seq) = numbers.into_inner();
        let (room_id, lane_id) = (room_id.into(), lane_id.into());
        let request = SkipLaneRequest { room_id, lane_id, first_client_seq, last_client_seq };
        Ok(self.call(request, skip).await?.next_client_seq)
    }
}

fn outcome(result: SendResult) -> Result<SendReceipt, Error> {
    match result.result {
        Some(Outcome::Receipt(receipt)) => Ok(receipt),
        Some(Outcome::Error(error)) => Err(Error::from_wire(error)),
        None => Err(Error::missing("result")),
    }
}
