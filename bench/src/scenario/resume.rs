//! A storm: a node is restarted, and all of its clients come back at once, each with the positions that it holds.
//!
//! One client in eleven is on the other node, which runs on: the rooms have readers there, too. Nothing is sent
//! meanwhile, so nothing was missed, and a node that knows the rooms' newest positions has nothing to read for a client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};

use super::{
    crowd::{Client, Crowd},
    load::Reading,
};
use crate::{
    args::Args,
    error::{Error, in_time},
    grpc::Call,
    latency::Latencies,
    report::Report,
    stamp,
    subject::{Cluster, FanOut as _, Relay, Signal},
};

const NAME: &str = "resume";
/// Streams that are opened at the same time before the storm.
const OPENING: usize = 32;
/// How long the storm may last, and the opening before it.
const STORM: Duration = Duration::from_secs(60);
/// How long a client that was refused waits.
const AGAIN: Duration = Duration::from_millis(100);
/// The node that is restarted, and the one that is not.
const RESTARTED: usize = 0;
const OTHER: usize = 1;
/// What Relay says of its own reads.
const READS: &str = "relay_database_reads";

/// Restarts the node twice: as an operator does it, and as a crash does.
pub(super) async fn run(mut cluster: Cluster, args: &Args, report: &mut Report) -> Result<(), Error> {
    let crowd = Crowd::gather(&cluster, OTHER, args.streams).await?;
    let elsewhere = Streams::open(cluster.node(OTHER)?, crowd.staying(), OPENING).await?;
    for (name, signal) in [("after SIGTERM", Signal::Terminate), ("after kill -9", Signal::Kill)] {
        let there = Streams::open(cluster.node(RESTARTED)?, crowd.coming(), OPENING).await?;
        let since = Instant::now();
        cluster.restart(RESTARTED, signal).await?;
        let restart = since.elapsed();
        drop(there);
        storm(&cluster, &crowd, restart, name, report).await?;
    }
    drop(elsewhere);
    report.print(NAME)
}

/// All who were on the restarted node come back to it at once.
async fn storm(
    cluster: &Cluster,
    crowd: &Crowd,
    restart: Duration,
    name: &str,
    report: &mut Report,
) -> Result<(), Error> {
    let node = cluster.node(RESTARTED)?;
    let before = (cluster.database().transactions().await?, node.metric(READS).await?);
    let begin = Reading::take(&cluster.processes(), 0)?;
    let since = Instant::now();
    let back = Streams::open(node, crowd.coming(), crowd.size()).await?;
    let took = since.elapsed();
    let clients = back.samples.len() as f64;
    let load = begin.until(&Reading::take(&cluster.processes(), clients as u64)?, Latencies::of(back.samples));
    let own = node.metric(READS).await?.zip(before.1).map(|(after, before)| after - before);
    let transactions = cluster.database().transactions().await? - before.0;
    report.add(
        NAME,
        name,
        [
            ("clients", Some(clients), ""),
            ("restart", Some(restart.as_secs_f64()), "s"),
            ("last_caught_up", Some(took.as_secs_f64()), "s"),
            ("caught_up_p50", load.latencies.quantile(0.5), "ms"),
            ("caught_up_p99", load.latencies.quantile(0.99), "ms"),
            ("refused", Some(back.refused.load(Relaxed) as f64), "times"),
            ("transactions", Some(transactions as f64 / clients), "1/client"),
            ("reads", own.map(|reads| reads / clients), "1/client"),
            ("server_cpu", load.per_operation(load.server_us), "us/client"),
            ("generator_cpu", load.per_operation(load.generator_us), "us/client"),
        ],
    );
    Ok(())
}

/// Open streams, each read by a task of its own. Dropping them hangs up.
struct Streams {
    _tasks: JoinSet<()>,
    /// How long each took to catch up, from the beginning, in nanoseconds.
    samples: Vec<u64>,
    /// How often a client was turned away and came again.
    refused: Arc<AtomicU64>,
}

impl Streams {
    /// Opens a stream for each client, `at_once` at the same time, and waits until all have caught up.
    async fn open<'a>(
        node: &Arc<Relay>,
        clients: impl Iterator<Item = &'a Arc<Client>>,
        at_once: usize,
    ) -> Result<Self, Error> {
        let (mut tasks, refused) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        let (turns, start) = (Arc::new(Semaphore::new(at_once)), stamp::now());
        let (ready, mut opened) = mpsc::channel(at_once);
        for client in clients {
            let (node, client, refused) = (Arc::clone(node), Arc::clone(client), Arc::clone(&refused));
            let (turns, ready) = (Arc::clone(&turns), ready.clone());
            tasks.spawn(async move {
                let turn = turns.acquire().await;
                let call = open(&node, &client, &refused).await;
                drop((turn, node));
                match call {
                    Ok(call) => {
                        let _ = ready.send(Ok(stamp::now() - start)).await;
                        // Until the server ends the stream, or this side hangs up.
                        listen(call).await;
                    }
                    Err(error) => drop(ready.send(Err(error)).await),
                }
            });
        }
        drop(ready);
        let samples = in_time("the last client's stream", STORM, async {
            let mut samples = Vec::new();
            while samples.len() < tasks.len() {
                match opened.recv().await {
                    Some(sample) => samples.push(sample?),
                    None => return Err(Error::unexpected("a client's task failed")),
                }
            }
            Ok(samples)
        })
        .await?;
        Ok(Self { _tasks: tasks, samples, refused })
    }
}

/// Comes again and again until the node takes the client in.
async fn open(node: &Relay, client: &Client, refused: &AtomicU64) -> Result<Call, Error> {
    loop {
        match node.resume(&client.token, client.positions.clone()).await {
            Ok((call, complete)) if complete == client.positions.len() => return Ok(call),
            Ok((_, complete)) => return Err(Error::unexpected(format!("only {complete} rooms were complete"))),
            Err(error) if error.passes() => {
                refused.fetch_add(1, Relaxed);
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn listen(mut call: Call) {
    while call.read(|_| {}).await.is_ok() {}
}
