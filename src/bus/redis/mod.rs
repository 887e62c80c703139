//! The bus between nodes: Redis Pub/Sub, and lists of what was published last.
//!
//! In Redis the channel `c` is called `{prefix}:c`, and the list of what was kept of it `{prefix}:h:c`. Channels that begin
//! with `n:` are the bus's own.

mod discover;
mod fault;
mod link;
mod names;
mod node;
mod open;
mod outbox;
mod probe;
mod run;
mod send;
mod slots;
mod subscribe;
mod url;
mod wanted;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
pub use open::OpenError;
use parking_lot::Mutex;
use redis::cmd;
pub use run::RedisTask;

use self::{
    link::Link,
    names::Names,
    outbox::{Item, Outbox, Refused},
    wanted::Wanted,
};
use super::{Bus, Channel, Health, Voice};
use crate::{
    error::{Error, Reason, Result},
    telemetry::{DropLabels, Metrics},
};

/// What is kept of a channel. With no events nothing is kept, and nothing is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// How many of the last payloads.
    pub events: usize,
    /// How long after the last.
    pub ttl: Duration,
}

/// A node's end of the bus.
pub struct RedisBus {
    shared: Arc<Shared>,
}

/// What the handle, the task and the connections' readers have in common.
struct Shared {
    names: Names,
    /// A name that no other node has.
    node: String,
    keep: Keep,
    probe_interval: Duration,
    command_timeout: Duration,
    wanted: Wanted,
    outbox: Outbox,
    voice: Voice,
    /// While the bus is up or deaf.
    link: Mutex<Option<Arc<Link>>>,
    health: AtomicU8,
    metrics: Arc<Metrics>,
}

impl Shared {
    /// Hears a message of a link.
    fn message(&self, link: u64, channel: &str, payload: Vec<u8>) {
        match self.wanted.message(link, channel, payload, &self.voice) {
            Some(true) => drop(self.metrics.bus_received.inc()),
            Some(false) => self.dropped("unhandled", 1),
            None => {}
        }
    }

    fn put(&self, item: Item) {
        match self.outbox.put(item) {
            Ok(()) => {}
            Err(Refused::Down) => self.dropped("down", 1),
            Err(Refused::Full) => {
                self.dropped("unsent", 1);
                self.voice.unsent();
            }
        }
    }

    fn dropped(&self, why: &'static str, count: u64) {
        if count > 0 {
            self.metrics.bus_dropped.get_or_create(&DropLabels { why }).inc_by(count);
        }
    }

    fn set_health(&self, health: Health) {
        let (number, up, deaf) = match health {
            Health::Up => (1, 1, 0),
            Health::Deaf => (2, 0, 1),
            Health::Down | Health::Alone | Health::Silent => (0, 0, 0),
        };
        self.health.store(number, Ordering::Release);
        self.metrics.bus_up.set(up);
        self.metrics.bus_deaf.set(deaf);
    }
}

impl RedisBus {
    fn watched(&self, count: usize) {
        self.shared.metrics.bus_watched.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

impl Bus for RedisBus {
    fn watch(&self, channel: Channel) {
        self.watched(self.shared.wanted.watch(channel));
    }

    fn unwatch(&self, channel: &Channel) {
        self.watched(self.shared.wanted.unwatch(channel));
    }

    fn publish(&self, channel: &Channel, payload: Bytes, keep: bool) {
        let keep = keep && self.shared.keep.events > 0;
        self.shared.put(Item::Publish { channel: channel.clone(), payload, keep });
    }

    fn forget(&self, channel: &Channel) {
        if self.shared.keep.events > 0 {
            self.shared.put(Item::Forget { channel: channel.clone() });
        }
    }

    fn recent<'a>(&'a self, channel: &'a Channel) -> BoxFuture<'a, Result<Vec<Bytes>>> {
        Box::pin(recent(&self.shared, channel))
    }

    fn health(&self) -> Health {
        match self.shared.health.load(Ordering::Acquire) {
            1 => Health::Up,
            2 => Health::Deaf,
            _ => Health::Down,
        }
    }
}

async fn recent(shared: &Shared, channel: &Channel) -> Result<Vec<Bytes>> {
    let link = shared.link.lock().clone();
    let Some(link) = link.filter(|_| shared.keep.events > 0) else { return Ok(Vec::new()) };
    let key = shared.names.kept(channel);
    let Some((_, node)) = link.owner(&key) else { return Ok(Vec::new()) };
    let mut speak = node.speak.clone();
    match cmd("LRANGE").arg(&key).arg(0).arg(-1).query_async::<Vec<Vec<u8>>>(&mut speak).await {
        Ok(kept) => Ok(kept.into_iter().map(Bytes::from).collect()),
        Err(error) => {
            // One that is late may only be long: whether Redis is there, the probe finds out.
            let late = error.is_timeout();
            if !late && send::ends_link(&error) {
                link.trouble.say(node.fault(error));
            }
            match late {
                true => Err(Error::retryable(
                    Reason::StorageUnavailable,
                    "Redis did not answer in time",
                    Duration::from_secs(1),
                )),
                false => Ok(Vec::new()),
            }
        }
    }
}
