//! Messages: what they hold, and the limits of it.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    error::{Error, Reason, Result},
    id::{RoomId, UserId},
};

/// The most bytes of text.
pub const MAX_TEXT_BYTES: usize = 32 * 1024;
/// The most bytes of a media type.
pub const MAX_CONTENT_TYPE_BYTES: usize = 127;
/// The most entries of metadata, on a message or a room.
pub const MAX_METADATA_ENTRIES: usize = 16;
/// The most bytes of a metadata key.
pub const MAX_METADATA_KEY_BYTES: usize = 64;
/// The most bytes of a metadata value.
pub const MAX_METADATA_VALUE_BYTES: usize = 512;
/// The most attachments of a message.
pub const MAX_ATTACHMENTS: usize = 10;
/// The most mentions of a message.
pub const MAX_MENTIONS: usize = 50;
/// The most bytes of a lane's name.
pub const MAX_LANE_BYTES: usize = 64;
/// The most bytes of a reason that somebody gives.
pub const MAX_REASON_BYTES: usize = 256;
/// The most bytes of an attachment's URL.
pub const MAX_URL_BYTES: usize = 2_048;
/// The most bytes of an attachment's name.
pub const MAX_FILE_NAME_BYTES: usize = 255;
/// The largest file that an attachment may state: what every JSON reader holds exactly.
pub const MAX_FILE_BYTES: u64 = (1 << 53) - 1;
/// The most bytes of a reaction.
pub const MAX_EMOJI_BYTES: usize = 64;
/// The most different reactions on a message.
pub const MAX_EMOJI_PER_MESSAGE: usize = 50;
/// The most reactions of one user on a message.
pub const MAX_EMOJI_PER_USER: usize = 20;
/// How many users a reaction's summary names.
pub const REACTION_USERS_SHOWN: usize = 10;
/// What a content type is when the sender says nothing.
pub const PLAIN_TEXT: &str = "text/plain";

/// What an application keeps with a message or a room.
pub type Metadata = BTreeMap<String, String>;

/// What a sender wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The text.
    pub text: String,
    /// Its media type; `None` is `text/plain`.
    pub content_type: Option<String>,
    /// Keys and values of the application.
    pub metadata: Metadata,
    /// Files by reference.
    pub attachments: Vec<Attachment>,
    /// Who is mentioned, in the order of the text.
    pub mentions: Vec<Mention>,
}

/// Somebody whom a text mentions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mention {
    /// Where in the text, in bytes.
    #[serde(rename = "o")]
    pub offset: u32,
    /// How many bytes.
    #[serde(rename = "l")]
    pub length: u32,
    /// Whom; `None` is everyone in the room.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
}

/// The number that a sender gave a message in one of their lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneNumber {
    /// The lane.
    pub lane: Arc<str>,
    /// 1, 2, 3, …
    pub number: u64,
}

/// Where a message stands in its sender's lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanePlace(pub Arc<str>, pub u64, pub u64);

/// That a message was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: UserId,
    /// Why, as they said; may be empty.
    pub reason: String,
}

/// A file that lies elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Where.
    pub url: String,
    /// The name to show.
    pub name: String,
    /// The media type.
    pub mime_type: String,
    /// The size in bytes; 0 is unknown.
    #[serde(default)]
    pub size_bytes: u64,
}

/// A message on its way in.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The room.
    pub room: RoomId,
    /// The sender's own id for it.
    pub client_message_id: Uuid,
    /// What it says.
    pub content: Content,
    /// The message that it answers.
    pub reply_to: Option<u64>,
    /// Its number in a lane of the sender's.
    pub lane: Option<LaneNumber>,
    /// The newest message that the sender had seen when they wrote it; `None`: all before it.
    pub written_after: Option<u64>,
}

/// A message of a room, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number in the room.
    pub seq: u64,
    /// The room's position of its creation.
    pub position: u64,
    /// Who sent it.
    pub sender: UserId,
    /// The sender's own id for it.
    pub client_message_id: Uuid,
    /// What it says; empty once deleted. Shared, because the log and every reader hold it.
    pub content: Arc<Content>,
    /// The message that it answers.
    pub reply_to: Option<u64>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub edited_at: Option<Timestamp>,
    /// That it was deleted.
    pub deleted: Option<Deletion>,
    /// Its place in its sender's lane.
    pub lane: Option<LanePlace>,
    /// Whether messages stand before it that its sender had not seen, so that it does not read the room for them.
    pub keeps_unread: bool,
}

/// One emoji on one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactionSummary {
    /// The emoji.
    pub emoji: String,
    /// How many users.
    pub count: u32,
    /// The first of them.
    pub users: Vec<UserId>,
    /// Whether the caller is among all.
    pub by_caller: bool,
}

/// Where a message was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The room.
    pub room: RoomId,
    /// The sender's own id.
    pub client_message_id: Uuid,
    /// Its number.
    pub seq: u64,
    /// The room's position.
    pub position: u64,
    /// When it was first written.
    pub created_at: Timestamp,
    /// Whether an earlier send had written it.
    pub duplicate: bool,
    /// What the message's lane expects next.
    pub next_in_lane: Option<u64>,
}

impl Content {
    /// Checks every limit.
    ///
    /// # Errors
    /// FIELD_INVALID with the first field that is out of its limits.
    pub fn check(&self) -> Result<()> {
        if self.text.is_empty() && self.attachments.is_empty() {
            return Err(Error::field(
                "text",
                format!("is empty; it takes 1 to {MAX_TEXT_BYTES} bytes, or an attachment"),
            ));
        }
        at_most("text", self.text.len(), MAX_TEXT_BYTES)?;
        no_nul("text", &self.text)?;
        if let Some(content_type) = &self.content_type {
            check_media_type("content_type", content_type)?;
        }
        check_metadata(&self.metadata)?;
        check_mentions(&self.text, &self.mentions)?;
        if self.attachments.len() > MAX_ATTACHMENTS {
            let got = self.attachments.len();
            return Err(Error::field(
                "attachments",
                format!("has {got} entries, at most {MAX_ATTACHMENTS} are allowed"),
            ));
        }
        self.attachments
            .iter()
            .enumerate()
            .try_for_each(|(i, a)| a.check().map_err(|e| e.under(&format!("attachments[{i}]"))))
    }

    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        let metadata = self.metadata.iter().map(|(k, v)| k.len() + v.len());
        let attachments = self.attachments.iter().map(|a| a.url.len() + a.name.len() + a.mime_type.len());
        let mentions = self.mentions.iter().map(|m| 16 + m.user.as_ref().map_or(0, |user| user.as_str().len()));
        self.text.len() + metadata.sum::<usize>() + attachments.sum::<usize>() + mentions.sum::<usize>()
    }
}

impl Attachment {
    fn check(&self) -> Result<()> {
        at_most("url", self.url.len(), MAX_URL_BYTES)?;
        let uri: std::result::Result<http::Uri, _> = self.url.parse();
        let absolute = uri
            .is_ok_and(|u| matches!(u.scheme_str(), Some("http" | "https")) && u.host().is_some_and(|h| !h.is_empty()));
        if !absolute {
            return Err(Error::field("url", "is not an absolute http or https URL"));
        }
        if self.name.is_empty() || self.name.chars().any(char::is_control) {
            return Err(Error::field(
                "name",
                format!("takes 1 to {MAX_FILE_NAME_BYTES} bytes without control characters"),
            ));
        }
        at_most("name", self.name.len(), MAX_FILE_NAME_BYTES)?;
        check_media_type("mime_type", &self.mime_type)?;
        if self.size_bytes > MAX_FILE_BYTES {
            return Err(Error::field("size_bytes", format!("is above {MAX_FILE_BYTES}")));
        }
        Ok(())
    }
}

impl NewMessage {
    /// A digest of everything that makes the message what it is: a repeated send has the same, a reused id another.
    pub fn fingerprint(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(self.room.as_str().as_bytes());
        part(self.content.text.as_bytes());
        part(self.content.content_type.as_deref().unwrap_or(PLAIN_TEXT).as_bytes());
        part(&self.reply_to.unwrap_or(0).to_le_bytes());
        for (key, value) in &self.content.metadata {
            part(key.as_bytes());
            part(value.as_bytes());
        }
        part(b"attachments");
        for file in &self.content.attachments {
            part(file.url.as_bytes());
            part(file.name.as_bytes());
            part(file.mime_type.as_bytes());
            part(&file.size_bytes.to_le_bytes());
        }
        // Nothing where there are none: what was sent before there were any keeps its digest.
        for mention in &self.content.mentions {
            part(&mention.offset.to_le_bytes());
            part(&mention.length.to_le_bytes());
            part(mention.user.as_ref().map_or("", UserId::as_str).as_bytes());
        }
        hash.finalize()[..16].to_vec()
    }
}

/// Checks where mentions stand in a text: each inside it, on the borders of characters, after the one before.
fn check_mentions(text: &str, mentions: &[Mention]) -> Result<()> {
    if mentions.len() > MAX_MENTIONS {
        let got = mentions.len();
        return Err(Error::field("mentions", format!("has {got} entries, at most {MAX_MENTIONS} are allowed")));
    }
    let mut free_from = 0;
    for (i, mention) in mentions.iter().enumerate() {
        let wrong = |field: &str, what: &str| {
            Err(Error::field_for(Reason::MentionInvalid, format!("mentions[{i}].{field}"), what))
        };
        let start = mention.offset as usize;
        let end = start.saturating_add(mention.length as usize);
        if start < free_from {
            return wrong("offset", "lies in the mention before, or before it");
        }
        if start > text.len() || !text.is_char_boundary(start) {
            return wrong("offset", "is outside the text, or inside a character");
        }
        if mention.length == 0 || end > text.len() || !text.is_char_boundary(end) {
            return wrong("length", "is 0, or ends outside the text or inside a character");
        }
        free_from = end;
    }
    Ok(())
}

/// Checks the metadata of a message or a room.
pub fn check_metadata(metadata: &Metadata) -> Result<()> {
    if metadata.len() > MAX_METADATA_ENTRIES {
        let got = metadata.len();
        return Err(Error::field("metadata", format!("has {got} entries, at most {MAX_METADATA_ENTRIES} are allowed")));
    }
    for (key, value) in metadata {
        if key.is_empty() || key.len() > MAX_METADATA_KEY_BYTES {
            return Err(Error::field("metadata", format!("has a key outside 1 to {MAX_METADATA_KEY_BYTES} bytes")));
        }
        no_nul("metadata", key)?;
        no_nul("metadata", value)?;
        if value.len() > MAX_METADATA_VALUE_BYTES {
            return Err(Error::field("metadata", format!("has a value above {MAX_METADATA_VALUE_BYTES} bytes")));
        }
    }
    Ok(())
}

/// Checks an emoji.
pub fn check_emoji(emoji: &str) -> Result<()> {
    if emoji.is_empty() || emoji.len() > MAX_EMOJI_BYTES || emoji.chars().any(char::is_control) {
        return Err(Error::field("emoji", format!("takes 1 to {MAX_EMOJI_BYTES} bytes without control characters")));
    }
    Ok(())
}

/// Refuses the one character that not every database keeps.
pub fn no_nul(field: &str, text: &str) -> Result<()> {
    match text.contains('\0') {
        true => Err(Error::field(field, "has the character U+0000")),
        false => Ok(()),
    }
}

/// Checks a length.
pub fn at_most(field: &str, got: usize, limit: usize) -> Result<()> {
    if got > limit {
        return Err(Error::field(field, format!("has {got} bytes, at most {limit} are allowed")));
    }
    Ok(())
}

fn check_media_type(field: &str, text: &str) -> Result<()> {
    let is_token = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let valid = essence.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    if !valid || text.len() > MAX_CONTENT_TYPE_BYTES || !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        let what = format!("is not a media type of 3 to {MAX_CONTENT_TYPE_BYTES} bytes, such as text/markdown");
        return Err(Error::field(field, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Content {
        Content { text: text.into(), ..Content::default() }
    }

    fn file(url: &str) -> Attachment {
        Attachment { url: url.into(), name: "a.png".into(), mime_type: "image/png".into(), size_bytes: 1 }
    }

    #[test]
    fn content_has_limits() {
        assert!(text("hi").check().is_ok());
        assert!(text(&"x".repeat(MAX_TEXT_BYTES)).check().is_ok());
        assert!(Content { attachments: vec![file("https://a.example/x.png")], ..text("") }.check().is_ok());
        for (bad, field) in [
            (text(""), "text"),
            (text(&"x".repeat(MAX_TEXT_BYTES + 1)), "text"),
            (text("a\0b"), "text"),
            (Content { content_type: Some("nonsense".into()), ..text("a") }, "content_type"),
            (Content { metadata: [("k".repeat(65), "v".into())].into(), ..text("a") }, "metadata"),
            (Content { metadata: [("k".into(), "v".repeat(513))].into(), ..text("a") }, "metadata"),
            (Content { metadata: (0..17).map(|i| (i.to_string(), "v".into())).collect(), ..text("a") }, "metadata"),
            (Content { attachments: vec![file("https://a.example/"); 11], ..text("a") }, "attachments"),
            (Content { attachments: vec![file("javascript:alert(1)")], ..text("a") }, "attachments[0].url"),
            (Content { attachments: vec![file("/relative")], ..text("a") }, "attachments[0].url"),
        ] {
            assert_eq!(bad.check().unwrap_err().violations()[0].field, field);
        }
    }

    #[test]
    fn a_fingerprint_tells_contents_apart() {
        let message = |room: &str, content: Content, reply_to| NewMessage {
            room: RoomId::parse(room, "room_id").unwrap(),
            client_message_id: Uuid::nil(),
            content,
            reply_to,
            lane: None,
            written_after: None,
        };
        let plain = Content { content_type: Some(PLAIN_TEXT.into()), ..text("a") };
        let first = message("r", text("a"), None).fingerprint();
        assert_eq!(first, message("r", plain, None).fingerprint());
        for other in [
            message("s", text("a"), None),
            message("r", text("b"), None),
            message("r", text("a"), Some(1)),
            message("r", Content { metadata: [("k".into(), "v".into())].into(), ..text("a") }, None),
            message("r", Content { attachments: vec![file("https://a.example/")], ..text("a") }, None),
        ] {
            assert_ne!(first, other.fingerprint());
        }
    }
}
