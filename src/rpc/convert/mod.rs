//! The wire's types to the domain's, and back. Wire types stop here and in the service files beside it.

mod encode;
mod incoming;
mod outgoing;

pub use encode::WireEncoder;
pub(super) use encode::reply;
pub(super) use incoming::{
    content, new_member, new_message, optional, page_size, positions, presence_change, profile_change, role, room_id,
    room_kind, seq, session_id, upwards, user_id, user_ids, watched,
};
pub(super) use outgoing::{expires, member, message, presence, reacted, receipt, room, summary, timestamp};
