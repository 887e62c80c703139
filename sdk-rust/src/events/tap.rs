//! Streams over gRPC.

use std::sync::Arc;

use relay_proto::chat::v1::{
    ConnectRequest, ConnectResponse, Frame, OpenStream, RenewToken, RoomPosition,
    chat_service_client::ChatServiceClient, connect_request::Frame as Up,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    transport::{Channel, Endpoint},
};

use crate::{
    Error,
    events::driver::{Dial, Link},
    live::Live,
    token::{Token, Tokens},
};

/// How many frames wait to go up. Those who send more wait, or call.
const UP: usize = 64;

/// Opens `Connect` streams.
pub(crate) struct Tap {
    endpoint: Endpoint,
    pub(super) tokens: Arc<Tokens>,
    live: Arc<Live>,
    max_frame: usize,
    memberships: bool,
}

/// An open `Connect` stream.
pub(super) struct Stream {
    down: Streaming<ConnectResponse>,
    up: mpsc::Sender<ConnectRequest>,
    /// The connection ends when the last service on it is dropped.
    _service: ChatServiceClient<Channel>,
}

impl Tap {
    pub(crate) fn new(
        endpoint: Endpoint,
        tokens: Arc<Tokens>,
        live: Arc<Live>,
        max_frame: usize,
        memberships: bool,
    ) -> Self {
        Self { endpoint, tokens, live, max_frame, memberships }
    }
}

impl Dial for Tap {
    type Link = Stream;

    async fn open(&self, token: &Token, positions: Vec<RoomPosition>) -> Result<Stream, Error> {
        let channel = self.endpoint.connect_lazy();
        let mut service = ChatServiceClient::new(channel).max_decoding_message_size(self.max_frame);
        let (up, frames) = mpsc::channel(UP);
        // The first of a channel that has room for several.
        let _ = up.try_send(frame(Up::Open(OpenStream {
            positions,
            memberships: self.memberships,
            watch_presence: self.live.presence.watched(),
        })));
        let mut request = Request::new(ReceiverStream::new(frames));
        request.metadata_mut().insert("authorization", token.header());
        let down = service.connect(request).await?.into_inner();
        Ok(Stream { down, up, _service: service })
    }
}

impl Link for Stream {
    async fn next(&mut self) -> Result<Option<Frame>, Error> {
        let answer = self.down.message().await?;
        Ok(answer.map(|answer| answer.frame.unwrap_or_default()))
    }

    fn way_up(&self) -> mpsc::Sender<ConnectRequest> {
        self.up.clone()
    }

    fn renew(&mut self, token: &Token) {
        // If it cannot go up, the stream ends with TOKEN_EXPIRED, and the next one is opened with the new token.
        let _ = self.up.try_send(frame(Up::Renew(RenewToken { token: token.text().to_owned() })));
    }
}

fn frame(frame: Up) -> ConnectRequest {
    ConnectRequest { request_id: String::new(), frame: Some(frame) }
}
