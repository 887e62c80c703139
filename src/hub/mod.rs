//! Who is connected to this node, and what waits for them. Frames are opaque bytes, encoded once and shared.
//!
//! # Contract
//! - A [`Session`] gets the frames of a [`Topic`] in the order of their positions, each once, or is marked *behind* and
//!   gets them from the log: [`Hub::publish`] never blocks and never drops for a slow reader.
//! - For one topic, `publish` is called by one task at a time, in the order of positions and without holes; what must be
//!   left out is told by [`Hub::skip_to`].
//! - A session's queue is bounded in bytes: events that would pass the bound are not queued, the session falls behind
//!   instead. A reader to whom nothing is queued takes one batch of any size.
//! - A [`State`] tells how something is now. It is no event: it has no position, overtakes the events that wait, and of
//!   several of one key only the newest is sent.
//! - Locks are taken in the order session topics, channel, session queue, and never held across an await.

mod batch;
mod channel;
mod following;
pub mod names;
mod queue;
mod registry;
mod session;
mod watching;

pub use batch::Batch;
pub use channel::{Advance, Behind, Step, Topic};
pub use following::Followed;
pub use queue::{State, StateKey};
pub use registry::{Attendance, Devices, Due, Hub, HubOptions, OnAttendance, OnBehind};
pub use session::{Session, SessionId};
