//! Relay: one server for conversations and notifications.
//!
//! The house, one line a room; docs/ARCHITECTURE.md walks through it:
//!
//! - [`app`] puts everything together; the only room that may import all others.
//! - [`lifecycle`] knows how a process starts, drains and ends.
//! - [`rpc`] is all that knows the wire.
//! - [`identity`] turns credentials into callers.
//! - [`chat`] is rooms, messages and the streams that carry them.
//! - [`hub`] is who is connected to this node, and what waits for them.
//! - [`bus`] is what nodes tell each other.
//! - [`db`] is the database, whichever it is.
//! - [`config`], [`error`], [`id`], [`clock`], [`telemetry`] are what everybody uses.

pub mod app;
pub mod bus;
pub mod chat;
pub mod clock;
pub mod config;
pub mod db;
pub mod error;
pub mod hub;
pub mod id;
pub mod identity;
pub mod lifecycle;
pub mod rpc;
pub mod telemetry;
