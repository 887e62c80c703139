//! Calls about rooms, members and messages.

mod history;
mod members;
mod mention;
mod message;
mod messages;
mod moderation;
mod pins;
mod receipts;
mod reports;
mod rooms;
mod search;
mod settings;

pub use history::{History, HistoryPage};
pub use members::NewMember;
pub use message::{MessageRef, NewContent, OutgoingMessage};
pub use rooms::{NewRoom, RoomChanges};
pub use search::Search;
pub use settings::SettingsChanges;
