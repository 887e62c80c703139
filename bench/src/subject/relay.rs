//! Relay itself, as its users meet it: the program with its defaults, a data folder of its own, tokens, streams.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use prost::Message as _;
use relay_proto::chat::v1::{
    AddMembersRequest, AddMembersResponse, ConnectRequest, ConnectResponse, CreateRoomRequest, CreateRoomResponse,
    Frame, Message, MessageCreated, NewMember, OpenStream, Reply, RoomEvent, SendMessageRequest, SendMessageResponse,
    SubscribeRequest, SubscribeResponse, connect_request, frame, reply, room_event,
};
use serde::Serialize;
use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;

use super::{FanOut, Feed, Publisher, TEXT, server::Server};
use crate::{
    args::Args,
    error::Error,
    grpc::{Call, Link},
    stamp,
};

/// The room of the fan-out.
pub(crate) const ROOM: &str = "fanout";
/// Who owns that room, and publishes in it.
const OWNER: &str = "pub";
/// How many members one call may add.
const BATCH: usize = 100;
/// How long a token is good: longer than any run.
const TOKEN_SECONDS: u64 = 4 * 3600;

/// The running server.
pub(crate) struct Relay {
    server: Server,
    key: EncodingKey,
    /// Deleted when dropped.
    _data: TempDir,
}

/// What a token says.
#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

impl Relay {
    /// Starts `program` on an empty data folder. Its log goes beside the results.
    pub(crate) async fn start(program: &Path, args: &Args) -> Result<Self, Error> {
        let data = tempfile::tempdir()?;
        let secret = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        let log = args.out.with_file_name("relay.log");
        log.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data.path());
        command.args(args.relay_settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
        command.env("RELAY_AUTH_SIGNING_KEY", URL_SAFE_NO_PAD.encode(&secret)).stderr(File::create(log)?);
        Ok(Self { server: Server::start(command).await?, key: EncodingKey::from_secret(&secret), _data: data })
    }

    /// Makes the room of the fan-out, with `subscribers` members beside its owner.
    pub(crate) async fn fill_room(&self, subscribers: usize) -> Result<(), Error> {
        self.create_room(OWNER, ROOM, (0..subscribers).map(subscriber).collect()).await
    }

    /// Makes a room with an owner and members.
    pub(crate) async fn create_room(&self, owner: &str, room: &str, members: Vec<String>) -> Result<(), Error> {
        let token = self.token(owner)?;
        let mut link = Link::connect(self.server.address).await?;
        let create = CreateRoomRequest { room_id: room.into(), ..Default::default() };
        let _: CreateRoomResponse = link.unary("/relay.chat.v1.RoomService/CreateRoom", &token, &create).await?;
        for batch in members.chunks(BATCH) {
            let members = batch.iter().map(|user| NewMember { user_id: user.clone(), ..Default::default() }).collect();
            let add = AddMembersRequest { room_id: room.into(), members };
            let _: AddMembersResponse = link.unary("/relay.chat.v1.RoomService/AddMembers", &token, &add).await?;
        }
        Ok(())
    }

    /// Opens a Connect stream of `user`, and waits until it has caught up.
    pub(crate) async fn connect(&self, user: &str) -> Result<Call, Error> {
        let mut call = self.link().await?.open("/relay.chat.v1.ChatService/Connect", &self.token(user)?).await?;
        let open = connect_request::Frame::Open(OpenStream::default());
        call.send(&ConnectRequest { request_id: String::new(), frame: Some(open) })?;
        caught_up(&mut call).await?;
        Ok(call)
    }

    /// A connection.
    pub(crate) async fn link(&self) -> Result<Link, Error> {
        Link::connect(self.address()).await
    }

    /// A token of `user`.
    pub(crate) fn token(&self, user: &str) -> Result<String, Error> {
        let iat = jsonwebtoken::get_current_timestamp();
        let header = Header { kid: Some("server".into()), ..Header::new(Algorithm::HS256) };
        let claims = Claims { sub: user, aud: "default", iat, exp: iat + TOKEN_SECONDS };
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?)
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }
}

impl FanOut for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn pid(&self) -> u32 {
        self.server.pid
    }

    async fn subscribe(&self, number: usize) -> Result<Feed, Error> {
        let token = self.token(&subscriber(number))?;
        let mut call = self.link().await?.open("/relay.chat.v1.ChatService/Subscribe", &token).await?;
        call.send_last(&SubscribeRequest { open: Some(OpenStream::default()) })?;
        caught_up(&mut call).await?;
        Ok(Feed::Grpc(Box::new(call), is_event))
    }

    async fn publish(&self) -> Result<Publisher, Error> {
        Ok(Publisher::Relay(Box::new(self.connect(OWNER).await?)))
    }
}

/// The user who is subscriber `number`.
fn subscriber(number: usize) -> String {
    format!("u{number}")
}

/// The content of a message.
pub(crate) fn message(room: &str, text: String) -> SendMessageRequest {
    let client_message_id = Uuid::new_v4().to_string();
    SendMessageRequest { room_id: room.into(), client_message_id, text, ..Default::default() }
}

/// A client's frame that sends a message.
pub(crate) fn send(request_id: String, room: &str, text: String) -> ConnectRequest {
    ConnectRequest { request_id, frame: Some(connect_request::Frame::Send(message(room, text))) }
}

/// Sends a message by a call of its own.
pub(crate) async fn send_unary(link: &mut Link, token: &str, message: &SendMessageRequest) -> Result<(), Error> {
    let _: SendMessageResponse = link.unary("/relay.chat.v1.ChatService/SendMessage", token, message).await?;
    Ok(())
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

/// Reads a new stream up to `caught_up`.
async fn caught_up(call: &mut Call) -> Result<(), Error> {
    let mut done = false;
    while !done {
        call.read(|message| done |= kind(message) == Some(field(6))).await?;
    }
    Ok(())
}

fn is_event(message: &[u8]) -> bool {
    kind(message) == Some(field(2))
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
