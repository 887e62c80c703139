//! Several nodes, and one part of them at a time that goes wrong. Each test has a PostgreSQL and a Redis for itself.
//!
//! Clients that hang up in the middle of a send are in `faults::hang_up`, which runs on groups of nodes as well.

mod cut_off;
mod killed;
mod lanes;
mod parts;
mod postgres;
mod redis;
mod swallowed;

use std::time::Duration;

use parts::{Crossing, Parts};

use super::traffic::{Plan, Traffic};

/// How late a message may be at another node while the bus is away: what is promised, and something for a busy machine.
const LATE: Duration = Duration::from_secs(5);
/// How often nodes with a good bus look into the database in tests where that counts (`chat.check_interval`).
const CHECK: Duration = Duration::from_secs(5);
