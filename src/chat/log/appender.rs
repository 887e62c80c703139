//! The task that writes: it takes everything that queued up while the last commit ran, and commits it together.

use std::{hash::RandomState, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Job, Log, Operation, PendingSend, sends,
    unit::{Filled, Unit},
    waiting::Waiting,
};
use crate::{
    chat::{Receipts, event::Event, lane::LaneKey, store},
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
    /// How long a message waits for those before it in its lane.
    pub lane_wait: Duration,
    /// Bytes of messages that do.
    pub lane_wait_bytes: usize,
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
    /// When it is asked for next.
    settle_at: Instant,
    /// Messages that wait for others of their lane.
    waiting: Waiting,
}

/// What became of a batch.
enum Outcome {
    /// It is on disk.
    Committed(Done),
    /// Nothing of it is, and nothing will be. `again`: it may go better at once.
    Failed { error: Error, again: bool },
    /// It may be; these are its events.
    InDoubt(Error, Vec<Event>),
}

/// What a batch came to.
struct Done {
    /// What became of its sends, in order.
    sends: Vec<sends::Outcome>,
    events: Vec<Event>,
    /// The lanes that moved, and the last number of each.
    moved: Vec<(LaneKey, u64)>,
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
        let log = Log { queues: queues.into(), hasher: RandomState::new(), budget, lane_wait: options.lane_wait };
        let lane_budget = Arc::new(Semaphore::new(options.lane_wait_bytes));
        let appender = |queue| Self {
            queue,
            options: options.clone(),
            db: db.clone(),
            clock: clock.clone(),
            committed: committed.clone(),
            metrics: metrics.clone(),
            receipts: receipts.clone(),
            in_doubt: Vec::new(),
            settle_at: Instant::now(),
            waiting: Waiting::new(lane_budget.clone(), metrics.clone()),
        };
        (log, ends.into_iter().map(appender).collect())
    }

    /// Writes until `stop`, and then whatever was taken in before it.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut jobs = Vec::with_capacity(self.options.batch);
        loop {
            self.waiting.tend(&self.db);
            jobs.extend(self.waiting.take(self.options.batch).map(Job::Send));
            if !jobs.is_empty() {
                self.top_up(&mut jobs);
            } else if !self.receive(&mut jobs, &stop).await {
                return;
            }
            if !jobs.is_empty() {
                self.write(std::mem::take(&mut jobs)).await;
            }
        }
    }

    /// Waits for jobs, or for something else to do. Answers whether there may be more.
    async fn receive(&mut self, jobs: &mut Vec<Job>, stop: &CancellationToken) -> bool {
        let received = tokio::select! {
            biased;
            received = self.queue.recv_many(jobs, self.options.batch) => received,
            () = stop.cancelled(), if !self.queue.is_closed() => {
                self.queue.close();
                return true;
            }
            () = tokio::time::sleep_until(self.settle_at), if !self.in_doubt.is_empty() => {
                // What is still in doubt is asked for again.
                let _ = self.settle().await;
                return true;
            }
            () = self.waiting.due(), if !self.waiting.is_empty() => return true,
        };
        if received > 0 {
            return true;
        }
        // Nothing comes any more that could be waited for.
        let left = !self.waiting.is_empty();
        self.waiting.release();
        left
    }

    /// Adds what has queued up.
    fn top_up(&mut self, jobs: &mut Vec<Job>) {
        while jobs.len() < self.options.batch
            && let Ok(job) = self.queue.try_recv()
        {
            jobs.push(job);
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
            Outcome::Committed(done) => {
                // Before the answers: whoever has one sees their own message as read.
                self.receipts.committed(&done.events);
                self.answer(jobs, done.sends);
                for (key, last) in done.moved {
                    self.waiting.moved(&key, last);
                }
                self.publish(done.events).await;
            }
            Outcome::Failed { error, .. } => self.refuse(jobs, &error),
            Outcome::InDoubt(error, events) => {
                self.refuse(jobs, &error);
                self.in_doubt = events;
                self.settle_at = Instant::now() + SETTLE_INTERVAL;
            }
        }
    }

    /// Answers all jobs of a batch that is on disk, but for the sends whose turn has not come: they wait.
    fn answer(&mut self, jobs: Vec<Job>, sends: Vec<sends::Outcome>) {
        let mut sends = sends.into_iter();
        for job in jobs {
            match job {
                Job::Send(send) => match sends.next() {
                    Some(sends::Outcome::Done(receipt)) => (send.reply)(receipt),
                    Some(sends::Outcome::Early) => self.waiting.park(send),
                    None => (send.reply)(Err(Error::internal(&"a send was committed without a receipt"))),
                },
                Job::Operation(pending) => pending.operation.answer(&Ok(())),
            }
        }
    }

    /// Answers all jobs of a batch that failed with its error, but for the sends that waited for others: they wait on.
    fn refuse(&mut self, jobs: Vec<Job>, error: &Error) {
        for job in jobs {
            match job {
                Job::Send(send) if send.admitted && !send.pass => self.waiting.park(send),
                Job::Send(send) => (send.reply)(Err(error.clone())),
                Job::Operation(pending) => pending.operation.answer(&Err(error.clone())),
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
            Ok(sends) => match unit.finish().await {
                Ok(Filled { tx, events, moved }) => match tx.commit().await {
                    Ok(()) => Outcome::Committed(Done { sends, events, moved }),
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
        self.settle_at = Instant::now() + SETTLE_INTERVAL;
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

/// Runs all jobs in the unit; answers with what became of the sends, in order. An error is the database's.
async fn fill(unit: &mut Unit, jobs: &mut [Job]) -> Result<Vec<sends::Outcome>> {
    unit.lock(jobs.iter().filter_map(Job::room).collect()).await?;
    let mut outcomes = Vec::new();
    for run in jobs.chunk_by_mut(|a, b| matches!((a, b), (Job::Send(_), Job::Send(_)))) {
        if let [Job::Operation(pending)] = run {
            run_operation(unit, &mut *pending.operation).await?;
        } else {
            let sends: Vec<&PendingSend> = run.iter().filter_map(Job::as_send).collect();
            outcomes.extend(sends::run(unit, &sends).await?);
        }
    }
    Ok(outcomes)
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
