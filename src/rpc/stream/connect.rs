//! The upward half of Connect: the client's frames, read one by one and answered on its session.

use std::sync::Arc;

use relay_proto::chat::v1::{self as wire, ConnectRequest, connect_request::Frame, reply::Result as Outcome};
use tokio::sync::{Semaphore, oneshot};
use tonic::codec::Streaming;

use super::{Streams, not_open};
use crate::{
    chat::{Cursors, message::Receipt},
    error::{Error, Reason, Result},
    hub::Session,
    identity::Caller,
    rpc::{
        convert,
        status::{from_framework, to_wire},
    },
};

/// The most bytes of a request id.
const MAX_REQUEST_ID_BYTES: usize = 64;

/// `skip_lane` frames that are being done at once. They are counted apart from sends, which may be waiting for them.
const MAX_SKIPS_IN_FLIGHT: usize = 16;

/// Reads the client's frames until it says no more. The session goes on without them.
pub(super) async fn run(
    streams: Arc<Streams>,
    caller: Caller,
    mut requests: Streaming<ConnectRequest>,
    opened: oneshot::Sender<Result<Arc<Session>>>,
) {
    let opening = tokio::time::timeout(streams.open_timeout, open(&streams, &caller, &mut requests));
    let opening = streams.draining.run_until_set(opening).await;
    let session = match opening.map_or_else(|| Err(Error::draining()), |o| o.unwrap_or_else(|_| Err(not_open()))) {
        Ok(session) => session,
        Err(error) => return drop(opened.send(Err(error))),
    };
    if let Err(Ok(session)) = opened.send(Ok(session.clone())) {
        streams.hub.close(&session);
        return;
    }
    if let Err(error) = read(&streams, &session, &mut requests).await {
        session.end(error);
    }
}

async fn open(streams: &Streams, caller: &Caller, requests: &mut Streaming<ConnectRequest>) -> Result<Arc<Session>> {
    match next(requests).await? {
        Some(ConnectRequest { frame: Some(Frame::Open(open)), .. }) => streams.open(caller, open),
        _ => Err(Error::new(Reason::StreamNotOpen, "the first frame must be `open`")),
    }
}

/// The client's next frame; `None` when it closed its half, or is gone.
async fn next(requests: &mut Streaming<ConnectRequest>) -> Result<Option<ConnectRequest>> {
    requests.message().await.or_else(|status| from_framework(&status).map_or(Ok(None), Err))
}

/// Answers frames. An error of one frame is its answer; an error here ends the stream.
async fn read(streams: &Streams, session: &Arc<Session>, requests: &mut Streaming<ConnectRequest>) -> Result<()> {
    let in_flight = Arc::new(Semaphore::new(streams.max_sends_in_flight));
    let skips = Arc::new(Semaphore::new(MAX_SKIPS_IN_FLIGHT));
    loop {
        // A client that does not read its answers is not read either.
        session.wait_for_space().await;
        let received = tokio::select! {
            biased;
            () = session.over() => return Ok(()),
            received = next(requests) => received?,
        };
        let Some(ConnectRequest { request_id, frame }) = received else { return Ok(()) };
        if request_id.len() > MAX_REQUEST_ID_BYTES {
            let message = format!("has {} bytes, at most {MAX_REQUEST_ID_BYTES} are allowed", request_id.len());
            answer(session, String::new(), Err(Error::field("request_id", message)));
            continue;
        }
        match frame {
            Some(Frame::Send(message)) => send(streams, session, &in_flight, request_id, message).await,
            Some(Frame::Renew(renew)) => {
                answer(session, request_id, streams.renew(session, &renew.token).map(Outcome::Renewed));
            }
            Some(Frame::SkipLane(skip)) => skip_lane(streams, session, &skips, request_id, skip).await,
            Some(Frame::Open(_)) => {
                let error = Error::new(Reason::StreamAlreadyOpen, "the stream is open already");
                answer(session, request_id, Err(error));
            }
            // Boxed: the task of every stream that waits would be as large as the largest of these.
            other => confirm(session, request_id, Box::pin(state(streams, session, other)).await),
        }
    }
}

/// Does what a frame says of the caller's state.
async fn state(streams: &Streams, session: &Arc<Session>, frame: Option<Frame>) -> Result<()> {
    match frame {
        Some(Frame::SetPresence(change)) => streams.set_presence(session, change).await,
        Some(Frame::WatchPresence(watch)) => streams.watch(session, &watch).await,
        Some(Frame::SetTyping(typing)) => streams.typing(session, &typing).await,
        Some(Frame::UpdateReceipts(update)) => streams.update_receipts(session, update).await,
        _ => Err(Error::field("frame", "is empty, or of a kind that this server does not know")),
    }
}

async fn send(
    streams: &Streams,
    session: &Arc<Session>,
    in_flight: &Arc<Semaphore>,
    request_id: String,
    message: wire::SendMessageRequest,
) {
    // Never closed.
    let Ok(permit) = in_flight.clone().acquire_owned().await else { return };
    let sent = convert::new_message(message).and_then(|message| {
        let (to, request_id) = (session.clone(), request_id.clone());
        let reply = Box::new(move |outcome: Result<Receipt>| {
            answer(&to, request_id, outcome.map(|receipt| Outcome::Sent(convert::receipt(&receipt))));
            drop(permit);
        });
        streams.chat.send_with(session.owner().clone(), message, reply)
    });
    if let Err(error) = sent {
        answer(session, request_id, Err(error));
    }
}

/// Skips in a task of its own: what is read meanwhile need not wait for the commit.
async fn skip_lane(
    streams: &Streams,
    session: &Arc<Session>,
    skips: &Arc<Semaphore>,
    request_id: String,
    skip: wire::SkipLaneRequest,
) {
    // Never closed.
    let Ok(permit) = skips.clone().acquire_owned().await else { return };
    let (chat, session) = (streams.chat.clone(), session.clone());
    tokio::spawn(async move {
        let skipped = async {
            let (room, lane, numbers) = convert::lane_skip(skip)?;
            chat.skip_lane(session.owner().clone(), room, lane, numbers).await
        };
        let skipped = skipped.await.map(|next_client_seq| wire::LaneSkipped { next_client_seq });
        answer(&session, request_id, skipped.map(Outcome::LaneSkipped));
        drop(permit);
    });
}

/// Answers a frame after which there is nothing to say, unless it failed or the client wants to know.
fn confirm(session: &Session, request_id: String, outcome: Result<()>) {
    if outcome.is_err() || !request_id.is_empty() {
        answer(session, request_id, outcome.map(|()| Outcome::Done(wire::Done {})));
    }
}

fn answer(session: &Session, request_id: String, outcome: Result<Outcome>) {
    let outcome = outcome.unwrap_or_else(|error| Outcome::Error(to_wire(&error)));
    session.push(convert::reply(request_id, outcome));
}

impl Streams {
    async fn typing(&self, session: &Session, request: &wire::SetTypingRequest) -> Result<()> {
        self.typing.set_on(session, convert::room_id(&request.room_id)?, request.typing).await
    }

    async fn set_presence(&self, session: &Session, request: wire::SetPresenceRequest) -> Result<()> {
        self.presence.set_on(session, convert::presence_change(request)?).await
    }

    async fn watch(&self, session: &Session, watch: &wire::WatchPresence) -> Result<()> {
        self.presence.watch(session, convert::watched(watch)?).await
    }

    /// Moves cursors; mostly without the database.
    async fn update_receipts(&self, session: &Session, update: wire::UpdateReceiptsRequest) -> Result<()> {
        let room = convert::room_id(&update.room_id)?;
        let (delivered, read) = (update.delivered_seq, update.read_seq);
        let key = session.owner().room(room.clone());
        match self.chat.receipts().report_followed(session, &key, Cursors::new(delivered, read)) {
            Some(outcome) => outcome,
            None => self.chat.update_receipts(session.owner(), room, delivered, read).await.map(drop),
        }
    }

    /// Lets a session live as long as a new token of the same user.
    fn renew(&self, session: &Session, token: &str) -> Result<wire::TokenRenewed> {
        let caller = self.tokens.verify(token)?;
        if caller.user != *session.owner() {
            return Err(Error::new(Reason::TokenInvalid, "the token is another user's than the stream"));
        }
        if !session.renew(caller.expires_at) {
            return Err(Error::new(Reason::SessionNotFound, "the stream is ending"));
        }
        Ok(wire::TokenRenewed { expires_at: Some(convert::expires(caller.expires_at)) })
    }
}
