//! The wire's types to the domain's, and back. Wire types stop here and in the service files beside it.

mod encode;
mod incoming;
mod outgoing;

pub use encode::WireEncoder;
pub(super) use encode::reply;
pub(super) use incoming::{
    content, emoji, new_member, new_message, page_size, positions, profile_change, project_room, role, room_id,
    room_kind, seq, session_id, user_id,
};
pub(super) use outgoing::{expires, member, message, receipt, reacted, room, summary, timestamp};
