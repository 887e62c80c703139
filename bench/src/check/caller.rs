//! Calls as a careful client makes them: with a deadline, again on another node when there is no answer, and with the same
//! ids.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{Instant, sleep, timeout};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use super::cast::User;
use crate::error::Error;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long a call is tried. Nothing may keep a deployment from answering for longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);
/// The largest answer that is read.
const MAX_ANSWER: usize = 32 << 20;

/// A user's clients of all nodes.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) user: Arc<User>,
    channels: Vec<Channel>,
    token: MetadataValue<Ascii>,
    /// Whether it hangs up in mid-call now and then.
    hangs_up: bool,
}

/// The last answer to a call.
pub(super) struct Answer<A> {
    pub(super) result: Result<A, Refusal>,
    pub(super) node: usize,
    /// An attempt before it had no answer.
    pub(super) ambiguous: bool,
}

/// A final no.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// The name of the ErrorReason; empty if it is not Relay's.
    pub(super) reason: String,
    pub(super) text: String,
}

/// A method's path.
pub(super) type Path = &'static str;

pub(super) const SEND: Path = "/relay.chat.v1.ChatService/SendMessage";
pub(super) const SEND_BATCH: Path = "/relay.chat.v1.ChatService/SendMessages";
pub(super) const EDIT: Path = "/relay.chat.v1.ChatService/EditMessage";
pub(super) const DELETE: Path = "/relay.chat.v1.ChatService/DeleteMessage";
pub(super) const REACT: Path = "/relay.chat.v1.ChatService/AddReaction";
pub(super) const UNREACT: Path = "/relay.chat.v1.ChatService/RemoveReaction";
pub(super) const SKIP_LANE: Path = "/relay.chat.v1.ChatService/SkipLane";
pub(super) const UPDATE_RECEIPTS: Path = "/relay.chat.v1.ChatService/UpdateReceipts";
pub(super) const LIST_RECEIPTS: Path = "/relay.chat.v1.ChatService/ListReceipts";
pub(super) const GET_PRESENCE: Path = "/relay.chat.v1.PresenceService/GetPresence";
pub(super) const SET_PRESENCE: Path = "/relay.chat.v1.PresenceService/SetPresence";
pub(super) const LIST: Path = "/relay.chat.v1.ChatService/ListMessages";
pub(super) const CREATE_ROOM: Path = "/relay.chat.v1.RoomService/CreateRoom";
pub(super) const GET_ROOM: Path = "/relay.chat.v1.RoomService/GetRoom";
pub(super) const UPDATE_ROOM: Path = "/relay.chat.v1.RoomService/UpdateRoom";
pub(super) const JOIN: Path = "/relay.chat.v1.RoomService/JoinRoom";
pub(super) const LEAVE: Path = "/relay.chat.v1.RoomService/LeaveRoom";
pub(super) const ADD_MEMBERS: Path = "/relay.chat.v1.RoomService/AddMembers";
pub(super) const REMOVE_MEMBER: Path = "/relay.chat.v1.RoomService/RemoveMember";
pub(super) const LIST_MEMBERS: Path = "/relay.chat.v1.RoomService/ListMembers";

impl Caller {
    pub(super) fn new(user: &Arc<User>, urls: &[String], hangs_up: bool) -> Result<Self, Error> {
        let channels = urls.iter().map(|url| Ok(endpoint(url)?.connect_lazy())).collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { user: user.clone(), channels, token: bearer(user)?, hangs_up })
    }

    /// A node by chance.
    pub(super) fn any(&self, random: &mut Rng) -> usize {
        random.usize(0..self.channels.len())
    }

    /// Calls until there is a final answer. `None`: there was none in time.
    pub(super) async fn call<Q: Message + Clone + 'static, A: Message + Default + 'static>(
        &self,
        random: &mut Rng,
        path: Path,
        request: &Q,
    ) -> Option<Answer<A>> {
        let deadline = Instant::now() + PATIENCE;
        let mut ambiguous = false;
        if self.hangs_up && random.u8(0..12) == 0 {
            let brief = Duration::from_micros(random.u64(0..8_000));
            let node = self.any(random);
            if let Ok(Ok(answer)) = timeout(brief, self.once(node, path, request)).await {
                return Some(Answer { result: Ok(answer), node, ambiguous });
            }
            ambiguous = true;
        }
        while Instant::now() < deadline {
            let node = self.any(random);
            match timeout(ATTEMPT, self.once(node, path, request)).await {
                Ok(Ok(answer)) => return Some(Answer { result: Ok(answer), node, ambiguous }),
                Ok(Err(status)) => match final_refusal(&status) {
                    Some(refusal) => return Some(Answer { result: Err(refusal), node, ambiguous }),
                    None => ambiguous = true,
                },
                Err(_) => ambiguous = true,
            }
            sleep(Duration::from_millis(random.u64(20..200))).await;
        }
        None
    }

    /// Calls a node by chance once, and hangs up after `within`. Whatever came of it is lost on this caller.
    pub(super) async fn give_up<Q: Message + Clone + 'static, A: Message + Default + 'static>(
        &self,
        random: &mut Rng,
        path: Path,
        request: &Q,
        within: Duration,
    ) -> Option<A> {
        let node = self.any(random);
        timeout(within, self.once(node, path, request)).await.ok()?.ok()
    }

    /// Calls a certain node until it has a final answer.
    pub(super) async fn call_at<Q: Message + Clone + 'static, A: Message + Default + 'static>(
        &self,
        node: usize,
        path: Path,
        request: &Q,
    ) -> Option<Result<A, Refusal>> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match timeout(ATTEMPT, self.once(node, path, request)).await {
                Ok(Ok(answer)) => return Some(Ok(answer)),
                Ok(Err(status)) if final_refusal(&status).is_some() => return final_refusal(&status).map(Err),
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
        None
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.channels.len()
    }

    async fn once<Q: Message + Clone + 'static, A: Message + Default + 'static>(
        &self,
        node: usize,
        path: Path,
        message: &Q,
    ) -> Result<A, Status> {
        let mut client = Grpc::new(self.channels[node].clone()).max_decoding_message_size(MAX_ANSWER);
        let mut request = Request::new(message.clone());
        request.metadata_mut().insert("authorization", self.token.clone());
        request.set_timeout(ATTEMPT);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<Q, A>::default();
        Ok(client.unary(request, PathAndQuery::from_static(path), codec).await?.into_inner())
    }
}

/// The `authorization` of a user.
pub(super) fn bearer(user: &User) -> Result<MetadataValue<Ascii>, Error> {
    let value = format!("Bearer {}", user.token).parse();
    value.map_err(|_| Error::Usage("a token is no header value".into()))
}

/// How to reach a node.
pub(super) fn endpoint(url: &str) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| Error::Usage(format!("`{url}` is no URL")))?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(2))
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(3))
        .initial_stream_window_size(65_535)
        .tcp_nodelay(true))
}

/// The refusal in a status; `None`: it may work the next time.
pub(super) fn final_refusal(status: &Status) -> Option<Refusal> {
    let details = status.get_error_details();
    let reason = details.error_info().map_or_else(String::new, |info| info.reason.clone());
    let passes = match reason.as_str() {
        "OVERLOADED" | "DRAINING" | "STORAGE_UNAVAILABLE" | "DEADLINE_EXCEEDED" | "TOO_MANY_STREAMS" | "LANE_FULL" => {
            true
        }
        "" => matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal
        ),
        _ => false,
    };
    (!passes).then(|| Refusal { text: format!("{:?} {reason}: {}", status.code(), status.message()), reason })
}
