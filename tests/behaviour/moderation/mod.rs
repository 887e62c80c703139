//! Keeping order: what moderators, users and admins of the project can do, and who cannot.

mod bans;
mod blocks;
mod input;
mod mutes;
mod replay;
mod reports;
mod slow_mode;

use std::time::Duration;

use prost_types::Timestamp;
use relay_proto::chat::v1::{self as wire, RoomEvent, room_event::Event};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::support::{Clients, Stream, error_of};

/// So long from now on.
fn in_millis(millis: i64) -> Timestamp {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let then = i64::try_from(now.as_millis()).unwrap() + millis;
    Timestamp { seconds: then.div_euclid(1_000), nanos: i32::try_from(then.rem_euclid(1_000)).unwrap() * 1_000_000 }
}

/// The reason of a refusal.
fn reason<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> String {
    error_of(&answer.unwrap_err()).1
}

/// The reason and the field of a refusal.
fn field<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> (Code, String, Vec<String>) {
    error_of(&answer.unwrap_err())
}

/// Refused for this reason, with a time to wait of at most this.
fn assert_waits<T: std::fmt::Debug>(answer: Result<Response<T>, Status>, reason: &str, at_most: Duration) {
    let status = answer.unwrap_err();
    assert_eq!(error_of(&status).1, reason);
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(wait > Duration::ZERO && wait <= at_most, "{wait:?}");
}

/// The next event, with its actor.
async fn next(stream: &mut Stream) -> (String, Event) {
    let RoomEvent { actor_id, event, .. } = stream.event().await;
    (actor_id, event.unwrap())
}

/// The direct room of two users.
async fn direct(clients: &mut Clients, other: &str) -> String {
    let request = wire::GetDirectRoomRequest { user_id: other.into() };
    clients.rooms.get_direct_room(request).await.unwrap().into_inner().room.unwrap().room.unwrap().room_id
}

fn ban_of(room: &str, user: &str) -> wire::BanMemberRequest {
    wire::BanMemberRequest { room_id: room.into(), user_id: user.into(), ..Default::default() }
}

fn unban_of(room: &str, user: &str) -> wire::UnbanMemberRequest {
    wire::UnbanMemberRequest { room_id: room.into(), user_id: user.into() }
}

fn mute_of(room: &str, user: &str, muted_until: Option<Timestamp>) -> wire::MuteMemberRequest {
    wire::MuteMemberRequest { room_id: room.into(), user_id: user.into(), muted_until }
}

fn join_of(room: &str) -> wire::JoinRoomRequest {
    wire::JoinRoomRequest { room_id: room.into() }
}

fn add_of(room: &str, users: &[&str]) -> wire::AddMembersRequest {
    let members = users.iter().map(|user| wire::NewMember { user_id: (*user).into(), role: 0 }).collect();
    wire::AddMembersRequest { room_id: room.into(), members }
}

fn edit_of(room: &str, seq: u64, text: &str) -> wire::EditMessageRequest {
    wire::EditMessageRequest { room_id: room.into(), seq, text: text.into(), ..Default::default() }
}

fn reaction(room: &str, seq: u64) -> wire::AddReactionRequest {
    wire::AddReactionRequest { room_id: room.into(), seq, emoji: "x".into() }
}

fn delete_of(room: &str, seq: u64, reason: &str) -> wire::DeleteMessageRequest {
    wire::DeleteMessageRequest { room_id: room.into(), seq, reason: reason.into() }
}

fn slow(room: &str, slow_mode_seconds: u32) -> wire::UpdateRoomRequest {
    let update_mask = Some(prost_types::FieldMask { paths: vec!["slow_mode_seconds".into()] });
    wire::UpdateRoomRequest { room_id: room.into(), update_mask, slow_mode_seconds, ..Default::default() }
}
