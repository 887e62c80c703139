//! An open stream, over the wire or through the SDK, as the same few kinds of news.

use std::{collections::BTreeMap, time::Duration};

use http::uri::PathAndQuery;
use relay_proto::{
    chat::v1::{
        ConnectRequest, Frame, MembershipsChanged, OpenStream, ReceiptsChanged, ResumeVerdict, RoomPosition,
        RoomPresence, SubscribeRequest, SubscribeResponse, UpdateReceiptsRequest, UserPresence, WatchPresence,
        connect_request, frame::Kind, reply,
    },
    error::v1::Error as WireError,
};
use relay_sdk::{Client, DisconnectReason, Event, Events};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming, client::Grpc};
use tonic_prost::ProstCodec;

use super::{
    brief::Brief,
    caller::{Path, bearer, endpoint, final_refusal},
    cast::User,
};

/// How long opening may take.
const OPENING: Duration = Duration::from_secs(3);
/// How many frames of the client may wait to be sent.
const FRAMES: usize = 16;
const SUBSCRIBE: Path = "/relay.chat.v1.ChatService/Subscribe";
const CONNECT: Path = "/relay.chat.v1.ChatService/Connect";

/// A stream of a user.
pub(super) enum Stream {
    Wire { frames: Box<Streaming<SubscribeResponse>>, up: Option<mpsc::Sender<ConnectRequest>>, patience: Duration },
    Sdk(Box<Events>),
}

/// How a stream is opened over the wire.
pub(super) struct Opening<'a> {
    /// The positions that the client holds.
    pub(super) held: &'a BTreeMap<String, u64>,
    /// The rooms whose presence it watches.
    pub(super) watch: Option<Vec<String>>,
    /// By Connect, so that the client can send frames.
    pub(super) both_ways: bool,
}

/// What comes on it.
pub(super) enum News {
    /// The SDK opened it anew.
    Opened,
    /// It is open over the wire; the session.
    Hello(String),
    Receipts(ReceiptsChanged),
    Memberships(MembershipsChanged),
    Presence(UserPresence),
    RoomPresence(RoomPresence),
    /// The answer to a report: its id, and why it failed.
    Reported(String, Option<WireError>),
    Verdict(String, ResumeVerdict, u64),
    Event {
        room: String,
        position: u64,
        previous: Option<u64>,
        event: Brief,
    },
    /// The stream has carried a room up to a position.
    Carried(String, u64),
    /// Something for the notes.
    Word(String),
    /// The SDK found that the stream skipped something.
    Skipped,
    /// It is over, and may be opened again.
    Over(String),
    /// It is over, and would be again.
    Refused(String),
}

impl Stream {
    /// Opens one over the wire.
    #[expect(clippy::result_large_err, reason = "once a stream")]
    pub(super) async fn open(url: &str, user: &User, how: Opening<'_>) -> Result<Self, News> {
        let positions = how.held.iter().map(|(room, at)| RoomPosition { room_id: room.clone(), position: *at });
        let watch_presence = how.watch.map(|room_ids| WatchPresence { room_ids });
        let open = OpenStream { positions: positions.collect(), watch_presence, ..OpenStream::default() };
        let opening = async {
            let over = |error: &dyn std::fmt::Display| News::Over(error.to_string());
            let channel = endpoint(url).map_err(|error| over(&error))?.connect().await.map_err(|error| over(&error))?;
            let mut client = Grpc::new(channel);
            client.ready().await.map_err(|error| over(&error))?;
            let authorization = bearer(user).map_err(|error| over(&error))?;
            let (answer, up) = if how.both_ways {
                let (up, frames) = mpsc::channel(FRAMES);
                let _ = up.try_send(frame_up(String::new(), connect_request::Frame::Open(open)));
                let mut request = Request::new(ReceiverStream::new(frames));
                request.metadata_mut().insert("authorization", authorization);
                // The frames of both methods are the same bytes.
                let codec = ProstCodec::<ConnectRequest, SubscribeResponse>::default();
                (client.streaming(request, PathAndQuery::from_static(CONNECT), codec).await, Some(up))
            } else {
                let mut request = Request::new(SubscribeRequest { open: Some(open) });
                request.metadata_mut().insert("authorization", authorization);
                let codec = ProstCodec::<SubscribeRequest, SubscribeResponse>::default();
                (client.server_streaming(request, PathAndQuery::from_static(SUBSCRIBE), codec).await, None)
            };
            let frames = Box::new(answer.map_err(|status| of_status(&status))?.into_inner());
            Ok(Self::Wire { frames, up, patience: OPENING })
        };
        timeout(OPENING, opening).await.unwrap_or_else(|_| Err(News::Over("it could not be opened in time".into())))
    }

    /// Sends a frame that moves cursors, if the stream has a way up with room on it.
    pub(super) fn report(&self, request_id: String, cursors: UpdateReceiptsRequest) -> bool {
        let Self::Wire { up: Some(up), .. } = self else { return false };
        up.try_send(frame_up(request_id, connect_request::Frame::UpdateReceipts(cursors))).is_ok()
    }

    /// Whether the client can send frames on it.
    pub(super) fn has_way_up(&self) -> bool {
        matches!(self, Self::Wire { up: Some(_), .. })
    }

    /// Opens one through the SDK, which keeps it open.
    pub(super) fn open_by_sdk(client: &Client, held: &BTreeMap<String, u64>) -> Self {
        Self::Sdk(Box::new(client.events_from(held.clone())))
    }

    /// What comes next. Nothing is lost when the future is dropped while it waits.
    pub(super) async fn next(&mut self) -> Vec<News> {
        match self {
            Self::Wire { frames, patience, .. } => match timeout(*patience, frames.message()).await {
                Ok(Ok(Some(SubscribeResponse { frame: Some(frame) }))) => of_frame(frame, patience),
                Ok(Ok(Some(_))) => Vec::new(),
                Ok(Ok(None)) => vec![News::Over("it ended".into())],
                Ok(Err(status)) => vec![of_status(&status)],
                Err(_) => vec![News::Over("it fell silent".into())],
            },
            Self::Sdk(events) => match events.next().await {
                Some(Ok(event)) => vec![of_event(event)],
                Some(Err(error)) => vec![News::Refused(error.to_string())],
                None => vec![News::Refused("the SDK's stream ended".into())],
            },
        }
    }
}

fn of_status(status: &tonic::Status) -> News {
    match final_refusal(status) {
        Some(refusal) => News::Refused(refusal.text),
        None => News::Over(format!("{:?}: {}", status.code(), status.message())),
    }
}

fn of_frame(frame: Frame, patience: &mut Duration) -> Vec<News> {
    match frame.kind {
        Some(Kind::Hello(hello)) => {
            let beat = hello.heartbeat_interval.and_then(|beat| Duration::try_from(beat).ok());
            *patience = beat.unwrap_or(Duration::from_secs(15)) * 3;
            vec![News::Hello(hello.session_id)]
        }
        Some(Kind::Resumed(resumed)) => {
            let rooms = resumed.rooms.into_iter();
            rooms.map(|room| News::Verdict(room.room_id.clone(), room.verdict(), room.position)).collect()
        }
        Some(Kind::Event(event)) => vec![News::Event {
            room: event.room_id.clone(),
            position: event.position,
            previous: Some(event.previous_position),
            event: Brief::of_wire(event),
        }],
        Some(Kind::Heartbeat(heartbeat)) => {
            heartbeat.positions.into_iter().map(|at| News::Carried(at.room_id, at.position)).collect()
        }
        Some(Kind::CaughtUp(_)) => vec![News::Word("caught up".into())],
        Some(Kind::Drain(_)) => vec![News::Over("the node drains".into())],
        Some(Kind::Receipts(changed)) => vec![News::Receipts(changed)],
        Some(Kind::Memberships(changed)) => vec![News::Memberships(changed)],
        Some(Kind::Presence(changed)) => changed.presence.map(News::Presence).into_iter().collect(),
        Some(Kind::RoomPresence(told)) => vec![News::RoomPresence(told)],
        Some(Kind::Reply(reply)) => match reply.result {
            Some(reply::Result::Done(_)) => vec![News::Reported(reply.request_id, None)],
            Some(reply::Result::Error(error)) => vec![News::Reported(reply.request_id, Some(error))],
            _ => Vec::new(),
        },
        Some(Kind::TokenExpiring(_) | Kind::Typing(_) | Kind::Block(_)) | None => Vec::new(),
    }
}

fn frame_up(request_id: String, frame: connect_request::Frame) -> ConnectRequest {
    ConnectRequest { request_id, frame: Some(frame) }
}

fn of_event(event: Event) -> News {
    match event {
        Event::Connected(_) => News::Opened,
        Event::Disconnected { reason: DisconnectReason::OutOfOrder, .. } => News::Skipped,
        Event::Disconnected { reason, retry_in } => News::Word(format!("lost: {reason:?}, again in {retry_in:?}")),
        Event::Resumed(room) => News::Verdict(room.room_id.clone(), room.verdict(), room.position),
        Event::CaughtUp => News::Word("caught up".into()),
        Event::Room(event) => News::Event {
            room: event.room_id,
            position: event.position,
            previous: None,
            event: Brief::of_sdk(event.actor_id, event.kind),
        },
        Event::Receipts(changed) => News::Receipts(changed),
        Event::Memberships(state) => News::Memberships(MembershipsChanged { memberships: vec![state] }),
        _ => News::Word("something that is new".into()),
    }
}
