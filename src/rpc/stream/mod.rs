//! Connect and Subscribe. Frames reach a session's queue as whole gRPC messages, encoded once for everybody; these methods
//! are served below tonic's codec, by a body that hands the queue's bytes to the connection as they are.

mod body;
mod connect;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use relay_proto::chat::v1::{ConnectRequest, SubscribeRequest};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::codec::{BufferSettings, Streaming};
use tonic_prost::ProstDecoder;

use self::body::SessionBody;
use super::{
    convert,
    gate::{Count, refuse},
    status::from_framework,
};
use crate::{
    chat::{Chat, Feed, Opening, Presence, Typing},
    error::{Error, Reason, Result},
    hub::{Hub, Session},
    identity::{Caller, Tokens},
    lifecycle::Draining,
};

/// The receive buffer of a stream: small, because most streams are silent upwards. It grows with what comes.
const BUFFER_BYTES: usize = 512;

/// What the streaming methods need.
pub(super) struct Streams {
    pub(super) chat: Chat,
    pub(super) feed: Arc<Feed>,
    pub(super) hub: Arc<Hub>,
    pub(super) typing: Arc<Typing>,
    pub(super) presence: Arc<Presence>,
    pub(super) tokens: Tokens,
    pub(super) draining: Draining,
    pub(super) max_request_bytes: usize,
    pub(super) open_timeout: Duration,
    pub(super) max_sends_in_flight: usize,
}

/// `Subscribe`: the request is read, the session opened, and its frames are the response.
pub(super) async fn subscribe(
    State(streams): State<Arc<Streams>>,
    Extension(caller): Extension<Caller>,
    Extension(count): Extension<Count>,
    request: Request,
) -> Response {
    let mut requests: Streaming<SubscribeRequest> = streams.incoming(request);
    let received = tokio::time::timeout(streams.open_timeout, requests.message());
    let received = streams.draining.run_until_set(received).await;
    let opened = received.map_or_else(|| Err(Error::draining()), |r| r.map_err(|_| not_open())).and_then(|received| {
        match received {
            Ok(Some(request)) => streams.open(&caller, request.open.unwrap_or_default()),
            Ok(None) => Err(Error::new(Reason::RequestMalformed, "the call has no request")),
            Err(status) => Err(from_framework(&status).unwrap_or_else(|| Error::internal(&status))),
        }
    });
    match opened {
        Ok(session) => respond(SessionBody::open(streams.hub.clone(), session, count)),
        Err(error) => refuse(&error),
    }
}

/// `Connect`: the response begins at once; the session opens with the client's first frame.
pub(super) async fn connect(
    State(streams): State<Arc<Streams>>,
    Extension(caller): Extension<Caller>,
    Extension(count): Extension<Count>,
    request: Request,
) -> Response {
    let requests: Streaming<ConnectRequest> = streams.incoming(request);
    let (opened, opening) = oneshot::channel();
    // Cancelled with the body: when the response is over, nothing reads the request any more.
    let over = CancellationToken::new();
    let body = SessionBody::opening(streams.hub.clone(), opening, count, over.clone().drop_guard());
    // Boxed, or the task would hold it three times over, as long as the stream lives.
    let run = Box::pin(connect::run(streams, caller, requests, opened));
    tokio::spawn(async move { over.run_until_cancelled(run).await });
    respond(body)
}

fn respond(body: SessionBody) -> Response {
    let mut response = Response::new(axum::body::Body::new(body));
    let grpc = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    response
}

fn not_open() -> Error {
    Error::new(Reason::StreamNotOpen, "the stream was not opened in time")
}

impl Streams {
    fn incoming<T>(&self, request: Request) -> Streaming<T>
    where
        T: prost::Message + Default + 'static,
    {
        let decoder = ProstDecoder::<T>::new(BufferSettings::new(BUFFER_BYTES, BUFFER_BYTES));
        Streaming::new_request(decoder, request.into_body(), None, Some(self.max_request_bytes))
    }

    fn open(&self, caller: &Caller, open: relay_proto::chat::v1::OpenStream) -> Result<Arc<Session>> {
        if self.draining.is_set() {
            return Err(Error::draining());
        }
        let watch = open.watch_presence.as_ref().map_or_else(|| Ok(Vec::new()), convert::watched);
        let watch = watch.map_err(|error| error.under("open.watch_presence"))?;
        let opening = Opening { positions: convert::positions(&open)?, memberships: open.memberships, watch };
        self.feed.open(caller.user.clone(), caller.expires_at, opening)
    }
}
