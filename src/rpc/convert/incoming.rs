//! The wire's types to the domain's. Each field that cannot be understood is an error that names it.

use std::sync::Arc;

use relay_proto::chat::v1::{self as wire, mention::Target};
use uuid::Uuid;

use crate::{
    chat::{
        MAX_RESUMED_ROOMS,
        message::{
            Attachment, Content, Deletion, LaneNumber, LanePlace, MAX_LANE_BYTES, Mention, Message, Metadata,
            NewMessage,
        },
        room::{NewMember, ProfileChange, Role, RoomKind},
    },
    clock::Timestamp,
    error::{Error, Result},
    id::{RoomId, UserId},
};

/// The largest number that seqs and positions reach.
const MAX_NUMBER: u64 = i64::MAX as u64;

pub(in crate::rpc) fn room_id(text: &str) -> Result<RoomId> {
    RoomId::parse(text, "room_id")
}

pub(in crate::rpc) fn user_id(text: &str) -> Result<UserId> {
    UserId::parse(text, "user_id")
}

pub(super) fn uuid(text: &str, field: &str) -> Result<Uuid> {
    let wrong = || Error::field(field, "is not a UUID, such as 0190a8f0-6c3b-7cc4-b1a5-2f6d8e1c9a01");
    if text.len() != 36 { Err(wrong()) } else { Uuid::try_parse(text).map_err(|_| wrong()) }
}

pub(in crate::rpc) fn session_id(text: &str) -> Result<Uuid> {
    uuid(text, "session_id")
}

/// A message's number.
pub(in crate::rpc) fn seq(number: u64) -> Result<u64> {
    if number == 0 || number > MAX_NUMBER {
        return Err(Error::field("seq", "takes the number of a message: 1, 2, 3, …"));
    }
    Ok(number)
}

/// A page's size; 0 is the default.
pub(in crate::rpc) fn page_size(size: i32, default: usize, max: usize) -> Result<usize> {
    match usize::try_from(size) {
        Ok(0) => Ok(default),
        Ok(size) if size <= max => Ok(size),
        _ => Err(Error::field("page_size", format!("is {size}, it takes 0 to {max}"))),
    }
}

/// A message's number where 0 is none.
pub(in crate::rpc) fn optional(number: u64, field: &str) -> Result<Option<u64>> {
    match number {
        0 => Ok(None),
        n if n <= MAX_NUMBER => Ok(Some(n)),
        _ => Err(Error::field(field, "is beyond every message")),
    }
}

pub(in crate::rpc) fn content(
    text: String,
    content_type: String,
    metadata: std::collections::HashMap<String, String>,
    attachments: Vec<wire::Attachment>,
    mentions: Vec<wire::Mention>,
) -> Result<Content> {
    // text/plain is what nothing means: stored as nothing, compared as equal.
    let content_type = Some(content_type).filter(|t| !t.is_empty() && t != crate::chat::message::PLAIN_TEXT);
    let attachments = attachments.into_iter().map(|wire::Attachment { url, name, mime_type, size_bytes }| Attachment {
        url,
        name,
        mime_type,
        size_bytes,
    });
    let mentions = mentions.into_iter().enumerate().map(mention).collect::<Result<_>>()?;
    let metadata = metadata.into_iter().collect();
    Ok(Content { text, content_type, metadata, attachments: attachments.collect(), mentions })
}

fn mention((i, mention): (usize, wire::Mention)) -> Result<Mention> {
    let user = match mention.target {
        Some(Target::UserId(user)) => Some(user_id(&user).map_err(|error| error.under(&format!("mentions[{i}]")))?),
        Some(Target::Room(_)) => None,
        None => return Err(Error::field(format!("mentions[{i}].target"), "is empty")),
    };
    Ok(Mention { offset: mention.offset, length: mention.length, user })
}

/// A message's number in a lane, if it has one.
fn lane(lane_id: String, number: u64) -> Result<Option<LaneNumber>> {
    if lane_id.is_empty() && number == 0 {
        return Ok(None);
    }
    check_lane(&lane_id)?;
    if number == 0 || number > MAX_NUMBER {
        return Err(Error::field("client_seq", "takes a number in the lane: 1, 2, 3, …"));
    }
    Ok(Some(LaneNumber { lane: lane_id.into(), number }))
}

fn check_lane(lane_id: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    if lane_id.is_empty() || lane_id.len() > MAX_LANE_BYTES || !lane_id.bytes().all(allowed) {
        return Err(Error::field("lane_id", format!("takes 1 to {MAX_LANE_BYTES} of A-Z a-z 0-9 . _ : -")));
    }
    Ok(())
}

/// A room, a lane, and the first and the last of its numbers to skip.
pub(in crate::rpc) fn lane_skip(request: wire::SkipLaneRequest) -> Result<(RoomId, Arc<str>, (u64, u64))> {
    let room = room_id(&request.room_id)?;
    check_lane(&request.lane_id)?;
    let first = request.first_client_seq;
    if first == 0 || first > MAX_NUMBER {
        return Err(Error::field("first_client_seq", "takes a number in the lane: 1, 2, 3, …"));
    }
    let last = optional(request.last_client_seq, "last_client_seq")?.unwrap_or(first);
    Ok((room, request.lane_id.into(), (first, last)))
}

pub(in crate::rpc) fn new_message(request: wire::SendMessageRequest) -> Result<NewMessage> {
    Ok(NewMessage {
        room: room_id(&request.room_id)?,
        client_message_id: uuid(&request.client_message_id, "client_message_id")?,
        reply_to: optional(request.reply_to_seq, "reply_to_seq")?,
        content: content(request.text, request.content_type, request.metadata, request.attachments, request.mentions)?,
        lane: lane(request.lane_id, request.client_seq)?,
        written_after: request.written_after_seq,
    })
}

/// A message that this server, or another node, encoded; `None` if it did not.
pub(in crate::rpc) fn message(message: wire::Message) -> Option<Message> {
    Some(Message {
        seq: message.seq,
        position: message.position,
        sender: UserId::stored(message.sender_id),
        client_message_id: Uuid::try_parse(&message.client_message_id).ok()?,
        content: Arc::new(
            content(message.text, message.content_type, message.metadata, message.attachments, message.mentions)
                .ok()?,
        ),
        reply_to: Some(message.reply_to_seq).filter(|seq| *seq > 0),
        created_at: timestamp(message.created_at?),
        edited_at: message.edited_at.map(timestamp),
        deleted: message.deleted_at.map(|at| Deletion {
            at: timestamp(at),
            by: UserId::stored(message.deleted_by),
            reason: message.deletion_reason,
        }),
        lane: message.lane.map(|place| LanePlace(place.lane_id.into(), place.client_seq, place.missing_before)),
        keeps_unread: message.keeps_unread,
    })
}

pub(super) fn timestamp(at: prost_types::Timestamp) -> Timestamp {
    Timestamp(at.seconds.saturating_mul(1_000_000).saturating_add(i64::from(at.nanos / 1_000)))
}

/// Which way to list.
pub(in crate::rpc) fn upwards(number: i32) -> Result<bool> {
    match wire::ListDirection::try_from(number) {
        Ok(wire::ListDirection::Unspecified | wire::ListDirection::Older) => Ok(false),
        Ok(wire::ListDirection::Newer) => Ok(true),
        Err(_) => Err(Error::field("direction", "takes older or newer")),
    }
}

/// The kind of a room to make.
pub(in crate::rpc) fn room_kind(number: i32) -> Result<RoomKind> {
    match wire::RoomKind::try_from(number) {
        Ok(wire::RoomKind::Unspecified | wire::RoomKind::Private) => Ok(RoomKind::Private),
        Ok(wire::RoomKind::Public) => Ok(RoomKind::Public),
        Ok(wire::RoomKind::Direct) => Ok(RoomKind::Direct),
        Err(_) => Err(Error::field("kind", "takes public or private")),
    }
}

/// A role; unspecified is `default`, or an error without one.
pub(in crate::rpc) fn role(number: i32, default: Option<Role>) -> Result<Role> {
    let wrong = || Error::field("role", "takes owner, admin, member or read-only");
    match wire::MemberRole::try_from(number) {
        Ok(wire::MemberRole::Unspecified) => default.ok_or_else(wrong),
        Ok(wire::MemberRole::Owner) => Ok(Role::Owner),
        Ok(wire::MemberRole::Admin) => Ok(Role::Admin),
        Ok(wire::MemberRole::Member) => Ok(Role::Member),
        Ok(wire::MemberRole::ReadOnly) => Ok(Role::ReadOnly),
        Err(_) => Err(wrong()),
    }
}

pub(in crate::rpc) fn new_member((i, member): (usize, wire::NewMember)) -> Result<NewMember> {
    let convert = || Ok(NewMember { user: user_id(&member.user_id)?, role: role(member.role, Some(Role::Member))? });
    convert().map_err(|error: Error| error.under(&format!("members[{i}]")))
}

pub(in crate::rpc) fn profile_change(request: wire::UpdateRoomRequest) -> Result<ProfileChange> {
    let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() || paths.len() > 4 {
        return Err(Error::field("update_mask", "takes 1 to 4 of title, description, metadata, slow_mode_seconds"));
    }
    let (title, description, metadata) = (Some(request.title), Some(request.description), Some(request.metadata));
    let mut change = ProfileChange::default();
    for path in &paths {
        match path.as_str() {
            "title" => change.title = title.clone(),
            "description" => change.description = description.clone(),
            "metadata" => change.metadata = metadata.clone().map(Metadata::from_iter),
            "slow_mode_seconds" => change.slow_mode_seconds = Some(request.slow_mode_seconds),
            _ => {
                let known = "title, description, metadata, slow_mode_seconds";
                return Err(Error::field("update_mask", format!("has a path other than {known}")));
            }
        }
    }
    Ok(change)
}

/// What a client holds of each room.
pub(in crate::rpc) fn positions(open: &wire::OpenStream) -> Result<Vec<(RoomId, u64)>> {
    if open.positions.len() > MAX_RESUMED_ROOMS {
        let got = open.positions.len();
        return Err(Error::field(
            "open.positions",
            format!("has {got} entries, at most {MAX_RESUMED_ROOMS} are allowed"),
        ));
    }
    let convert = |(i, held): (usize, &wire::RoomPosition)| {
        RoomId::parse(&held.room_id, "room_id")
            .map(|room| (room, held.position))
            .map_err(|error| error.under(&format!("open.positions[{i}]")))
    };
    open.positions.iter().enumerate().map(convert).collect()
}
