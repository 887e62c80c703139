//! The task that writes: it takes everything that queued up while the last commit ran, and commits it together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Answer, Job, Log, Operation, PendingSend, Reply, sends, unit::Unit};
use crate::{
    chat::{event::Event, message::Receipt},
    clock::Clock,
    db::Db,
    error::{Error, Result},
    telemetry::Metrics,
};

/// Writes that wait, in number. Their bytes are bounded by [`LogOptions::queue_bytes`].
const QUEUE_JOBS: usize = 65_536;

/// The log's limits.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Bytes that wait.
    pub queue_bytes: usize,
    /// Writes in one transaction.
    pub batch: usize,
}

/// Owns the queue's end. [`Appender::run`] is the one task that writes to the log.
pub struct Appender {
    queue: mpsc::Receiver<Job>,
    options: LogOptions,
    db: Db,
    clock: Arc<dyn Clock>,
    committed: mpsc::Sender<Vec<Event>>,
    metrics: Arc<Metrics>,
}

/// Answers that wait for the commit.
#[derive(Default)]
struct Answers {
    sends: Vec<(Reply, Result<Receipt>, OwnedSemaphorePermit)>,
    operations: Vec<Box<dyn Answer>>,
}

impl Appender {
    /// A log that writes to `db` and hands what it committed to `committed`, in order.
    pub fn new(
        options: LogOptions,
        db: Db,
        clock: Arc<dyn Clock>,
        committed: mpsc::Sender<Vec<Event>>,
        metrics: Arc<Metrics>,
    ) -> (Log, Self) {
        let (sender, queue) = mpsc::channel(QUEUE_JOBS);
        let log = Log { queue: sender, budget: Arc::new(Semaphore::new(options.queue_bytes)) };
        (log, Self { queue, options, db, clock, committed, metrics })
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
            };
            if received == 0 {
                return;
            }
            self.write(std::mem::take(&mut jobs)).await;
        }
    }

    async fn write(&self, jobs: Vec<Job>) {
        let started = std::time::Instant::now();
        let size = jobs.len();
        let unit = match Unit::begin(&self.db, self.clock.now()).await {
            Ok(unit) => unit,
            Err(error) => return jobs.into_iter().for_each(|job| job.refuse(&error)),
        };
        let mut answers = Answers::default();
        let outcome = match fill(unit, jobs, &mut answers).await {
            Ok(unit) => unit.commit().await,
            Err(error) => Err(error),
        };
        self.metrics.commits.observe(started.elapsed().as_secs_f64());
        self.metrics.commit_size.observe(size as f64);
        match outcome {
            Ok(events) => {
                answers.give(&Ok(()));
                if !events.is_empty() && self.committed.send(events).await.is_err() {
                    tracing::error!("the publisher is gone");
                }
            }
            Err(error) => answers.give(&Err(error)),
        }
    }
}

/// Runs all jobs in the unit. On an error of the database all of them are answered with it.
async fn fill(mut unit: Unit, jobs: Vec<Job>, answers: &mut Answers) -> Result<Unit> {
    let mut jobs = jobs.into_iter().peekable();
    let mut failed = None;
    while let Some(job) = jobs.next() {
        let done = match (&failed, job) {
            (Some(error), job) => {
                job.refuse(error);
                Ok(())
            }
            (None, Job::Send(first)) => {
                let mut run = vec![*first];
                while let Some(Job::Send(next)) = jobs.next_if(|job| matches!(job, Job::Send(_))) {
                    run.push(*next);
                }
                fill_sends(&mut unit, run, answers).await
            }
            (None, Job::Operation(operation, _permit)) => run_operation(&mut unit, operation, answers).await,
        };
        if let Err(error) = done {
            failed = Some(error);
        }
    }
    match failed {
        None => Ok(unit),
        Some(error) => Err(error),
    }
}

/// Runs an operation; if it fails, as if it never had.
async fn run_operation(unit: &mut Unit, operation: Box<dyn Operation>, answers: &mut Answers) -> Result<()> {
    if let Err(error) = unit.savepoint().await {
        operation.refuse(error.clone());
        return Err(error);
    }
    let answer = operation.run(unit).await;
    let failed = answer.failed();
    answers.operations.push(answer);
    if failed { unit.undo().await } else { unit.keep().await }
}

async fn fill_sends(unit: &mut Unit, run: Vec<PendingSend>, answers: &mut Answers) -> Result<()> {
    match sends::run(unit, &run).await {
        Ok(outcomes) => {
            let sends = run.into_iter().zip(outcomes).map(|(send, outcome)| (send.reply, outcome, send.permit));
            answers.sends.extend(sends);
            Ok(())
        }
        Err(error) => {
            answers.sends.extend(run.into_iter().map(|send| (send.reply, Err(error.clone()), send.permit)));
            Err(error)
        }
    }
}

impl Answers {
    fn give(self, commit: &Result<()>) {
        for (reply, outcome, permit) in self.sends {
            reply(commit.clone().and(outcome));
            drop(permit);
        }
        for answer in self.operations {
            answer.give(commit.clone());
        }
    }
}

impl Job {
    fn refuse(self, error: &Error) {
        match self {
            Self::Send(send) => (send.reply)(Err(error.clone())),
            Self::Operation(operation, _) => operation.refuse(error.clone()),
        }
    }
}
