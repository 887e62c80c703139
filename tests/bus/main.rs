//! What the bus promises, by behaviour, against real Redis servers, which each test starts for itself. One file a topic.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod deafness;
mod delivery;
mod forms;
mod kept;
mod limits;
mod local;
mod opening;
mod outages;
mod support;
