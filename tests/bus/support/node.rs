//! A node: its end of the bus, with the task running.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use relay::{
    bus::{Bus, Channel, Ear, Health, Heard, Keep, OpenError, RedisBus},
    config::RedisConfig,
    telemetry::Metrics,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{eventually, within};

/// What tests keep.
pub(crate) const KEEP: Keep = Keep { events: 10, ttl: Duration::from_secs(60) };

/// Settings with short waits.
pub(crate) fn config(url: &str) -> RedisConfig {
    RedisConfig {
        url: url.to_owned().into(),
        prefix: "relay-test".to_owned(),
        connect_timeout: Duration::from_secs(2),
        command_timeout: Duration::from_millis(500),
        queue_bytes: 16 << 20,
        probe_interval: Duration::from_millis(200),
    }
}

/// A node of a deployment.
pub(crate) struct Node {
    pub(crate) bus: Arc<RedisBus>,
    pub(crate) ear: Ear,
    pub(crate) metrics: Arc<Metrics>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn start(url: &str) -> Self {
        Self::start_with(&config(url), KEEP).await
    }

    pub(crate) async fn start_with(config: &RedisConfig, keep: Keep) -> Self {
        Self::try_start(config, keep).await.expect("the bus opens")
    }

    pub(crate) async fn try_start(config: &RedisConfig, keep: Keep) -> Result<Self, OpenError> {
        let metrics = Arc::new(Metrics::new());
        let (bus, task, ear) = RedisBus::open(config, keep, metrics.clone()).await?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(task.run(stop.clone()));
        let mut node = Self { bus, ear, metrics, stop, task };
        node.hears(|heard| matches!(heard, Heard::Up)).await;
        Ok(node)
    }

    /// A node that watches these channels, as Redis has acknowledged.
    pub(crate) async fn watching(url: &str, channels: &[&str]) -> Self {
        let mut node = Self::start(url).await;
        node.watch(channels).await;
        node
    }

    /// Watches, and waits until they are.
    pub(crate) async fn watch(&mut self, channels: &[&str]) {
        for channel in channels {
            self.bus.watch((*channel).into());
        }
        self.is_told_of(channels).await;
    }

    /// Waits until all of these were named as watched.
    pub(crate) async fn is_told_of(&mut self, channels: &[&str]) {
        let mut missing: HashSet<Channel> = channels.iter().map(|channel| (*channel).into()).collect();
        self.hears(|heard| {
            if let Heard::Watching(names) = heard {
                for name in names {
                    missing.remove(name);
                }
            }
            missing.is_empty()
        })
        .await;
    }

    /// Waits for something heard, and drops what comes before it.
    pub(crate) async fn hears(&mut self, mut is_it: impl FnMut(&Heard) -> bool) -> Heard {
        within("it is heard", async {
            loop {
                let heard = self.ear.next().await.expect("the bus lives");
                if is_it(&heard) {
                    return heard;
                }
            }
        })
        .await
    }

    pub(crate) async fn hears_down(&mut self) {
        self.hears(|heard| matches!(heard, Heard::Down)).await;
    }

    pub(crate) async fn hears_up(&mut self) {
        self.hears(|heard| matches!(heard, Heard::Up)).await;
    }

    /// The next message, as `channel payload`.
    pub(crate) async fn next_message(&mut self) -> String {
        match self.hears(|heard| matches!(heard, Heard::Message(..))).await {
            Heard::Message(channel, payload) => format!("{channel} {}", String::from_utf8_lossy(&payload)),
            other => panic!("{other:?} is no message"),
        }
    }

    pub(crate) fn publish(&self, channel: &str, payload: &str) {
        self.bus.publish(&channel.into(), Bytes::from(payload.to_owned()), false);
    }

    pub(crate) fn keep(&self, channel: &str, payload: &str) {
        self.bus.publish(&channel.into(), Bytes::from(payload.to_owned()), true);
    }

    /// What was kept.
    pub(crate) async fn recent(&self, channel: &str) -> Vec<String> {
        let kept = self.bus.recent(&channel.into()).await.expect("Redis answers");
        kept.iter().map(|payload| String::from_utf8_lossy(payload).into_owned()).collect()
    }

    /// Waits until `expected` is kept.
    pub(crate) async fn keeps(&self, channel: &str, expected: &[&str]) {
        within("it is kept", async {
            let mut look = tokio::time::interval(Duration::from_millis(5));
            while self.recent(channel).await != expected {
                look.tick().await;
            }
        })
        .await;
    }

    pub(crate) async fn is(&self, health: Health) {
        eventually(&format!("the bus is {health:?}"), || self.bus.health() == health).await;
    }

    /// The value of a metric's line, 0 if there is none.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render().expect("metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Ends it, as a node that is shut down.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        within("the task ends", self.task).await.expect("no panic");
    }
}
