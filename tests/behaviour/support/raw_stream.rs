//! Streams below tonic: the bytes as they come, with flow control in the test's hands.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, client, client::ResponseFuture};
use http::Request;
use prost::Message;
use relay_proto::chat::v1::{
    ConnectRequest, ConnectResponse, OpenStream, RoomPosition, SubscribeRequest, connect_request::Frame as Up,
    frame::Kind,
};
use tokio::{net::TcpStream, task::JoinHandle};

use super::{Token, within};

/// The largest window there is: what HTTP/2 does not hold back, TCP does.
pub(crate) const WIDE: u32 = (1 << 31) - 1;
/// What fits into it is little beside what a server holds for a reader.
pub(crate) const NARROW: u32 = 16 * 1024;

/// A streaming call, on a connection of its own. Dropped, its connection is closed without a word.
pub(crate) struct RawStream {
    up: SendStream<Bytes>,
    down: Down,
    received: BytesMut,
    connection: JoinHandle<()>,
}

enum Down {
    Head(ResponseFuture),
    Body(RecvStream),
}

impl RawStream {
    /// Opens a Subscribe stream. Until the test reads, the server can send at most `window` bytes.
    pub(crate) async fn subscribe(address: &str, user: &str, positions: &[(&str, u64)], window: u32) -> Self {
        let mut raw = Self::call(address, user, "Subscribe", window).await;
        raw.up.send_data(framed(&SubscribeRequest { open: Some(open(positions)) }), true).unwrap();
        raw
    }

    /// Opens a Connect stream. Until the test reads, the server can send at most `window` bytes.
    pub(crate) async fn connect(address: &str, user: &str, positions: &[(&str, u64)], window: u32) -> Self {
        let mut raw = Self::call(address, user, "Connect", window).await;
        raw.send(&ConnectRequest { request_id: String::new(), frame: Some(Up::Open(open(positions))) });
        raw
    }

    /// Calls a method of the chat service; nothing of the request's body is sent yet.
    pub(crate) async fn call(address: &str, user: &str, method: &str, window: u32) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        let mut settings = client::Builder::new();
        settings.initial_window_size(window).initial_connection_window_size(WIDE);
        let (requests, connection) = within("a connection", settings.handshake(tcp)).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        let mut requests = within("the connection", requests.ready()).await.unwrap();
        let request = Request::post(format!("http://{address}/relay.chat.v1.ChatService/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {}", Token::of(user).sign()));
        let (head, up) = requests.send_request(request.body(()).unwrap(), false).unwrap();
        Self { up, down: Down::Head(head), received: BytesMut::new(), connection }
    }

    /// Sends a message, or as much as the server takes; the rest waits here.
    pub(crate) fn send(&mut self, message: &impl Message) {
        self.send_bytes(framed(message));
    }

    /// Sends bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: Bytes) {
        self.up.send_data(bytes, false).unwrap();
    }

    /// Sends a message once the server is willing to take all of it.
    pub(crate) async fn send_when_taken(&mut self, message: &impl Message) {
        let bytes = framed(message);
        self.up.reserve_capacity(bytes.len());
        while self.up.capacity() < bytes.len() {
            std::future::poll_fn(|cx| self.up.poll_capacity(cx)).await.unwrap().unwrap();
        }
        self.up.send_data(bytes, false).unwrap();
    }

    /// Takes the call back.
    pub(crate) fn reset(&mut self) {
        self.up.send_reset(Reason::CANCEL);
    }

    /// The next message as it is on the wire, without gRPC's five bytes in front. `None`: the end.
    pub(crate) async fn next_bytes(&mut self) -> Option<Bytes> {
        loop {
            if let Some(length) = self.received.get(1..5) {
                let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
                if self.received.len() >= 5 + length {
                    assert_eq!(self.received.get_u8(), 0, "not compressed");
                    self.received.advance(4);
                    return Some(self.received.split_to(length).freeze());
                }
            }
            let data = within("bytes", self.body().await.data()).await?.unwrap();
            let body = self.body().await;
            body.flow_control().release_capacity(data.len()).unwrap();
            self.received.extend_from_slice(&data);
        }
    }

    /// The next frame; heartbeats are passed over, and receipts. `None`: the end.
    pub(crate) async fn next(&mut self) -> Option<Kind> {
        let next = async {
            loop {
                match kind(&self.next_bytes().await?) {
                    Kind::Heartbeat(_) | Kind::Receipts(_) | Kind::Memberships(_) => {}
                    kind => return Some(kind),
                }
            }
        };
        within("a frame that is no heartbeat", next).await
    }

    async fn body(&mut self) -> &mut RecvStream {
        if let Down::Head(head) = &mut self.down {
            let body = within("an answer", head).await.unwrap().into_body();
            self.down = Down::Body(body);
        }
        match &mut self.down {
            Down::Body(body) => body,
            Down::Head(_) => unreachable!(),
        }
    }
}

impl Drop for RawStream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What a frame on the wire says. Those of Connect and Subscribe are the same.
pub(crate) fn kind(bytes: &Bytes) -> Kind {
    ConnectResponse::decode(bytes.clone()).unwrap().frame.unwrap().kind.unwrap()
}

/// A message with gRPC's five bytes in front.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

fn open(positions: &[(&str, u64)]) -> OpenStream {
    let held = positions.iter().map(|(room, at)| RoomPosition { room_id: (*room).into(), position: *at });
    OpenStream { positions: held.collect(), ..OpenStream::default() }
}
