//! The task that writes: it takes everything that queued up while the last commit ran, and commits it together.

use std::{hash::RandomState, sync::Arc, time::Duration};

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Job, Log, Operation, PendingSend, sends, unit::Unit};
use crate::{
    chat::{Receipts, event::Event, message::Receipt, store},
    clock::Clock,
    db::Db,
    error::{Error, Result},
    id::RoomKey,
    telemetry::Metrics,
};

/// Writes that wait, in number. Their bytes are bounded by [`LogOptions::queue_bytes`].
const QUEUE_JOBS: usize = 65_536;

/// How often a transaction in doubt is asked for.
const SETTLE_INTERVAL: Duration = Duration::from_millis(250);

/// The log's limits.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Bytes that wait.
    pub queue_bytes: usize,
    /// Writes in one transaction.
    pub batch: usize,
    /// Transactions at once. Each room has its place in one of them.
    pub appenders: usize,
}

/// Owns a queue's end. [`Appender::run`] is the one task that writes to the rooms whose writes come through it.
pub struct Appender {
    queue: mpsc::Receiver<Job>,
    options: LogOptions,
    db: Db,
    clock: Arc<dyn Clock>,
    committed: mpsc::Sender<Vec<Event>>,
    metrics: Arc<Metrics>,
    receipts: Receipts,
    /// The events of a transaction of which nobody knows whether it was committed: the connection broke in between.
    in_doubt: Vec<Event>,
}

/// What became of a batch.
enum Outcome {
    /// It is on disk: the receipts of its sends, in order, and its events.
    Committed(Vec<Result<Receipt>>, Vec<Event>),
    /// Nothing of it is, and nothing will be. `again`: it may go better at once.
    Failed { error: Error, again: bool },
    /// It may be; these are its events.
    InDoubt(Error, Vec<Event>),
}

impl Appender {
    /// A log that writes to `db` and hands what it committed to `committed`, in each room in order.
    pub fn new(
        options: LogOptions,
        db: Db,
        clock: Arc<dyn Clock>,
        committed: mpsc::Sender<Vec<Event>>,
        metrics: Arc<Metrics>,
        receipts: Receipts,
    ) -> (Log, Vec<Self>) {
        let (queues, ends): (Vec<_>, Vec<_>) = (0..options.appenders.max(1)).map(|_| mpsc::channel(QUEUE_JOBS)).unzip();
        let budget = Arc::new(Semaphore::new(options.queue_bytes));
        let log = Log { queues: queues.into(), hasher: RandomState::new(), budget };
        let appender = |queue| Self {
            queue,
            options: options.clone(),
            db: db.clone(),
            clock: clock.clone(),
            committed: committed.clone(),
            metrics: metrics.clone(),
            receipts: receipts.clone(),
            in_doubt: Vec::new(),
        };
        (log, ends.into_iter().map(appender).collect())
    }

    /// Writes until `stop`, and then whatever was taken in before it.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut jobs = Vec::with_capacity(self.options.batch);
        loop {
            let received = tokio::select! {
                biased;
                received = self.queue.recv_many(&mut jobs, self.options.batch) => received,
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
                () = tokio::time::sleep(SETTLE_INTERVAL), if !self.in_doubt.is_empty() => {
                    // What is still in doubt is asked for again.
                    let _ = self.settle().await;
                    continue;
                }
            };
            if received == 0 {
                return;
            }
            self.write(std::mem::take(&mut jobs)).await;
        }
    }

    async fn write(&mut self, mut jobs: Vec<Job>) {
        let started = std::time::Instant::now();
        let size = jobs.len();
        let outcome = match self.settle().await {
            Ok(()) => match self.attempt(&mut jobs).await {
                Outcome::Failed { again: true, .. } => self.attempt(&mut jobs).await,
                outcome => outcome,
            },
            Err(error) => Outcome::Failed { error, again: false },
        };
        self.metrics.commits.observe(started.elapsed().as_secs_f64());
        self.metrics.commit_size.observe(size as f64);
        match outcome {
            Outcome::Committed(receipts, events) => {
                // Before the answers: whoever has one sees their own message as read.
                self.receipts.committed(&events);
                answer(jobs, Ok(receipts));
                self.publish(events).await;
            }
            Outcome::Failed { error, .. } => answer(jobs, Err(error)),
            Outcome::InDoubt(error, events) => {
                answer(jobs, Err(error));
                self.in_doubt = events;
            }
        }
    }

    /// Does all jobs in one transaction. What it did is undone if it fails, so it may be called again with the same jobs.
    async fn attempt(&self, jobs: &mut [Job]) -> Outcome {
        let failed = |error| Outcome::Failed { error, again: false };
        let mut unit = match Unit::begin(&self.db, self.clock.now()).await {
            Ok(unit) => unit,
            Err(error) => return failed(error),
        };
        match fill(&mut unit, jobs).await {
            Ok(receipts) => match unit.finish().await {
                Ok((tx, events)) => match tx.commit().await {
                    Ok(()) => Outcome::Committed(receipts, events),
                    Err(error) => Outcome::InDoubt(error, events),
                },
                Err(error) => failed(error),
            },
            Err(error) => Outcome::Failed { error, again: unit.tx.collided() },
        }
    }

    /// Finds out what became of a transaction whose end nobody saw: its events stand in the log, all or none.
    async fn settle(&mut self) -> Result<()> {
        let Some(first) = self.in_doubt.first() else { return Ok(()) };
        let mut tx = self.db.begin().await?;
        let committed = store::events::is_written(&mut tx, first).await?;
        tx.commit().await?;
        let events = std::mem::take(&mut self.in_doubt);
        tracing::info!(committed, events = events.len(), "settled a transaction that was in doubt");
        if committed {
            self.receipts.committed(&events);
            self.publish(events).await;
        }
        Ok(())
    }

    async fn publish(&self, events: Vec<Event>) {
        if !events.is_empty() && self.committed.send(events).await.is_err() {
            tracing::error!("the publisher is gone");
        }
    }
}

/// Runs all jobs in the unit; answers with the receipts of the sends, in order. An error is the database's.
async fn fill(unit: &mut Unit, jobs: &mut [Job]) -> Result<Vec<Result<Receipt>>> {
    unit.lock(jobs.iter().filter_map(Job::room).collect()).await?;
    let mut receipts = Vec::new();
    for run in jobs.chunk_by_mut(|a, b| matches!((a, b), (Job::Send(_), Job::Send(_)))) {
        if let [Job::Operation(pending)] = run {
            run_operation(unit, &mut *pending.operation).await?;
        } else {
            let sends: Vec<&PendingSend> = run.iter().filter_map(Job::as_send).collect();
            receipts.extend(sends::run(unit, &sends).await?);
        }
    }
    Ok(receipts)
}

/// Runs an operation; if it fails, as if it never had.
async fn run_operation(unit: &mut Unit, operation: &mut dyn Operation) -> Result<()> {
    unit.savepoint().await?;
    match operation.run(unit).await {
        // The operation may have failed because of it; then its answer is not worth giving.
        true if unit.tx.collided() => Err(Error::storage(&"an operation met another transaction")),
        true => unit.undo().await,
        false => unit.keep().await,
    }
}

/// Answers all jobs: each send with its receipt, each operation with its own outcome, or all with the error.
fn answer(jobs: Vec<Job>, outcome: Result<Vec<Result<Receipt>>>) {
    let (mut receipts, commit) = match outcome {
        Ok(receipts) => (receipts.into_iter(), Ok(())),
        Err(error) => (Vec::new().into_iter(), Err(error)),
    };
    for job in jobs {
        match job {
            Job::Send(send) => {
                let lost = || Err(Error::internal(&"a send was committed without a receipt"));
                let receipt = commit.clone().and_then(|()| receipts.next().unwrap_or_else(lost));
                (send.reply)(receipt);
            }
            Job::Operation(pending) => pending.operation.answer(&commit),
        }
    }
}

impl Job {
    fn as_send(&self) -> Option<&PendingSend> {
        match self {
            Self::Send(send) => Some(send),
            Self::Operation(_) => None,
        }
    }

    /// The room that it is about to change.
    pub(super) fn room(&self) -> Option<RoomKey> {
        match self {
            Self::Send(send) => Some(send.sender.room(send.message.room.clone())),
            Self::Operation(pending) => pending.room.clone(),
        }
    }
}
