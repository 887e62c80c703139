//! Lanes: a sender numbers their messages, and they are written in this order.

mod bounds;
mod gaps;
mod order;
mod refused;
mod skips;
mod stops;

use relay_proto::chat::v1::{self as wire, SendMessageRequest, SendReceipt, SkipLaneRequest};
use tokio::task::JoinHandle;
use tonic::Status;

use crate::support::{Clients, Server, eventually, message};

/// A wait that no test outlasts.
const FOR_EVER: &[(&str, &str)] = &[("chat.lane_wait", "1m")];

/// The message `number` of a lane; its text says the number.
pub(crate) fn laned(room: &str, lane: &str, number: u64) -> SendMessageRequest {
    SendMessageRequest { lane_id: lane.into(), client_seq: number, ..message(room, &number.to_string()) }
}

/// Sends it, and answers when it is answered.
pub(crate) async fn send(clients: &Clients, request: SendMessageRequest) -> Result<SendReceipt, Status> {
    let mut chat = clients.chat.clone();
    chat.send_message(request).await.map(|answer| answer.into_inner().receipt.unwrap())
}

/// Sends it beside all else.
fn sending(clients: &Clients, request: SendMessageRequest) -> JoinHandle<Result<SendReceipt, Status>> {
    let clients = clients.clone();
    tokio::spawn(async move { send(&clients, request).await })
}

/// Declares numbers skipped; answers with what the lane expects next.
async fn skip(clients: &Clients, room: &str, lane: &str, first: u64, last: u64) -> Result<u64, Status> {
    let request =
        SkipLaneRequest { room_id: room.into(), lane_id: lane.into(), first_client_seq: first, last_client_seq: last };
    clients.chat.clone().skip_lane(request).await.map(|answer| answer.into_inner().next_client_seq)
}

/// The texts of a room, oldest first.
pub(crate) async fn texts(clients: &Clients, room: &str) -> Vec<String> {
    clients.clone().history(room).await.into_iter().map(|message| message.text).collect()
}

/// Where in their lanes the messages of a room stand, oldest first: the number, and how many before it were missing.
async fn places(clients: &Clients, room: &str) -> Vec<(u64, u64)> {
    let history = clients.clone().history(room).await;
    let place = |message: wire::Message| message.lane.map_or((0, 0), |lane| (lane.client_seq, lane.missing_before));
    history.into_iter().map(place).collect()
}

/// Waits until so many messages wait for others of their lane, on all nodes.
async fn until_waiting(server: &Server, count: f64) {
    eventually("messages to wait", async || server.metric("relay_lane_waiting").await == count).await;
}
