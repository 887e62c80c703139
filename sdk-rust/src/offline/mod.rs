//! Chat without a connection: a durable outbox, and a cache of what was seen. Feature `sqlite`.
mod fate;
mod outbox;
mod queue;
mod store;

pub use self::{
    outbox::{Outbox, OutboxChange, OutboxState},
    queue::{Pending, Refusal},
    store::Store,
};
