//! The client: what every call and stream of one user shares.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use relay_proto::chat::v1::{
    PingRequest, PingResponse, chat_service_client::ChatServiceClient,
    moderation_service_client::ModerationServiceClient, presence_service_client::PresenceServiceClient,
    room_service_client::RoomServiceClient,
};
use tokio::runtime::Handle;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    ClientBuilder, Error,
    call::{Effort, call},
    events::{Events, Positions, Tap},
    live::Live,
    token::Tokens,
};

/// The largest answer that is read. A page of 200 rooms, each with a long last message, is the largest there is.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// A client of one user. Cheap to clone: clones share one connection for calls, and the token. Calls run at the same
/// time on it, so many tasks can send through clones.
///
/// ```no_run
/// use relay_sdk::{Client, OutgoingMessage};
///
/// # async fn run() -> Result<(), relay_sdk::Error> {
/// let client = Client::builder("http://127.0.0.1:8080").token("ey...").build()?;
/// client.join_room("general").await?;
/// let receipt = client.send(OutgoingMessage::text("general", "hi")).await?;
/// println!("written as number {}", receipt.seq);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    endpoint: Endpoint,
    channel: Channel,
    tokens: Arc<Tokens>,
    settings: Settings,
    live: Arc<Live>,
    /// Runs the streams.
    runtime: Handle,
}

/// Limits that the builder has set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) request_timeout: Duration,
    pub(crate) call_deadline: Duration,
    pub(crate) send_deadline: Duration,
    pub(crate) event_buffer: usize,
    pub(crate) memberships: bool,
    pub(crate) report_delivered: bool,
}

impl Client {
    /// Begins to set up a client for the server at `url`, for example `http://127.0.0.1:8080`.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    /// Must be called inside `runtime`: the channel begins a task there.
    pub(crate) fn new(endpoint: Endpoint, tokens: Tokens, settings: Settings, runtime: Handle) -> Self {
        let channel = endpoint.connect_lazy();
        Self(Arc::new(Shared { endpoint, channel, tokens: Arc::new(tokens), settings, live: Arc::default(), runtime }))
    }

    /// Opens the stream of all events in the user's rooms, from now on. See [`Events`]. It is kept open on the runtime in
    /// which the client was built, over a connection of its own.
    ///
    /// This returns at once, and the stream opens meanwhile. "From now on" begins when the server has opened it: what
    /// happens after the first [`CaughtUp`](crate::Event::CaughtUp) has come is yielded for certain, what happened before
    /// perhaps not. Wait for it before you send what you want to see.
    pub fn events(&self) -> Events {
        self.events_from(Positions::new())
    }

    /// Opens the stream of events, and begins in each of these rooms after the position given. A room that is not listed
    /// begins with its new events. At most 5,000 rooms: with more, the stream ends with
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
    pub fn events_from(&self, positions: Positions) -> Events {
        let Shared { endpoint, tokens, settings, live, .. } = &*self.0;
        let tap = Tap::new(endpoint.clone(), tokens.clone(), live.clone(), MAX_ANSWER, settings.memberships);
        Events::open(self.clone(), tap, positions)
    }

    /// Asks whether the server is there and the token is good; tells the server's clock and version.
    pub async fn ping(&self) -> Result<PingResponse, Error> {
        self.call(PingRequest {}, |request| {
            let mut chat = self.chat();
            async move { chat.ping(request).await }
        })
        .await
    }

    /// A call that may be repeated.
    pub(crate) async fn call<Q, A, F, Fut>(&self, message: Q, method: F) -> Result<A, Error>
    where
        Q: Clone,
        F: Fn(Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        call(&self.0.tokens, self.effort(Some(self.0.settings.call_deadline)), message, method).await
    }

    /// A call that is made once.
    pub(crate) async fn call_once<Q, A, F, Fut>(&self, message: Q, method: F) -> Result<A, Error>
    where
        Q: Clone,
        F: Fn(Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        call(&self.0.tokens, self.effort(None), message, method).await
    }

    /// A call that sends messages: it may be repeated, and is tried for longer.
    ///
    /// # Errors
    /// [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) unless the last answer settles whether it was written.
    pub(crate) async fn call_send<Q, A, F, Fut>(&self, message: Q, method: F) -> Result<A, Error>
    where
        Q: Clone,
        F: Fn(Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let effort = Effort { sends: true, ..self.effort(Some(self.0.settings.send_deadline)) };
        call(&self.0.tokens, effort, message, method).await
    }

    /// The chat service on the shared connection.
    pub(crate) fn chat(&self) -> ChatServiceClient<Channel> {
        ChatServiceClient::new(self.0.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// The room service on the shared connection.
    pub(crate) fn rooms(&self) -> RoomServiceClient<Channel> {
        RoomServiceClient::new(self.0.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// The presence service on the shared connection.
    pub(crate) fn presence(&self) -> PresenceServiceClient<Channel> {
        PresenceServiceClient::new(self.0.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// The moderation service on the shared connection.
    pub(crate) fn moderation(&self) -> ModerationServiceClient<Channel> {
        ModerationServiceClient::new(self.0.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(crate) fn live(&self) -> &Live {
        &self.0.live
    }

    pub(crate) fn shared_live(&self) -> Arc<Live> {
        self.0.live.clone()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// Whether nobody else holds this client.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn effort(&self, total: Option<Duration>) -> Effort {
        Effort { attempt: self.0.settings.request_timeout, total, sends: false }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.0.endpoint.uri()).finish_non_exhaustive()
    }
}
