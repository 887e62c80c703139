//! What Relay does, seen from outside: real server processes, real clients, one module a behaviour.

mod support;

mod auth;
mod bad_input;
mod config;
mod http;
mod idempotency;
mod isolation;
mod limits;
mod members;
mod messages;
mod policy;
mod reactions;
mod rooms;
mod streams;
