//! The domain's types to the wire's.

use prost_types::Timestamp as WireTime;
use relay_proto::chat::v1::{self as wire, mention::Target};

use crate::{
    chat::{
        Reacted,
        message::{Attachment, LanePlace, Mention, Message, PLAIN_TEXT, ReactionSummary, Receipt},
        room::{Member, Role, Room, RoomKind, RoomSummary},
    },
    clock::Timestamp,
    id::{RoomId, UserId},
};

pub(in crate::rpc) fn timestamp(at: Timestamp) -> WireTime {
    WireTime { seconds: at.seconds(), nanos: at.subsecond_micros() * 1_000 }
}

/// A token's expiry: some are for ever, further than a timestamp reaches.
pub(in crate::rpc) fn expires(at: Timestamp) -> WireTime {
    const YEAR_9999: i64 = 253_402_300_799;
    WireTime { seconds: at.seconds().min(YEAR_9999), nanos: 0 }
}

pub(in crate::rpc) fn message(room: &RoomId, message: &Message) -> wire::Message {
    let content = &message.content;
    let content_type = match &message.deleted {
        Some(_) => String::new(),
        None => content.content_type.clone().unwrap_or_else(|| PLAIN_TEXT.to_owned()),
    };
    wire::Message {
        room_id: room.to_string(),
        seq: message.seq,
        position: message.position,
        sender_id: message.sender.to_string(),
        client_message_id: message.client_message_id.to_string(),
        text: content.text.clone(),
        content_type,
        reply_to_seq: message.reply_to.unwrap_or_default(),
        metadata: content.metadata.clone().into_iter().collect(),
        attachments: content.attachments.iter().map(attachment).collect(),
        created_at: Some(timestamp(message.created_at)),
        edited_at: message.edited_at.map(timestamp),
        deleted_at: message.deleted.as_ref().map(|d| timestamp(d.at)),
        deleted_by: message.deleted.as_ref().map(|d| d.by.to_string()).unwrap_or_default(),
        reactions: Vec::new(),
        mentions: content.mentions.iter().map(mention).collect(),
        lane: message.lane.as_ref().map(lane),
        deletion_reason: message.deleted.as_ref().map(|d| d.reason.clone()).unwrap_or_default(),
        status: None,
        keeps_unread: message.keeps_unread,
    }
}

pub(in crate::rpc) fn reacted(room: &RoomId, (m, reactions): &Reacted) -> wire::Message {
    wire::Message { reactions: reactions.iter().map(reaction).collect(), ..message(room, m) }
}

fn mention(mention: &Mention) -> wire::Mention {
    let target = match &mention.user {
        Some(user) => Target::UserId(user.to_string()),
        None => Target::Room(wire::MentionRoom {}),
    };
    wire::Mention { offset: mention.offset, length: mention.length, target: Some(target) }
}

fn lane(LanePlace(lane_id, client_seq, missing_before): &LanePlace) -> wire::LanePlace {
    wire::LanePlace { lane_id: lane_id.to_string(), client_seq: *client_seq, missing_before: *missing_before }
}

fn attachment(attachment: &Attachment) -> wire::Attachment {
    let Attachment { url, name, mime_type, size_bytes } = attachment.clone();
    wire::Attachment { url, name, mime_type, size_bytes }
}

fn reaction(summary: &ReactionSummary) -> wire::ReactionSummary {
    wire::ReactionSummary {
        emoji: summary.emoji.clone(),
        count: summary.count,
        user_ids: summary.users.iter().map(UserId::to_string).collect(),
        reacted_by_caller: summary.by_caller,
    }
}

pub(in crate::rpc) fn receipt(receipt: &Receipt) -> wire::SendReceipt {
    wire::SendReceipt {
        room_id: receipt.room.to_string(),
        client_message_id: receipt.client_message_id.to_string(),
        seq: receipt.seq,
        position: receipt.position,
        created_at: Some(timestamp(receipt.created_at)),
        duplicate: receipt.duplicate,
        next_client_seq: receipt.next_in_lane.unwrap_or_default(),
    }
}

fn kind(kind: RoomKind) -> wire::RoomKind {
    match kind {
        RoomKind::Public => wire::RoomKind::Public,
        RoomKind::Private => wire::RoomKind::Private,
        RoomKind::Direct => wire::RoomKind::Direct,
    }
}

fn role(role: Role) -> wire::MemberRole {
    match role {
        Role::Owner => wire::MemberRole::Owner,
        Role::Admin => wire::MemberRole::Admin,
        Role::Member => wire::MemberRole::Member,
        Role::ReadOnly => wire::MemberRole::ReadOnly,
    }
}

pub(in crate::rpc) fn room(room: &Room) -> wire::Room {
    wire::Room {
        room_id: room.id.to_string(),
        kind: kind(room.kind).into(),
        title: room.title.clone(),
        description: room.description.clone(),
        metadata: room.metadata.clone().into_iter().collect(),
        created_by: room.created_by.to_string(),
        created_at: Some(timestamp(room.created_at)),
        updated_at: Some(timestamp(room.updated_at)),
        last_seq: room.last_seq,
        last_position: room.last_position,
        member_count: room.member_count.try_into().unwrap_or(u32::MAX),
        last_activity_at: Some(timestamp(room.last_activity_at)),
        slow_mode_seconds: room.slow_mode_seconds,
    }
}

pub(in crate::rpc) fn member(member: &Member) -> wire::Member {
    wire::Member {
        user_id: member.user.to_string(),
        role: role(member.role).into(),
        joined_at: Some(timestamp(member.joined_at)),
        muted_until: member.muted_until.map(timestamp),
    }
}

pub(in crate::rpc) fn summary(summary: &RoomSummary, caller: &UserId) -> wire::RoomSummary {
    wire::RoomSummary {
        last_message: summary.last_message.as_ref().map(|m| message(&summary.room.id, m)),
        membership: summary.membership.as_ref().map(member),
        direct_user_id: summary.room.other(caller).map(UserId::to_string).unwrap_or_default(),
        room: Some(room(&summary.room)),
        state: summary.state.as_ref().map(super::receipts::membership),
    }
}
