//! Client of Relay: rooms, messages, and an event stream that resumes by itself.
//!
//! A [`Client`] is made with an address and a token, and calls the server. [`Client::events`] opens the stream of
//! everything that happens in the user's rooms: each event once and in order, across lost connections and restarts of
//! the server. A [`send`](Client::send) is tried until its answer is final, and written once.
//!
//! ```no_run
//! use relay_sdk::{Client, Event, NewRoom, OutgoingMessage, RoomEventKind};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), relay_sdk::Error> {
//!     let client = Client::builder("http://127.0.0.1:8080").token("ey...").build()?;
//!     client.create_room(NewRoom::public("general").title("General")).await?;
//!
//!     let mut events = client.events();
//!     while let Some(event) = events.next().await {
//!         if matches!(event?, Event::CaughtUp) {
//!             break; // From here on nothing is missed.
//!         }
//!     }
//!     client.send(OutgoingMessage::text("general", "hi")).await?;
//!     while let Some(event) = events.next().await {
//!         if let Event::Room(event) = event? && let RoomEventKind::MessageCreated(message) = event.kind {
//!             println!("{}: {}", message.sender_id, message.text);
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! What makes it a chat beside messages: [`mark_read`](Client::mark_read) and [`Unread`] for receipts and counts,
//! [`typing`](Client::typing), [`watch_presence`](Client::watch_presence), [`search`](Client::search), mentions by
//! [`OutgoingMessage::mention`], pins, bans, mutes and blocks. With the feature `sqlite` the module `offline` keeps what is
//! to be sent and what was seen in a file.
//!
//! Types of the contract that need no wrapping ([`Message`], [`Room`], [`Member`], …) are those of `relay-proto`, whose
//! comments are the reference of every limit. With the feature `tls` addresses may be `https`.

mod backoff;
mod builder;
mod call;
mod chat;
mod client;
mod error;
mod events;
#[cfg(test)]
mod fixtures;
mod live;
#[cfg(feature = "sqlite")]
pub mod offline;
mod page;
mod retry;
mod token;
mod unread;

pub use prost_types::Timestamp;
pub use relay_proto::chat::v1::{
    Attachment, Ban, Highlight, LanePlace, Member, MemberRole, MembershipState, Mention, MentionRoom, Message,
    MessageState, MessageStatus, PingResponse, PinnedMessage, PresenceState, ReactionSummary, Receipt, Report,
    ReportCategory, ReportState, Room, RoomKind, RoomPresence, RoomScope, RoomSettings, RoomSummary, SearchResult,
    SendReceipt, UserPresence, mention::Target as MentionTarget,
};

pub use self::{
    builder::ClientBuilder,
    chat::{
        History, HistoryPage, MessageRef, NewContent, NewMember, NewRoom, OutgoingMessage, RoomChanges, Search,
        SettingsChanges,
    },
    client::Client,
    error::{Error, ErrorKind, ErrorReason, FieldViolation},
    events::{
        DisconnectReason, Event, Events, Positions, ReceiptsChanged, ResumeVerdict, RoomEvent, RoomEventKind,
        RoomResume, Session, TypingChanged,
    },
    live::TypingGuard,
    page::{Items, Page},
    token::{TokenError, TokenFuture, TokenProvider},
    unread::{Unread, UnreadRoom},
};
