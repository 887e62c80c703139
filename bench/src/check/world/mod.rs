//! A deployment of the check's own: Postgres, Redis, nodes, and links between them that can go bad.

mod node;
mod postgres;
mod proxy;
mod redis;
mod resp;

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use self::{
    node::{Node, Recipe},
    postgres::Postgres,
    proxy::{Flow, Proxy},
    redis::Redis,
};
use super::{
    args::CheckArgs,
    fault::{Fault, FaultKind},
};
use crate::error::Error;

/// How often a process is looked at while something is awaited of it.
const LOOK: Duration = Duration::from_millis(20);

/// How long a message waits for those before it in its lane.
pub(super) const LANE_WAIT: Duration = Duration::from_secs(1);

/// Settings under which a short run meets what takes long with the defaults. `--relay-set` stands after them and wins.
const SETTINGS: [&str; 7] = [
    "presence.node_lease=3s",
    "chat.lane_wait=1s",
    "chat.check_interval=2s",
    "redis.probe_interval=500ms",
    "redis.command_timeout=1s",
    "stream.heartbeat_interval=1s",
    "stream.queue_bytes=16384",
];

/// The deployment. Dropped, it is gone.
pub(super) struct World {
    // Fields go in their order: nodes before what they stand on.
    nodes: Vec<Mutex<Node>>,
    links: Vec<Links>,
    redis: Mutex<Redis>,
    postgres: Mutex<Postgres>,
}

/// What a node reaches the others through.
struct Links {
    redis: Proxy,
    postgres: Proxy,
}

impl World {
    /// Starts all of it; tokens are to be signed with `signing_key`.
    pub(super) async fn start(args: &CheckArgs, signing_key: &str) -> Result<Self, Error> {
        let (postgres, redis) = tokio::try_join!(Postgres::start(), Redis::start())?;
        let (mut nodes, mut links) = (Vec::new(), Vec::new());
        for _ in 0..args.nodes {
            let link = Links {
                redis: Proxy::to(redis.port(), true).await?,
                postgres: Proxy::to(postgres.port(), false).await?,
            };
            let mut settings: Vec<String> = SETTINGS.iter().map(|setting| (*setting).to_owned()).collect();
            settings.push(format!("database.url={}", Postgres::url(link.postgres.port())));
            settings.push(format!("redis.url=redis://127.0.0.1:{}", link.redis.port()));
            settings.push("redis.prefix=relay-check".into());
            settings.extend(args.settings.iter().cloned());
            let recipe = Recipe { program: args.relay.clone(), signing_key: signing_key.into(), settings };
            links.push(link);
            nodes.push(Node::start(recipe));
        }
        // Together, as an operator may: they find an empty database all at once.
        let nodes = futures_util::future::try_join_all(nodes).await?.into_iter().map(Mutex::new).collect();
        Ok(Self { nodes, links, redis: Mutex::new(redis), postgres: Mutex::new(postgres) })
    }

    /// Where the nodes are served.
    pub(super) async fn urls(&self) -> Vec<String> {
        let mut urls = Vec::new();
        for node in &self.nodes {
            urls.push(node.lock().await.url());
        }
        urls
    }

    /// Lets a fault begin.
    pub(super) async fn begin(&self, fault: &Fault) -> Result<(), Error> {
        match fault.kind {
            FaultKind::Kill => {
                for node in self.befallen(fault) {
                    self.nodes[node].lock().await.kill().await?;
                }
                Ok(())
            }
            FaultKind::RedisStop if fault.harsh => self.redis.lock().await.freeze(true),
            FaultKind::RedisKill | FaultKind::RedisEmpty | FaultKind::RedisStop => self.redis.lock().await.kill().await,
            FaultKind::PostgresRestart => self.postgres.lock().await.stop(fault.harsh).await,
            FaultKind::Swallow | FaultKind::CutRedis | FaultKind::CutPostgres => {
                let cut = if fault.harsh { Flow::Held } else { Flow::Cut };
                self.set(fault, if fault.kind == FaultKind::Swallow { Flow::Swallowing } else { cut });
                Ok(())
            }
            FaultKind::HangUp => Ok(()),
        }
    }

    /// Lets it end; afterwards all is as before.
    pub(super) async fn end(&self, fault: &Fault) -> Result<(), Error> {
        match fault.kind {
            FaultKind::Kill => {
                for node in self.befallen(fault) {
                    self.nodes[node].lock().await.resume().await?;
                }
                Ok(())
            }
            FaultKind::RedisStop if fault.harsh => self.redis.lock().await.freeze(false),
            FaultKind::RedisKill | FaultKind::RedisStop => self.redis.lock().await.resume(false).await,
            FaultKind::RedisEmpty => self.redis.lock().await.resume(true).await,
            FaultKind::PostgresRestart => self.postgres.lock().await.resume().await,
            FaultKind::Swallow | FaultKind::CutRedis | FaultKind::CutPostgres => {
                self.set(fault, Flow::Open);
                Ok(())
            }
            FaultKind::HangUp => Ok(()),
        }
    }

    /// Nodes that ended by themselves.
    pub(super) async fn ended(&self) -> Vec<String> {
        let mut ended = Vec::new();
        for node in &self.nodes {
            ended.extend(node.lock().await.ended());
        }
        ended
    }

    /// Keeps the nodes' logs as `PREFIX-node-N.log`.
    pub(super) async fn keep_logs(&self, folder: &Path, prefix: &str) -> Result<(), Error> {
        for (number, node) in self.nodes.iter().enumerate() {
            fs::copy(node.lock().await.log(), folder.join(format!("{prefix}-node-{number}.log")))?;
        }
        Ok(())
    }

    fn befallen(&self, fault: &Fault) -> Vec<usize> {
        fault.node.map_or_else(|| (0..self.nodes.len()).collect(), |node| vec![node])
    }

    fn set(&self, fault: &Fault, flow: Flow) {
        for node in self.befallen(fault) {
            let links = &self.links[node];
            let link = if fault.kind == FaultKind::CutPostgres { &links.postgres } else { &links.redis };
            link.set(flow);
        }
    }
}

/// A port that nobody listens on, most probably also in a moment.
fn free_port() -> Result<u16, Error> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Sends a signal to a process that this one started.
fn signal(pid: u32, name: &str) -> Result<(), Error> {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status()?;
    if sent.success() { Ok(()) } else { Err(Error::unexpected(format!("cannot send SIG{name} to {pid}"))) }
}

/// Waits until a child has ended.
async fn own_end(child: &mut Child) -> Result<(), Error> {
    while child.try_wait()?.is_none() {
        sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until `ask` says yes.
async fn reachable<F: Future<Output = bool>>(what: &str, within: Duration, ask: impl Fn() -> F) -> Result<(), Error> {
    let deadline = Instant::now() + within;
    while !ask().await {
        if Instant::now() > deadline {
            return Err(Error::Late { what: format!("{what} on its port"), within });
        }
        sleep(LOOK).await;
    }
    Ok(())
}
