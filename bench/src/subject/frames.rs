//! Frames of Relay's streams: those that the generator writes, and what it must know of those that it reads.

use prost::Message as _;
use relay_proto::chat::v1::{
    ConnectRequest, ConnectResponse, Frame, Message, MessageCreated, Reply, ResumeVerdict, RoomEvent,
    SendMessageRequest, SubscribeResponse, UpdateReceiptsRequest, connect_request, frame, reply, room_event,
};
use uuid::Uuid;

use super::{
    TEXT,
    relay::{OWNER, ROOM},
};
use crate::{error::Error, grpc::Call, stamp};

/// The content of a message.
pub(crate) fn message(room: &str, text: String) -> SendMessageRequest {
    let client_message_id = Uuid::new_v4().to_string();
    SendMessageRequest { room_id: room.into(), client_message_id, text, ..Default::default() }
}

/// A client's frame that sends a message.
pub(crate) fn send(request_id: String, room: &str, text: String) -> ConnectRequest {
    sent(request_id, message(room, text))
}

/// A client's frame that sends this message.
pub(crate) fn sent(request_id: String, message: SendMessageRequest) -> ConnectRequest {
    ConnectRequest { request_id, frame: Some(connect_request::Frame::Send(message)) }
}

/// A client's frame that says what its user has read. It is answered only if it is refused.
pub(crate) fn has_read(room: &str, seq: u64) -> ConnectRequest {
    let cursors = UpdateReceiptsRequest { room_id: room.into(), delivered_seq: seq, read_seq: seq };
    ConnectRequest { request_id: String::new(), frame: Some(connect_request::Frame::UpdateReceipts(cursors)) }
}

/// The reply in a server's frame, if it is one. Events are not decoded.
pub(crate) fn reply(message: &[u8]) -> Option<Reply> {
    if kind(message) != Some(field(3)) {
        return None;
    }
    match ConnectResponse::decode(message).ok()?.frame?.kind? {
        frame::Kind::Reply(reply) => Some(reply),
        _ => None,
    }
}

/// What a reply to a sent message says.
pub(crate) fn accepted(reply: Reply) -> Result<(), Error> {
    match reply.result {
        Some(reply::Result::Sent(_)) => Ok(()),
        other => Err(Error::unexpected(format!("a message was answered with {other:?}"))),
    }
}

/// How long the message of a stream is that carries a message of the fan-out, without prefix and frame header.
pub(crate) fn typical_length() -> usize {
    let time = Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 999_999_999 });
    let message = Message {
        room_id: ROOM.into(),
        seq: 1000,
        position: 2000,
        sender_id: OWNER.into(),
        client_message_id: Uuid::nil().to_string(),
        text: stamp::text(0, TEXT),
        content_type: "text/plain".into(),
        created_at: time,
        ..Default::default()
    };
    let event = RoomEvent {
        room_id: ROOM.into(),
        position: 2000,
        previous_position: 1999,
        occurred_at: time,
        actor_id: OWNER.into(),
        event: Some(room_event::Event::MessageCreated(MessageCreated { message: Some(message) })),
    };
    SubscribeResponse { frame: Some(Frame { kind: Some(frame::Kind::Event(event)) }) }.encoded_len()
}

/// Reads a new stream up to `caught_up`; answers how many rooms have the verdict `complete`.
pub(super) async fn caught_up(call: &mut Call) -> Result<usize, Error> {
    let (mut done, mut complete) = (false, 0);
    while !done {
        call.read(|message| match kind(message) {
            Some(key) if key == field(6) => done = true,
            Some(key) if key == field(5) => complete += complete_in(message),
            _ => {}
        })
        .await?;
    }
    Ok(complete)
}

/// The rooms of a `resumed` frame whose verdict is `complete`.
fn complete_in(message: &[u8]) -> usize {
    let kind = SubscribeResponse::decode(message).ok().and_then(|message| message.frame?.kind);
    match kind {
        Some(frame::Kind::Resumed(resumed)) => {
            resumed.rooms.iter().filter(|room| room.verdict() == ResumeVerdict::Complete).count()
        }
        _ => 0,
    }
}

/// Whether a server's frame carries an event.
pub(crate) fn is_event(message: &[u8]) -> bool {
    kind(message) == Some(field(2))
}

/// Whether a server's frame tells cursors of members.
pub(crate) fn is_receipts(message: &[u8]) -> bool {
    kind(message) == Some(field(10))
}

/// A server's frame that tells of presence, if it is one.
pub(crate) fn presence(message: &[u8]) -> Option<frame::Kind> {
    if ![Some(field(11)), Some(field(12))].contains(&kind(message)) {
        return None;
    }
    SubscribeResponse::decode(message).ok()?.frame?.kind
}

/// The key of a field with a length, as protobuf writes it.
const fn field(number: u8) -> u8 {
    number << 3 | 2
}

/// The first key inside the frame inside a stream's message: it says what kind of frame it is, without decoding it.
fn kind(message: &[u8]) -> Option<u8> {
    let (&key, rest) = message.split_first()?;
    let length = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
    if key == field(1) { rest.get(length).copied() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(kind: frame::Kind) -> Vec<u8> {
        SubscribeResponse { frame: Some(Frame { kind: Some(kind) }) }.encode_to_vec()
    }

    #[test]
    fn kind_of_a_frame_is_seen_without_decoding() {
        let long = RoomEvent { room_id: "r".repeat(300), ..Default::default() };
        assert!(is_event(&encoded(frame::Kind::Event(long))));
        assert!(!is_event(&encoded(frame::Kind::Heartbeat(Default::default()))));
        assert_eq!(kind(&encoded(frame::Kind::CaughtUp(Default::default()))), Some(field(6)));
        let sent = Reply { request_id: "7".into(), ..Default::default() };
        assert_eq!(reply(&encoded(frame::Kind::Reply(sent))).map(|reply| reply.request_id), Some("7".into()));
    }
}
