//! The wire's types to the domain's, and back. Wire types stop here and in the service files beside it.

mod encode;
mod incoming;
mod moderation;
mod outgoing;
mod presence;
mod receipts;
mod search;

pub use encode::WireEncoder;
pub(super) use encode::reply;
pub(super) use incoming::{
    content, lane_skip, new_member, new_message, optional, page_size, positions, profile_change, role, room_id,
    room_kind, seq, session_id, upwards, user_id,
};
pub(super) use moderation::{ban, category, moment, pinned, report, report_id, resolved};
pub(super) use outgoing::{expires, member, message, reacted, receipt, room, summary, timestamp};
pub(super) use presence::{presence, presence_change, user_ids, watched};
pub(super) use receipts::{membership, receipt_of, settings_change, status};
pub(super) use search::{hit, search};
