//! What Relay does, seen from outside: real server processes, real clients, one module a behaviour.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod support;

mod auth;
mod bad_input;
mod cluster;
mod config;
mod faults;
mod frames;
mod http;
mod idempotency;
mod isolation;
mod lanes;
mod limits;
mod malformed;
mod members;
mod messages;
mod moderation;
mod nodes;
mod pins;
mod policy;
mod postgres;
mod presence;
mod reactions;
mod receipts;
mod rooms;
mod search;
mod streams;
mod typing;
