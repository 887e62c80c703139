//! How far members have got and read, whom messages mention, and what members set for their rooms.

mod bad_input;
mod counts;
mod device;
mod listing;
mod mentions;
mod outages;
mod plans;
mod settings;
mod told;
mod written;

use relay_proto::chat::v1::{
    self as wire, MembershipState, Mention, Receipt, SendMessageRequest, connect_request::Frame as Up, frame::Kind,
    mention::Target,
};

use crate::support::{Clients, Stream, message};

/// Receipts are written and told almost at once.
const SOON: (&str, &str) = ("chat.receipt_interval", "50ms");

/// A report of cursors.
fn report(room: &str, delivered_seq: u64, read_seq: u64) -> wire::UpdateReceiptsRequest {
    wire::UpdateReceiptsRequest { room_id: room.into(), delivered_seq, read_seq }
}

/// Reads a room up to a message, by a call; answers how the reader stands.
async fn read(clients: &mut Clients, room: &str, seq: u64) -> MembershipState {
    clients.chat.update_receipts(report(room, 0, seq)).await.unwrap().into_inner().state.unwrap()
}

/// Has got a room's messages up to one.
async fn get(clients: &mut Clients, room: &str, seq: u64) {
    clients.chat.update_receipts(report(room, seq, 0)).await.unwrap();
}

/// Reads a room up to a message, by a frame that is answered.
async fn read_by_frame(stream: &mut Stream, room: &str, seq: u64) {
    let id = format!("read {room} {seq}");
    stream.send(&id, Up::UpdateReceipts(report(room, 0, seq))).await;
    assert!(matches!(stream.reply(&id).await, wire::reply::Result::Done(_)));
}

/// How a user stands in a room, asked anew.
async fn state(clients: &mut Clients, room: &str) -> MembershipState {
    let request = wire::GetRoomRequest { room_id: room.into() };
    clients.rooms.get_room(request).await.unwrap().into_inner().room.unwrap().state.unwrap()
}

/// All cursors of a room: who, got, read.
async fn cursors(clients: &mut Clients, room: &str) -> Vec<(String, u64, u64)> {
    let request = wire::ListReceiptsRequest { room_id: room.into(), page_size: 500, ..Default::default() };
    let page = clients.chat.list_receipts(request).await.unwrap().into_inner();
    assert_eq!(page.next_page_token, "");
    page.receipts.into_iter().map(plain).collect()
}

fn plain(receipt: Receipt) -> (String, u64, u64) {
    (receipt.user_id, receipt.delivered_seq, receipt.read_seq)
}

/// The next frame of receipts; others are passed over.
async fn receipts(stream: &mut Stream) -> wire::ReceiptsChanged {
    loop {
        if let Kind::Receipts(receipts) = stream.next_told().await {
            return receipts;
        }
    }
}

/// Reads frames until one tells these cursors of a user.
async fn told(stream: &mut Stream, user: &str, delivered: u64, read: u64) {
    loop {
        let frame = receipts(stream).await;
        let of_user = frame.receipts.into_iter().find(|receipt| receipt.user_id == user);
        if of_user.is_some_and(|receipt| receipt.delivered_seq == delivered && receipt.read_seq == read) {
            return;
        }
    }
}

/// Reads frames until one tells how the user stands in a room, and `wanted` holds of it.
async fn stands(stream: &mut Stream, room: &str, wanted: impl Fn(&MembershipState) -> bool) -> MembershipState {
    loop {
        if let Kind::Memberships(frame) = stream.next_told().await
            && let Some(state) = frame.memberships.into_iter().find(|state| state.room_id == room && wanted(state))
        {
            return state;
        }
    }
}

/// Who is mentioned; an empty name is everyone.
fn target(user: &str) -> Option<Target> {
    Some(match user {
        "" => Target::Room(wire::MentionRoom {}),
        user => Target::UserId(user.into()),
    })
}

/// A message that mentions these users, one after the other.
fn mentioning(room: &str, users: &[&str]) -> SendMessageRequest {
    let mentions = users.iter().enumerate().map(|(i, user)| Mention {
        offset: u32::try_from(i).unwrap() * 2,
        length: 1,
        target: target(user),
    });
    SendMessageRequest { mentions: mentions.collect(), ..message(room, &"@ ".repeat(users.len().max(1))) }
}

/// Sends it.
async fn send(clients: &mut Clients, message: SendMessageRequest) -> u64 {
    clients.chat.send_message(message).await.unwrap().into_inner().receipt.unwrap().seq
}
