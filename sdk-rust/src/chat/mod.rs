//! Calls about rooms, members and messages.

mod history;
mod members;
mod message;
mod messages;
mod rooms;

pub use history::{History, HistoryPage};
pub use members::NewMember;
pub use message::{MessageRef, NewContent, OutgoingMessage};
pub use rooms::{NewRoom, RoomChanges};
