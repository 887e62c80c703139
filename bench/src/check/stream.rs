//! An open stream, over the wire or through the SDK, as the same few kinds of news.

use std::{collections::BTreeMap, time::Duration};

use relay_proto::chat::v1::{
    Frame, OpenStream, ResumeVerdict, RoomPosition, SubscribeRequest, SubscribeResponse,
    chat_service_client::ChatServiceClient, frame::Kind,
};
use relay_sdk::{Client, DisconnectReason, Event, Events};
use tokio::time::timeout;
use tonic::{Request, Streaming};

use super::{
    brief::Brief,
    caller::{bearer, endpoint, final_refusal},
    cast::User,
};

/// How long opening may take.
const OPENING: Duration = Duration::from_secs(3);

/// A stream of a user.
pub(super) enum Stream {
    Wire { frames: Box<Streaming<SubscribeResponse>>, patience: Duration },
    Sdk(Box<Events>),
}

/// What comes on it.
pub(super) enum News {
    /// The SDK opened it anew.
    Opened,
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
    pub(super) async fn open(url: &str, user: &User, held: &BTreeMap<String, u64>) -> Result<Self, News> {
        let opening = async {
            let over = |error: &dyn std::fmt::Display| News::Over(error.to_string());
            let channel = endpoint(url).map_err(|error| over(&error))?.connect().await.map_err(|error| over(&error))?;
            let positions = held.iter().map(|(room, at)| RoomPosition { room_id: room.clone(), position: *at });
            let open = Some(OpenStream { positions: positions.collect(), ..OpenStream::default() });
            let mut request = Request::new(SubscribeRequest { open });
            request.metadata_mut().insert("authorization", bearer(user).map_err(|error| over(&error))?);
            let answer =
                ChatServiceClient::new(channel).subscribe(request).await.map_err(|status| of_status(&status))?;
            Ok(Self::Wire { frames: Box::new(answer.into_inner()), patience: OPENING })
        };
        timeout(OPENING, opening).await.unwrap_or_else(|_| Err(News::Over("it could not be opened in time".into())))
    }

    /// Opens one through the SDK, which keeps it open.
    pub(super) fn open_by_sdk(client: &Client, held: &BTreeMap<String, u64>) -> Self {
        Self::Sdk(Box::new(client.events_from(held.clone())))
    }

    /// What comes next. Nothing is lost when the future is dropped while it waits.
    pub(super) async fn next(&mut self) -> Vec<News> {
        match self {
            Self::Wire { frames, patience } => match timeout(*patience, frames.message()).await {
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
            vec![News::Word(format!("session {}", hello.session_id))]
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
        Some(
            Kind::Reply(_)
            | Kind::TokenExpiring(_)
            | Kind::Memberships(_)
            | Kind::Receipts(_)
            | Kind::Presence(_)
            | Kind::RoomPresence(_)
            | Kind::Typing(_)
            | Kind::Block(_),
        )
        | None => Vec::new(),
    }
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
        _ => News::Word("something that is new".into()),
    }
}
