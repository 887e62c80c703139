//! What is sent: new messages, new content, and names of messages.

use std::collections::HashMap;

use relay_proto::chat::v1::{Attachment, EditMessageRequest, Mention, Message, SendMessageRequest};
use uuid::Uuid;

use super::mention::{self, Whom};

/// A message to send. Its limits are those of the server; outside them a send fails with `FieldInvalid`.
///
/// ```
/// use relay_sdk::OutgoingMessage;
///
/// let message = OutgoingMessage::text("general", "**hi**").content_type("text/markdown").reply_to(7);
/// assert_eq!(message.room_id(), "general");
/// // The id is there before the message is sent, so that an application can store both.
/// assert_eq!(message.client_message_id().len(), 36);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct OutgoingMessage(SendMessageRequest);

impl OutgoingMessage {
    /// A message with this text for this room. 1 to 32,768 bytes of UTF-8; may be empty if there is an attachment.
    pub fn text(room_id: impl Into<String>, text: impl Into<String>) -> Self {
        Self(SendMessageRequest {
            room_id: room_id.into(),
            client_message_id: Uuid::now_v7().to_string(),
            text: text.into(),
            ..SendMessageRequest::default()
        })
    }

    /// The message's id, a UUID, in place of the UUIDv7 made for it. To send a stored message again after a restart, give
    /// it the id that it had: the server writes it once, ever.
    pub fn with_client_message_id(mut self, id: impl Into<String>) -> Self {
        self.0.client_message_id = id.into();
        self
    }

    /// The media type of the text, 3 to 127 bytes. Default: `text/plain`.
    pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
        self.0.content_type = media_type.into();
        self
    }

    /// The message of the same room that this one answers.
    pub fn reply_to(mut self, seq: u64) -> Self {
        self.0.reply_to_seq = seq;
        self
    }

    /// Attaches a key (1 to 64 bytes) with a value (at most 512 bytes). At most 16.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.into(), value.into());
        self
    }

    /// Attaches a file that lies elsewhere. At most 10.
    pub fn attachment(mut self, attachment: Attachment) -> Self {
        self.0.attachments.push(attachment);
        self
    }

    /// Mentions a member where `@` and their id first stand in the text as a word; without such a place, nobody. Called
    /// again it mentions them at the next place. At most 50 mentions.
    ///
    /// ```
    /// let message = relay_sdk::OutgoingMessage::text("general", "hi @ben").mention("ben");
    /// assert_eq!(message.mentions()[0].offset, 3);
    /// ```
    pub fn mention(self, user_id: impl Into<String>) -> Self {
        let user_id = user_id.into();
        self.mention_as(&user_id.clone(), user_id)
    }

    /// Mentions a member where `@name` first stands in the text as a word: as [`mention`](Self::mention), for applications
    /// that show users by names.
    pub fn mention_as(mut self, name: &str, user_id: impl Into<String>) -> Self {
        mention::add(&mut self.0.mentions, &self.0.text, name, Whom::User(user_id.into()));
        self
    }

    /// Mentions everyone where `@room` first stands in the text as a word. Owners and admins; in direct rooms both.
    pub fn mention_room(mut self) -> Self {
        mention::add(&mut self.0.mentions, &self.0.text, "room", Whom::Room);
        self
    }

    /// These mentions, in the order of the text, in place of all others.
    pub fn with_mentions(mut self, mentions: Vec<Mention>) -> Self {
        self.0.mentions = mentions;
        self
    }

    /// Puts the message into a lane of the user's in the room, under this number: 1, 2, 3, … The server writes a lane in the
    /// order of the numbers, whatever order they come in. The outbox of the feature `sqlite` does this by itself.
    pub fn lane(mut self, lane_id: impl Into<String>, client_seq: u64) -> Self {
        self.0.lane_id = lane_id.into();
        self.0.client_seq = client_seq;
        self
    }

    /// The newest message of the room that the user had seen when they wrote this one. Where any message stands between, the
    /// user's own too, sending does not read the room. Without it, sending reads the room up to the message. The outbox of the
    /// feature `sqlite` does this by itself.
    pub fn written_after(mut self, seq: u64) -> Self {
        self.0.written_after_seq = Some(seq);
        self
    }

    /// The room that it is for.
    pub fn room_id(&self) -> &str {
        &self.0.room_id
    }

    /// The id that makes sending it again safe.
    pub fn client_message_id(&self) -> &str {
        &self.0.client_message_id
    }

    /// The text.
    pub fn text_of(&self) -> &str {
        &self.0.text
    }

    /// Who is mentioned, in the order of the text.
    pub fn mentions(&self) -> &[Mention] {
        &self.0.mentions
    }

    pub(crate) fn into_request(self) -> SendMessageRequest {
        self.0
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn from_request(request: SendMessageRequest) -> Self {
        Self(request)
    }
}

/// The content that takes the place of a message's old content: text, media type, metadata and attachments, all of it.
/// The limits are those of [`OutgoingMessage`].
///
/// ```
/// let content = relay_sdk::NewContent::text("hello").metadata("lang", "en");
/// # let _ = content;
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewContent {
    text: String,
    content_type: String,
    metadata: HashMap<String, String>,
    attachments: Vec<Attachment>,
    mentions: Vec<Mention>,
}

impl NewContent {
    /// Content with this text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The media type of the text. Default: `text/plain`.
    pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
        self.content_type = media_type.into();
        self
    }

    /// Attaches a key with a value.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Attaches a file that lies elsewhere.
    pub fn attachment(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }

    /// Mentions a member where `@` and their id first stand in the text. See [`OutgoingMessage::mention`].
    pub fn mention(self, user_id: impl Into<String>) -> Self {
        let user_id = user_id.into();
        self.mention_as(&user_id.clone(), user_id)
    }

    /// Mentions a member where `@name` first stands in the text. See [`OutgoingMessage::mention_as`].
    pub fn mention_as(mut self, name: &str, user_id: impl Into<String>) -> Self {
        mention::add(&mut self.mentions, &self.text, name, Whom::User(user_id.into()));
        self
    }

    /// Mentions everyone where `@room` first stands in the text. See [`OutgoingMessage::mention_room`].
    pub fn mention_room(mut self) -> Self {
        mention::add(&mut self.mentions, &self.text, "room", Whom::Room);
        self
    }

    /// These mentions, in the order of the text, in place of all others.
    pub fn with_mentions(mut self, mentions: Vec<Mention>) -> Self {
        self.mentions = mentions;
        self
    }

    /// Puts this content into a message that is still to be sent.
    #[cfg(feature = "sqlite")]
    pub(crate) fn put_into(self, request: &mut SendMessageRequest) {
        let Self { text, content_type, metadata, attachments, mentions } = self;
        (request.text, request.content_type) = (text, content_type);
        (request.metadata, request.attachments, request.mentions) = (metadata, attachments, mentions);
    }

    pub(crate) fn into_request(self, message: MessageRef) -> EditMessageRequest {
        let Self { text, content_type, metadata, attachments, mentions } = self;
        EditMessageRequest {
            room_id: message.room_id,
            seq: message.seq,
            text,
            content_type,
            metadata,
            attachments,
            mentions,
        }
    }
}

impl From<&str> for NewContent {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for NewContent {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

/// The name of a message: its room and its number in it. Made from `("general", 7)` or from a [`Message`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageRef {
    /// The room.
    pub room_id: String,
    /// The message's number in the room.
    pub seq: u64,
}

impl<R: Into<String>> From<(R, u64)> for MessageRef {
    fn from((room_id, seq): (R, u64)) -> Self {
        Self { room_id: room_id.into(), seq }
    }
}

impl From<&Message> for MessageRef {
    fn from(message: &Message) -> Self {
        Self { room_id: message.room_id.clone(), seq: message.seq }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_gets_an_id_of_its_own_that_a_clone_keeps() {
        let (one, two) = (OutgoingMessage::text("r", "a"), OutgoingMessage::text("r", "a"));
        assert_ne!(one.client_message_id(), two.client_message_id());
        assert_eq!(one.clone().client_message_id(), one.client_message_id());
        assert_eq!(Uuid::parse_str(one.client_message_id()).unwrap().get_version_num(), 7);
    }

    #[test]
    fn what_the_builder_was_given_is_in_the_request() {
        let request = OutgoingMessage::text("r", "a").reply_to(3).metadata("k", "v").into_request();
        assert_eq!((request.reply_to_seq, request.metadata["k"].as_str()), (3, "v"));
        let edit = NewContent::from("b").content_type("text/markdown").into_request(("r", 4).into());
        assert_eq!((edit.seq, edit.text.as_str(), edit.content_type.as_str()), (4, "b", "text/markdown"));
    }
}
