//! The log's writing side: everything that changes a room goes through here, is numbered, and is committed together with
//! whatever else waits.
//!
//! # Contract
//! - A write is answered after its transaction has committed; never before.
//! - Each room's `seq` and `position` are 1, 2, 3, … without holes: they are given in the transaction that writes the row.
//! - Writes to one room are made in the order in which they came in. What is committed is published in that order, after
//!   the answers were given, and before anything of the next transaction on the room.
//! - A write that was taken in runs to its end, whether or not anybody still waits for the answer.
//! - What waits is bounded in bytes and in number; beyond it writes are refused with OVERLOADED, and nothing is written.
//! - Messages of a lane are written in the order of their numbers, whatever order they come in and to which nodes: one that
//!   comes early waits for those before it, a bounded time and within bounds of its own (`LANE_FULL`), and is written then.

mod appender;
mod mentions;
mod places;
mod restrictions;
mod sends;
mod unit;
mod waiting;

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

pub use appender::{Appender, LogOptions};
use futures_util::future::BoxFuture;
pub(super) use mentions::{replace_mentions, require_mentioned};
pub(super) use restrictions::{refuse_blocked, refuse_muted};
pub(super) use sends::not_a_member;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::Instant,
};
pub(super) use unit::Unit;

use super::{
    lane::LaneKey,
    message::{NewMessage, Receipt},
};
use crate::{
    error::{Error, Result},
    id::{RoomKey, UserKey},
};

/// Called with the outcome of a send, once, after the commit. It must not block.
pub type Reply = Box<dyn FnOnce(Result<Receipt>) + Send + Sync>;

/// Bytes that a write other than a send counts for beside what it holds.
const OPERATION_WEIGHT: usize = 1_024;
/// Bytes that a send counts for beside its content.
const SEND_WEIGHT: usize = 512;

/// A handle on the log; clones write to the same.
#[derive(Clone)]
pub struct Log {
    /// One for each appender. All writes to a room go to the same.
    queues: Arc<[mpsc::Sender<Job>]>,
    hasher: RandomState,
    budget: Arc<Semaphore>,
    lane_wait: Duration,
}

enum Job {
    Send(Box<PendingSend>),
    Operation(PendingOperation),
}

struct PendingOperation {
    operation: Box<dyn Operation>,
    /// The room that it is about to change.
    room: Option<RoomKey>,
    _permit: OwnedSemaphorePermit,
}

struct PendingSend {
    sender: UserKey,
    message: NewMessage,
    fingerprint: Vec<u8>,
    reply: Reply,
    /// Its bytes in the queue; or, once it waits for others of its lane, among those that do. Held until the answer is given.
    permit: OwnedSemaphorePermit,
    /// The lane that it is numbered in.
    lane: Option<LaneKey>,
    /// How long it waits for others of its lane.
    until: Instant,
    /// It has waited for others, or does.
    admitted: bool,
    /// It waits for others no more.
    pass: bool,
}

/// Runs in a transaction, and anew in another if the first came to nothing; its last outcome answers the caller, once it
/// is known how the transaction ended.
trait Operation: Send {
    /// Answers whether it failed.
    fn run<'u>(&'u mut self, unit: &'u mut Unit) -> BoxFuture<'u, bool>;
    /// Answers the caller with the outcome, or with the transaction's error.
    fn answer(self: Box<Self>, commit: &Result<()>);
}

impl Log {
    /// Sends a message; `reply` gets the outcome. Checks nothing but that there is room to wait.
    ///
    /// # Errors
    /// OVERLOADED, DRAINING: `reply` is not called then.
    pub fn send(&self, sender: UserKey, message: NewMessage, reply: Reply) -> Result<()> {
        let permit = self.reserve(SEND_WEIGHT + message.content.weight())?;
        let fingerprint = message.fingerprint();
        let lane = message.lane.as_ref().map(|number| LaneKey {
            room: sender.room(message.room.clone()),
            sender: sender.user.clone(),
            lane: number.lane.clone(),
        });
        let until = Instant::now() + self.lane_wait;
        let (admitted, pass) = (false, false);
        let send = PendingSend { sender, message, fingerprint, reply, permit, lane, until, admitted, pass };
        self.enqueue(Job::Send(Box::new(send)))
    }

    /// Runs `operation`, which holds about `weight` bytes, in a transaction, and answers with what it returns, after the
    /// commit. If it fails, nothing of it is written. `room` is the one that it changes; without one, it makes no events.
    ///
    /// # Errors
    /// The operation's own, and OVERLOADED, DRAINING, STORAGE_UNAVAILABLE.
    pub(super) async fn write<T, F>(&self, room: Option<RoomKey>, weight: usize, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'u> FnOnce(&'u mut Unit) -> BoxFuture<'u, Result<T>> + Clone + Send + 'static,
    {
        let permit = self.reserve(OPERATION_WEIGHT + weight)?;
        let (answer, answered) = oneshot::channel();
        let operation = Box::new(Pending { operation, outcome: None, answer });
        self.enqueue(Job::Operation(PendingOperation { operation, room, _permit: permit }))?;
        answered.await.unwrap_or_else(|_| Err(Error::draining()))
    }

    fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.budget.clone().try_acquire_many_owned(bytes).map_err(|_| overloaded())
    }

    fn enqueue(&self, job: Job) -> Result<()> {
        let queue = match job.room() {
            Some(room) => &self.queues[(self.hasher.hash_one(&room) % self.queues.len() as u64) as usize],
            None => &self.queues[0],
        };
        queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => overloaded(),
            mpsc::error::TrySendError::Closed(_) => Error::draining(),
        })
    }
}

impl PendingSend {
    /// Its number in its lane.
    fn number(&self) -> Option<u64> {
        self.message.lane.as_ref().map(|lane| lane.number)
    }

    /// Whether both carry the same id of the same sender.
    fn is_same(&self, other: &Self) -> bool {
        self.message.client_message_id == other.message.client_message_id && self.sender == other.sender
    }
}

fn overloaded() -> Error {
    Error::overloaded("more is waiting to be written than the server holds")
}

struct Pending<T, F> {
    operation: F,
    outcome: Option<Result<T>>,
    answer: oneshot::Sender<Result<T>>,
}

impl<T, F> Operation for Pending<T, F>
where
    T: Send + 'static,
    F: for<'u> FnOnce(&'u mut Unit) -> BoxFuture<'u, Result<T>> + Clone + Send + 'static,
{
    fn run<'u>(&'u mut self, unit: &'u mut Unit) -> BoxFuture<'u, bool> {
        let running = self.operation.clone()(unit);
        Box::pin(async move {
            let outcome = running.await;
            let failed = outcome.is_err();
            self.outcome = Some(outcome);
            failed
        })
    }

    fn answer(self: Box<Self>, commit: &Result<()>) {
        let Self { outcome, answer, .. } = *self;
        let never_ran = || Err(Error::internal(&"an operation was committed that never ran"));
        // A caller that hung up does not need it.
        let _ = answer.send(commit.clone().and_then(|()| outcome.unwrap_or_else(never_ran)));
    }
}
