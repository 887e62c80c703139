//! Readers of a room: each on a Connect stream of its own, over which it reports what it has read when it is told to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::NODES;
use crate::{
    error::{Error, in_time},
    grpc::Call,
    latency::Tally,
    stamp,
    subject::{Cluster, frames, relay::ROOM},
};

/// How often one reports at most, as the SDK does.
const REPORT: Duration = Duration::from_millis(500);
/// Connections that are opened at the same time.
const OPENING: usize = 32;
/// How long the opening of all may take.
const OPEN: Duration = Duration::from_secs(120);
/// One delivery in so many has its latency taken.
const SAMPLED: u64 = 16;

/// Connected readers. Dropping it disconnects them.
pub(super) struct Readers {
    tasks: JoinSet<Error>,
    table: Arc<Table>,
}

/// What the readers share.
pub(super) struct Table {
    tallies: Vec<Tally>,
    reporting: AtomicBool,
    reports: AtomicU64,
    told: AtomicU64,
}

impl Readers {
    /// Connects `size` members of the room of the fan-out to the nodes in turn. Nothing was sent to it yet.
    pub(super) async fn open(cluster: &Cluster, size: usize) -> Result<Self, Error> {
        let open = stream::iter(0..size).map(async |number| {
            let call = cluster.node(number % NODES)?.connect(&format!("u{number}")).await?;
            Ok::<_, Error>((number, call))
        });
        let calls: Vec<(usize, Call)> =
            in_time("the last reader's stream", OPEN, open.buffer_unordered(OPENING).try_collect()).await?;
        let table = Arc::new(Table {
            tallies: (0..size).map(|_| Tally::default()).collect(),
            reporting: AtomicBool::new(false),
            reports: AtomicU64::new(0),
            told: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for (number, call) in calls {
            let (table, first) = (Arc::clone(&table), Instant::now() + REPORT.mul_f64(number as f64 / size as f64));
            tasks.spawn(async move {
                let read = read(call, &table, number, first).await;
                read.err().unwrap_or_else(|| Error::unexpected("a reader ended"))
            });
        }
        Ok(Self { tasks, table })
    }

    /// Waits until a reader loses its stream, and says why.
    pub(super) async fn lost(&mut self) -> Error {
        match self.tasks.join_next().await {
            Some(Ok(error)) => error,
            Some(Err(failed)) => Error::unexpected(format!("a reader's task failed: {failed}")),
            None => Error::unexpected("there are no readers"),
        }
    }

    pub(super) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table)
    }
}

impl Table {
    /// Whether readers report from now on.
    pub(super) fn report(&self, on: bool) {
        self.reporting.store(on, Relaxed);
    }

    /// Starts or stops taking samples.
    pub(super) fn measure(&self, on: bool) {
        self.tallies.iter().for_each(|tally| tally.measure(on));
    }

    /// The samples since the last time.
    pub(super) fn samples(&self) -> Vec<u64> {
        self.tallies.iter().flat_map(Tally::take).collect()
    }

    /// Messages that readers got so far.
    pub(super) fn deliveries(&self) -> u64 {
        self.tallies.iter().map(Tally::count).sum()
    }

    /// Reports that were sent so far.
    pub(super) fn reports(&self) -> u64 {
        self.reports.load(Relaxed)
    }

    /// Frames with receipts of others that came so far.
    pub(super) fn told(&self) -> u64 {
        self.told.load(Relaxed)
    }
}

/// Reads for ever. What is sent leaves with the next read.
async fn read(mut call: Call, table: &Table, number: usize, first: Instant) -> Result<(), Error> {
    let tally = table.tallies.get(number).ok_or_else(|| Error::unexpected("no tally for a reader"))?;
    let (mut newest, mut reported, mut due) = (0, 0, first);
    loop {
        let waits = table.reporting.load(Relaxed) && newest > reported;
        let mut refused = None;
        tokio::select! {
            read = call.read(|message| {
                if frames::is_event(message) {
                    // Every event is a message, from the first on: they are counted, not decoded.
                    let count = tally.add();
                    newest = count + 1;
                    if (count + number as u64).is_multiple_of(SAMPLED) && let Some(sent) = stamp::find(message) {
                        tally.sample(stamp::now().saturating_sub(sent));
                    }
                } else if frames::is_receipts(message) {
                    table.told.fetch_add(1, Relaxed);
                } else if let Some(reply) = frames::reply(message) {
                    refused = Some(Error::unexpected(format!("a report was answered with {:?}", reply.result)));
                }
            }) => read?,
            () = sleep_until(due), if waits => {}
        }
        refused.map_or(Ok(()), Err)?;
        let now = Instant::now();
        if table.reporting.load(Relaxed) && newest > reported && now >= due {
            call.send(&frames::has_read(ROOM, newest))?;
            table.reports.fetch_add(1, Relaxed);
            (reported, due) = (newest, now + REPORT);
        }
    }
}
