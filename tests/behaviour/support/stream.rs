//! A Connect stream, frame by frame.

use relay_proto::chat::v1::{
    self as wire, ConnectRequest, OpenStream, RoomEvent, RoomPosition, connect_request::Frame as Up, frame::Kind,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Clients, within};

/// An open stream.
pub(crate) struct Stream {
    up: Option<mpsc::Sender<ConnectRequest>>,
    down: Streaming<wire::ConnectResponse>,
}

impl Stream {
    /// Opens a stream that holds `positions`, and reads its Hello.
    pub(crate) async fn open(clients: &Clients, positions: &[(&str, u64)]) -> Self {
        let mut stream = Self::silent(clients).await;
        let held = positions.iter().map(|(room, at)| RoomPosition { room_id: (*room).into(), position: *at });
        stream.send("", Up::Open(OpenStream { positions: held.collect(), ..OpenStream::default() })).await;
        assert!(matches!(stream.next().await, Kind::Hello(_)), "the first frame is hello");
        stream
    }

    /// Opens a stream as `open` says, and reads on until it has caught up; answers with what came in between, Hello too.
    pub(crate) async fn opened(clients: &Clients, open: OpenStream) -> (Self, Vec<Kind>) {
        let mut stream = Self::silent(clients).await;
        stream.send("", Up::Open(open)).await;
        let mut frames = Vec::new();
        while !matches!(frames.last(), Some(Kind::CaughtUp(_))) {
            frames.push(stream.next_told().await);
        }
        (stream, frames)
    }

    /// As [`Stream::open`], where the server may be gone.
    pub(crate) async fn try_open(clients: &Clients, positions: &[(&str, u64)]) -> Result<Self, Status> {
        let (up, frames) = mpsc::channel(64);
        let held = positions.iter().map(|(room, at)| RoomPosition { room_id: (*room).into(), position: *at });
        let open = OpenStream { positions: held.collect(), ..OpenStream::default() };
        let open = ConnectRequest { request_id: String::new(), frame: Some(Up::Open(open)) };
        up.try_send(open).unwrap();
        let down = clients.chat.clone().connect(ReceiverStream::new(frames)).await?.into_inner();
        let mut stream = Self { up: Some(up), down };
        match stream.next_or_end().await? {
            Some(Kind::Hello(_)) => Ok(stream),
            other => panic!("the first frame is hello, not {other:?}"),
        }
    }

    /// Opens a stream and reads on until it has caught up; answers with what came in between, too.
    pub(crate) async fn caught_up(clients: &Clients, positions: &[(&str, u64)]) -> (Self, Vec<Kind>) {
        let mut stream = Self::open(clients, positions).await;
        let frames = stream.until(|kind| matches!(kind, Kind::CaughtUp(_))).await;
        (stream, frames)
    }

    /// Opens a stream without a first frame.
    pub(crate) async fn silent(clients: &Clients) -> Self {
        let (up, frames) = mpsc::channel(64);
        let down = clients.chat.clone().connect(ReceiverStream::new(frames)).await.unwrap().into_inner();
        Self { up: Some(up), down }
    }

    /// Sends a frame.
    pub(crate) async fn send(&self, request_id: &str, frame: Up) {
        let frame = ConnectRequest { request_id: request_id.into(), frame: Some(frame) };
        self.up.as_ref().unwrap().send(frame).await.unwrap();
    }

    /// Sends a frame if the stream is still there.
    pub(crate) async fn try_send(&self, request_id: &str, frame: Up) -> bool {
        let frame = ConnectRequest { request_id: request_id.into(), frame: Some(frame) };
        self.up.as_ref().unwrap().send(frame).await.is_ok()
    }

    /// Closes the client's half.
    pub(crate) fn half_close(&mut self) {
        self.up = None;
    }

    /// The next frame; heartbeats are passed over, and receipts, which come of themselves after each message.
    pub(crate) async fn next(&mut self) -> Kind {
        // One limit for all: such frames alone would keep a test waiting for ever.
        let next = async {
            loop {
                match self.next_told().await {
                    Kind::Receipts(_) | Kind::Memberships(_) => {}
                    kind => return kind,
                }
            }
        };
        within("a frame that is no receipt", next).await
    }

    /// The next frame, receipts too; heartbeats are passed over.
    pub(crate) async fn next_told(&mut self) -> Kind {
        let next = async {
            loop {
                match self.next_or_end().await.unwrap() {
                    Some(Kind::Heartbeat(_)) => {}
                    Some(kind) => return kind,
                    None => panic!("the stream ended"),
                }
            }
        };
        within("a frame that is no heartbeat", next).await
    }

    /// The next frame, heartbeats too, or the end.
    pub(crate) async fn next_or_end(&mut self) -> Result<Option<Kind>, Status> {
        let response = within("a frame", self.down.message()).await?;
        Ok(response.map(|r| r.frame.unwrap().kind.unwrap()))
    }

    /// Reads on to the end; answers with its status.
    pub(crate) async fn end(&mut self) -> Option<Status> {
        loop {
            match self.next_or_end().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }

    /// All frames up to the first that `last` holds of, that one included.
    pub(crate) async fn until(&mut self, mut last: impl FnMut(&Kind) -> bool) -> Vec<Kind> {
        let mut frames = Vec::new();
        loop {
            let kind = self.next().await;
            let done = last(&kind);
            frames.push(kind);
            if done {
                return frames;
            }
        }
    }

    /// The next event; other frames are passed over.
    pub(crate) async fn event(&mut self) -> RoomEvent {
        loop {
            if let Kind::Event(event) = self.next().await {
                return event;
            }
        }
    }

    /// The next `n` events.
    pub(crate) async fn events(&mut self, n: usize) -> Vec<RoomEvent> {
        let mut events = Vec::with_capacity(n);
        while events.len() < n {
            events.push(self.event().await);
        }
        events
    }

    /// The reply to `request_id`; other frames are passed over.
    pub(crate) async fn reply(&mut self, request_id: &str) -> wire::reply::Result {
        loop {
            if let Kind::Reply(reply) = self.next().await
                && reply.request_id == request_id
            {
                return reply.result.unwrap();
            }
        }
    }
}
