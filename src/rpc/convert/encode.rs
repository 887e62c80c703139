//! Frames as bytes: each a whole gRPC message, with its length prefix, ready to be sent to any number of readers.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use relay_proto::chat::v1::{self as wire, frame::Kind, room_event::Event as WireEvent};

use super::{incoming, outgoing, receipts};
use crate::{
    chat::{Encoder, Event, EventBody, Frame, RoomResume, Verdict, message::Message},
    hub::Batch,
    id::{RoomId, UserId},
};

/// A gRPC message begins with a flag (0: not compressed) and the length of what follows.
const PREFIX_BYTES: usize = 5;

/// Encodes frames for the wire. `ConnectResponse` and `SubscribeResponse` are the same in bytes, so one encoding serves
/// both.
#[derive(Clone, Copy, Debug, Default)]
pub struct WireEncoder;

impl Encoder for WireEncoder {
    fn frame(&self, frame: &Frame) -> Bytes {
        let mut buffer = BytesMut::new();
        put(&mut buffer, control(frame));
        buffer.freeze()
    }

    fn events(&self, events: &[Event]) -> Batch {
        let mut buffer = BytesMut::with_capacity(events.len() * 256);
        let mut ends = Vec::with_capacity(events.len());
        for event in events {
            put(&mut buffer, Kind::Event(room_event(event)));
            ends.push(buffer.len());
        }
        Batch::new(events.first().map_or(1, |e| e.position), buffer.freeze(), ends)
    }

    fn message(&self, frame: &[u8]) -> Option<Message> {
        let frame = wire::ConnectResponse::decode(frame.get(PREFIX_BYTES..)?).ok()?.frame?;
        match frame.kind? {
            Kind::Event(wire::RoomEvent { event: Some(WireEvent::MessageCreated(created)), .. }) => {
                incoming::message(created.message?)
            }
            _ => None,
        }
    }
}

/// The answer to a frame of the client.
pub(in crate::rpc) fn reply(request_id: String, result: wire::reply::Result) -> Bytes {
    let mut buffer = BytesMut::new();
    put(&mut buffer, Kind::Reply(wire::Reply { request_id, result: Some(result) }));
    buffer.freeze()
}

fn put(buffer: &mut BytesMut, kind: Kind) {
    let message = wire::ConnectResponse { frame: Some(wire::Frame { kind: Some(kind) }) };
    let length = message.encoded_len();
    buffer.reserve(PREFIX_BYTES + length);
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(buffer);
}

fn control(frame: &Frame) -> Kind {
    match frame {
        Frame::Hello { session, user, heartbeat_interval, now, expires_at } => Kind::Hello(wire::Hello {
            session_id: session.to_string(),
            heartbeat_interval: (*heartbeat_interval).try_into().ok(),
            server_time: Some(outgoing::timestamp(*now)),
            user_id: user.user.to_string(),
            project_id: user.project.to_string(),
            token_expires_at: Some(outgoing::expires(*expires_at)),
        }),
        Frame::Resumed(rooms) => Kind::Resumed(wire::Resumed { rooms: rooms.iter().map(room_resume).collect() }),
        Frame::CaughtUp => Kind::CaughtUp(wire::CaughtUp {}),
        Frame::Heartbeat { now, positions } => Kind::Heartbeat(wire::Heartbeat {
            server_time: Some(outgoing::timestamp(*now)),
            positions: positions.iter().map(room_position).collect(),
        }),
        Frame::TokenExpiring { at } => {
            Kind::TokenExpiring(wire::TokenExpiring { expires_at: Some(outgoing::expires(*at)) })
        }
        Frame::Drain { reconnect_after } => {
            Kind::Drain(wire::Drain { reconnect_after: (*reconnect_after).try_into().ok() })
        }
        Frame::Block { user, blocked } => {
            Kind::Block(wire::BlockChanged { user_id: user.to_string(), blocked: *blocked })
        }
        Frame::Typing { room, users, count } => Kind::Typing(wire::TypingChanged {
            room_id: room.to_string(),
            user_ids: users.iter().map(UserId::to_string).collect(),
            count: u32::try_from(*count).unwrap_or(u32::MAX),
        }),
        Frame::Presence(user) => Kind::Presence(wire::PresenceChanged { presence: Some(super::presence(user)) }),
        Frame::RoomPresence { room, count, present, sample } => Kind::RoomPresence(wire::RoomPresence {
            room_id: room.to_string(),
            present_count: u32::try_from(*count).unwrap_or(u32::MAX),
            present: present.iter().map(super::presence).collect(),
            sample: *sample,
        }),
        Frame::Memberships(states) => Kind::Memberships(wire::MembershipsChanged {
            memberships: states.iter().map(receipts::membership).collect(),
        }),
        Frame::Receipts { room, receipts: moved, partial } => Kind::Receipts(receipts::receipts(room, moved, *partial)),
    }
}

fn room_resume(resume: &RoomResume) -> wire::RoomResume {
    let verdict = match resume.verdict {
        Verdict::Complete => wire::ResumeVerdict::Complete,
        Verdict::Gap => wire::ResumeVerdict::Gap,
        Verdict::Joined => wire::ResumeVerdict::Joined,
        Verdict::Left => wire::ResumeVerdict::Left,
    };
    wire::RoomResume {
        room_id: resume.room.to_string(),
        verdict: verdict.into(),
        position: resume.position,
        last_position: resume.last_position,
    }
}

fn room_position((room, position): &(RoomId, u64)) -> wire::RoomPosition {
    wire::RoomPosition { room_id: room.to_string(), position: *position }
}

fn room_event(event: &Event) -> wire::RoomEvent {
    let room = &event.room.room;
    let body = match &event.body {
        EventBody::MessageCreated(message) => {
            WireEvent::MessageCreated(wire::MessageCreated { message: Some(outgoing::message(room, message)) })
        }
        EventBody::MessageEdited(message) => {
            WireEvent::MessageEdited(wire::MessageEdited { message: Some(outgoing::message(room, message)) })
        }
        EventBody::MessageDeleted { seq, reason } => {
            WireEvent::MessageDeleted(wire::MessageDeleted { seq: *seq, reason: reason.clone() })
        }
        EventBody::ReactionAdded { seq, emoji } => {
            WireEvent::ReactionAdded(wire::ReactionAdded { seq: *seq, emoji: emoji.clone() })
        }
        EventBody::ReactionRemoved { seq, emoji } => {
            WireEvent::ReactionRemoved(wire::ReactionRemoved { seq: *seq, emoji: emoji.clone() })
        }
        EventBody::MemberJoined(member) => {
            WireEvent::MemberJoined(wire::MemberJoined { member: Some(outgoing::member(member)) })
        }
        EventBody::MemberLeft { user, banned } => {
            WireEvent::MemberLeft(wire::MemberLeft { user_id: user.to_string(), banned: *banned })
        }
        EventBody::MemberUpdated(member) => {
            WireEvent::MemberUpdated(wire::MemberUpdated { member: Some(outgoing::member(member)) })
        }
        EventBody::RoomUpdated(updated) => {
            WireEvent::RoomUpdated(wire::RoomUpdated { room: Some(outgoing::room(updated)) })
        }
        EventBody::RoomDeleted => WireEvent::RoomDeleted(wire::RoomDeleted {}),
        EventBody::MessagePinned { seq } => WireEvent::MessagePinned(wire::MessagePinned { seq: *seq }),
        EventBody::MessageUnpinned { seq } => WireEvent::MessageUnpinned(wire::MessageUnpinned { seq: *seq }),
    };
    wire::RoomEvent {
        room_id: room.to_string(),
        position: event.position,
        previous_position: event.position - 1,
        occurred_at: Some(outgoing::timestamp(event.at)),
        actor_id: event.actor.to_string(),
        event: Some(body),
    }
}
