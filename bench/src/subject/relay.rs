//! Relay itself, as its users meet it: the program with its defaults, a data folder of its own, tokens, streams.

use std::{net::SocketAddr, path::Path, sync::Arc};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use relay_proto::chat::v1::{
    AddMembersRequest, AddMembersResponse, ConnectRequest, CreateRoomRequest, CreateRoomResponse, ListMessagesRequest,
    ListMessagesResponse, NewMember, OpenStream, RoomPosition, SendMessageRequest, SendMessageResponse,
    SubscribeRequest, WatchPresence, connect_request,
};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    FanOut, Feed, Launch, Publisher, Signal,
    frames::{caught_up, is_event},
    server::Server,
};
use crate::{
    args::Args,
    error::Error,
    grpc::{Call, Link},
    process::Processes,
};

/// The room of the fan-out.
pub(crate) const ROOM: &str = "fanout";
/// Who owns that room, and publishes in it.
pub(super) const OWNER: &str = "pub";
/// How many members one call may add.
const BATCH: usize = 100;
/// How long a token is good: longer than any run.
const TOKEN_SECONDS: u64 = 4 * 3600;

/// The running server.
pub(crate) struct Relay {
    server: Server,
    key: EncodingKey,
    /// Has the data folder.
    _launch: Arc<Launch>,
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
    /// Starts `program` alone, on an empty data folder.
    pub(crate) async fn start(program: &Path, args: &Args) -> Result<Self, Error> {
        Arc::new(Launch::new(program, args)?).start().await
    }

    pub(super) fn new(server: Server, launch: Arc<Launch>) -> Self {
        Self { server, key: EncodingKey::from_secret(launch.secret()), _launch: launch }
    }

    /// Ends it, and waits until it has.
    pub(crate) async fn end(self, signal: Signal) -> Result<(), Error> {
        self.server.end(signal).await
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.server.pid
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

    /// Opens a Subscribe stream with `token` from `positions` on, and waits until it has caught up; answers it with the
    /// number of rooms that are complete.
    pub(crate) async fn resume(&self, token: &str, positions: Vec<RoomPosition>) -> Result<(Call, usize), Error> {
        let mut call = self.link().await?.open("/relay.chat.v1.ChatService/Subscribe", token).await?;
        call.send_last(&SubscribeRequest { open: Some(OpenStream { positions, ..OpenStream::default() }) })?;
        let complete = caught_up(&mut call).await?;
        Ok((call, complete))
    }

    /// Opens a stream of `user` that watches who is in `rooms`, and waits until it has caught up.
    pub(crate) async fn watch(&self, user: &str, room_ids: Vec<String>) -> Result<Call, Error> {
        let mut call = self.link().await?.open("/relay.chat.v1.ChatService/Subscribe", &self.token(user)?).await?;
        let watch_presence = Some(WatchPresence { room_ids });
        call.send_last(&SubscribeRequest { open: Some(OpenStream { watch_presence, ..OpenStream::default() }) })?;
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

    /// What it says of itself: the sum of a metric over its labels. None: it has no such metric.
    pub(crate) async fn metric(&self, name: &str) -> Result<Option<f64>, Error> {
        let mut socket = TcpStream::connect(self.address()).await?;
        socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n").await?;
        let mut text = String::new();
        socket.read_to_string(&mut text).await?;
        let samples = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(samples.reduce(|sum, sample| sum + sample))
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }
}

impl FanOut for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn processes(&self) -> Processes {
        Processes::one(self.server.pid)
    }

    async fn subscribe(&self, number: usize) -> Result<Feed, Error> {
        let (call, _) = self.resume(&self.token(&subscriber(number))?, Vec::new()).await?;
        Ok(Feed::Grpc(Box::new(call), is_event))
    }

    async fn publish(&self) -> Result<Publisher, Error> {
        Ok(Publisher::Relay(Box::new(self.connect(OWNER).await?)))
    }
}

/// Relay, with subscribers whose streams carry frames both ways, as those of apps do.
pub(crate) struct BothWays(pub(crate) Relay);

impl FanOut for BothWays {
    fn name(&self) -> &'static str {
        "relay_connect"
    }

    fn processes(&self) -> Processes {
        self.0.processes()
    }

    async fn subscribe(&self, number: usize) -> Result<Feed, Error> {
        Ok(Feed::Grpc(Box::new(self.0.connect(&subscriber(number)).await?), is_event))
    }

    async fn publish(&self) -> Result<Publisher, Error> {
        self.0.publish().await
    }
}

/// The user who is subscriber `number`.
fn subscriber(number: usize) -> String {
    format!("u{number}")
}

/// Lists the newest `size` messages of a room, or those from `start` downwards; answers how many there were.
pub(crate) async fn list_messages(
    link: &mut Link,
    token: &str,
    room: &str,
    start: u64,
    size: usize,
) -> Result<usize, Error> {
    let request =
        ListMessagesRequest { room_id: room.into(), start_seq: start, page_size: size as i32, ..Default::default() };
    let listed: ListMessagesResponse = link.unary("/relay.chat.v1.ChatService/ListMessages", token, &request).await?;
    Ok(listed.messages.len())
}

/// Sends a message by a call of its own.
pub(crate) async fn send_unary(link: &mut Link, token: &str, message: &SendMessageRequest) -> Result<(), Error> {
    let _: SendMessageResponse = link.unary("/relay.chat.v1.ChatService/SendMessage", token, message).await?;
    Ok(())
}
