//! The log's writing side: everything that changes a room goes through here, is numbered, and is committed together with
//! whatever else waits.
//!
//! # Contract
//! - A write is answered after its transaction has committed; never before.
//! - Each room's `seq` and `position` are 1, 2, 3, … without holes: they are given in the transaction that writes the row.
//! - Writes are made in the order in which they came in. What is committed is published in that order in each room,
//!   after the answers were given, and before anything of the next transaction.
//! - A write that was taken in runs to its end, whether or not anybody still waits for the answer.
//! - What waits is bounded in bytes and in number; beyond it writes are refused with OVERLOADED, and nothing is written.

mod appender;
mod sends;
mod unit;

use std::{sync::Arc, time::Duration};

pub use appender::{Appender, LogOptions};
use futures_util::future::BoxFuture;
pub(super) use sends::not_a_member;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
pub(super) use unit::Unit;

use super::message::{NewMessage, Receipt};
use crate::{
    error::{Error, Reason, Result},
    id::UserKey,
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
    queue: mpsc::Sender<Job>,
    budget: Arc<Semaphore>,
}

enum Job {
    Send(Box<PendingSend>),
    Operation(Box<dyn Operation>, OwnedSemaphorePermit),
}

struct PendingSend {
    sender: UserKey,
    message: NewMessage,
    fingerprint: Vec<u8>,
    reply: Reply,
    permit: OwnedSemaphorePermit,
}

/// Runs in a transaction; what it returns answers the caller, once it is known how the transaction ended.
trait Operation: Send {
    fn run<'u>(self: Box<Self>, unit: &'u mut Unit) -> BoxFuture<'u, Box<dyn Answer>>;
    /// It never ran.
    fn refuse(self: Box<Self>, error: Error);
}

/// An answer that waits for the commit.
trait Answer: Send {
    fn failed(&self) -> bool;
    fn give(self: Box<Self>, commit: Result<()>);
}

impl Log {
    /// Sends a message; `reply` gets the outcome. Checks nothing but that there is room to wait.
    ///
    /// # Errors
    /// OVERLOADED, DRAINING: `reply` is not called then.
    pub fn send(&self, sender: UserKey, message: NewMessage, reply: Reply) -> Result<()> {
        let permit = self.reserve(SEND_WEIGHT + message.content.weight())?;
        let fingerprint = message.fingerprint();
        let send = PendingSend { sender, message, fingerprint, reply, permit };
        self.enqueue(Job::Send(Box::new(send)))
    }

    /// Runs `operation`, which holds about `weight` bytes, in a transaction, and answers with what it returns, after the
    /// commit. If it fails, nothing of it is written.
    ///
    /// # Errors
    /// The operation's own, and OVERLOADED, DRAINING, STORAGE_UNAVAILABLE.
    pub(super) async fn write<T, F>(&self, weight: usize, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'u> FnOnce(&'u mut Unit) -> BoxFuture<'u, Result<T>> + Send + 'static,
    {
        let permit = self.reserve(OPERATION_WEIGHT + weight)?;
        let (answer, answered) = oneshot::channel();
        self.enqueue(Job::Operation(Box::new(Pending { operation, answer }), permit))?;
        answered.await.unwrap_or_else(|_| Err(Error::draining()))
    }

    fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.budget.clone().try_acquire_many_owned(bytes).map_err(|_| overloaded())
    }

    fn enqueue(&self, job: Job) -> Result<()> {
        self.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => overloaded(),
            mpsc::error::TrySendError::Closed(_) => Error::draining(),
        })
    }
}

fn overloaded() -> Error {
    let message = "more is waiting to be written than the server holds";
    Error::retryable(Reason::Overloaded, message, Duration::from_millis(500))
}

struct Pending<T, F> {
    operation: F,
    answer: oneshot::Sender<Result<T>>,
}

struct Outcome<T> {
    result: Result<T>,
    answer: oneshot::Sender<Result<T>>,
}

impl<T, F> Operation for Pending<T, F>
where
    T: Send + 'static,
    F: for<'u> FnOnce(&'u mut Unit) -> BoxFuture<'u, Result<T>> + Send + 'static,
{
    fn run<'u>(self: Box<Self>, unit: &'u mut Unit) -> BoxFuture<'u, Box<dyn Answer>> {
        let Self { operation, answer } = *self;
        let running = operation(unit);
        Box::pin(async move { Box::new(Outcome { result: running.await, answer }) as Box<dyn Answer> })
    }

    fn refuse(self: Box<Self>, error: Error) {
        // A caller that hung up does not need it.
        let _ = self.answer.send(Err(error));
    }
}

impl<T: Send> Answer for Outcome<T> {
    fn failed(&self) -> bool {
        self.result.is_err()
    }

    fn give(self: Box<Self>, commit: Result<()>) {
        let _ = self.answer.send(commit.and(self.result));
    }
}
