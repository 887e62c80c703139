//! The bus over Redis: one connection with RESP3, on which commands go out in pipelines and messages come in as pushes.
//!
//! | file   | job                                                             |
//! |--------|-----------------------------------------------------------------|
//! | `url`  | the forms of a URL                                              |
//! | `link` | a connection, whichever form it has                             |
//! | `open` | the first connection, and what is wrong with it                 |
//! | `outbox` | what waits to be told to Redis                                |
//! | `run`  | the task that connects, proves, subscribes, sends, and connects again |

mod link;
mod open;
mod outbox;
mod run;
mod url;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use link::Link;
pub use open::OpenError;
use outbox::{Order, Outbox};
use parking_lot::Mutex;
pub use run::RedisTask;
use uuid::Uuid;

use super::{Bus, Channel, Ear, Health};
use crate::{
    config::RedisConfig,
    error::{Error, Result},
    telemetry::Metrics,
};

/// What is kept of each channel.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Payloads; 0 keeps nothing.
    pub payloads: usize,
    /// How long after the last.
    pub ttl: Duration,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connect: Duration,
    command: Duration,
    probe: Duration,
}

/// A node's end of the bus. [`RedisTask::run`] is what moves it.
pub struct RedisBus {
    shared: Arc<Shared>,
}

/// What the handle and the task share.
struct Shared {
    prefix: String,
    keep: Keep,
    limits: Limits,
    /// The channel on which this node hears whether Redis delivers.
    probe: Channel,
    outbox: Outbox,
    health: AtomicU8,
    link: Mutex<Option<Link>>,
    metrics: Arc<Metrics>,
}

impl RedisBus {
    /// Connects once, to see that all is well.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub async fn open(
        config: &RedisConfig,
        keep: Keep,
        metrics: Arc<Metrics>,
    ) -> std::result::Result<(Arc<Self>, RedisTask, Ear), OpenError> {
        let limits =
            Limits { connect: config.connect_timeout, command: config.command_timeout, probe: config.probe_interval };
        let server = open::server(config)?;
        open::prove(&server, config).await?;
        let shared = Arc::new(Shared {
            prefix: config.prefix.clone(),
            keep,
            limits,
            probe: format!("p/{}", Uuid::new_v4()).into(),
            outbox: Outbox::new(config.queue_bytes),
            health: AtomicU8::new(Health::Down as u8),
            link: Mutex::new(None),
            metrics,
        });
        let (task, ear) = RedisTask::new(shared.clone(), server, config.queue_bytes);
        Ok((Arc::new(Self { shared }), task, ear))
    }

    /// Looks at the settings, and connects to nothing.
    pub fn check(config: &RedisConfig) -> std::result::Result<(), OpenError> {
        if !config.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b)) {
            return Err(OpenError::of("redis.prefix: takes letters, digits, and - _ . :"));
        }
        open::server(config).map(drop)
    }
}

impl Shared {
    fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
        self.metrics.bus_up.set(i64::from(health == Health::Up));
        self.metrics.bus_deaf.set(i64::from(health == Health::Deaf));
    }

    fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            up if up == Health::Up as u8 => Health::Up,
            deaf if deaf == Health::Deaf as u8 => Health::Deaf,
            _ => Health::Down,
        }
    }

    /// What a channel is called in Redis.
    fn name(&self, channel: &str) -> String {
        format!("{}:{channel}", self.prefix)
    }

    /// Where a channel's payloads are kept.
    fn key(&self, channel: &str) -> String {
        format!("{}:h:{channel}", self.prefix)
    }
}

impl Bus for RedisBus {
    fn watch(&self, channel: Channel) {
        self.shared.outbox.watch(channel);
    }

    fn unwatch(&self, channel: &Channel) {
        self.shared.outbox.unwatch(channel);
    }

    fn publish(&self, channel: &Channel, payload: Bytes, keep: bool) {
        // What could be sent only after an outage would be late: those who wanted it have looked elsewhere.
        if self.shared.health() == Health::Down
            || !self.shared.outbox.push(Order::Publish { channel: channel.clone(), payload, keep })
        {
            self.shared.metrics.bus_dropped.inc();
        }
    }

    fn forget(&self, channel: &Channel) {
        if self.shared.health() != Health::Down {
            self.shared.outbox.push(Order::Forget { channel: channel.clone() });
        }
    }

    fn recent<'a>(&'a self, channel: &'a Channel) -> BoxFuture<'a, Result<Vec<Bytes>>> {
        Box::pin(async move {
            let link = self.shared.link.lock().clone();
            let Some(mut link) = link.filter(|_| self.shared.keep.payloads > 0) else { return Ok(Vec::new()) };
            let kept = link.kept(&self.shared.key(channel), self.shared.limits.command).await;
            kept.map_err(|error| {
                tracing::warn!(%error, "redis did not answer");
                Error::overloaded("redis did not answer")
            })
        })
    }

    fn health(&self) -> Health {
        self.shared.health()
    }
}
