//! What goes wrong around a chat server, and what it and its clients make of it.

mod chat_example;
mod cluster;
mod drain;
mod hang_up;
mod kill;
mod sdk;
mod sdk_calls;
mod sdk_live;
mod sdk_outbox;
mod stalled;
mod traffic;
