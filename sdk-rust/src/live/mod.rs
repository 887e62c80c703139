//! What a client says of its user while it is connected: receipts, typing, presence. And what it keeps of their blocks.

mod blocks;
mod presence;
mod receipts;
mod typing;
mod uplink;

pub use self::typing::TypingGuard;
pub(crate) use self::uplink::{Attached, Uplink};
use self::{blocks::Blocks, presence::Presence, receipts::Receipts, typing::Typing};

/// Shared by a client and its streams.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) uplink: Uplink,
    pub(crate) presence: Presence,
    pub(crate) blocks: Blocks,
    receipts: Receipts,
    typing: Typing,
}
