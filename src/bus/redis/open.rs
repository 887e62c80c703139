//! Opening the bus, and saying what to do when that fails.

use std::sync::{Arc, atomic::AtomicU8};

use parking_lot::Mutex;
use redis::{RedisResult, Value, cmd};
use secrecy::ExposeSecret as _;

use super::{
    Keep, RedisBus, RedisTask, Shared,
    discover::Discovery,
    fault::Fault,
    link::Link,
    names::{Names, prefix_problem},
    node::Dialer,
    outbox::Outbox,
    url::{FORMS, Target},
    wanted::Wanted,
};
use crate::{
    bus::{Ear, ear},
    config::RedisConfig,
    telemetry::Metrics,
};

/// Why the bus cannot be opened, and what to do: a sentence for the person who starts Relay. It repeats no password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(String);

type Result<T> = std::result::Result<T, OpenError>;

impl RedisBus {
    /// Connects once, and looks whether Redis can do what the bus needs. Nothing is heard before the task runs.
    ///
    /// # Errors
    /// When it cannot. Once it was opened, the bus lives with whatever Redis does.
    pub async fn open(config: &RedisConfig, keep: Keep, metrics: Arc<Metrics>) -> Result<(Arc<Self>, RedisTask, Ear)> {
        let target = read(config)?;
        if target.access.tls {
            // One that is installed already does as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let (connect_timeout, command_timeout) = (config.connect_timeout, config.command_timeout);
        let dialer = Dialer { access: target.access, connect_timeout, command_timeout };
        let mut discovery = Discovery::new(target.form, dialer);
        let (voice, ear) = ear(config.queue_bytes);
        let shared = Arc::new(Shared {
            names: Names::new(&config.prefix),
            node: uuid::Uuid::new_v4().simple().to_string(),
            keep,
            probe_interval: config.probe_interval,
            command_timeout,
            wanted: Wanted::new(),
            outbox: Outbox::new(config.queue_bytes),
            voice,
            link: Mutex::new(None),
            health: AtomicU8::new(0),
            metrics,
        });
        let checked = async {
            let link = Link::open(0, &mut discovery, &shared).await?;
            check_keeping(&shared, &link).await?;
            Ok::<_, Fault>(link)
        };
        let link = checked.await.map_err(|fault| OpenError(fault.to_string()))?;
        let task = RedisTask { shared: shared.clone(), discovery, first: Some(link) };
        Ok((Arc::new(Self { shared }), task, ear))
    }

    /// Looks at the settings, and touches nothing.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn check(config: &RedisConfig) -> Result<()> {
        read(config).map(drop)
    }
}

fn read(config: &RedisConfig) -> Result<Target> {
    if let Some(problem) = prefix_problem(&config.prefix) {
        return Err(OpenError(problem));
    }
    Target::parse(config.url.expose_secret())
        .map_err(|why| OpenError(format!("redis.url cannot be read: {why}; {FORMS}")))
}

/// Does once on every server what keeping payloads needs.
async fn check_keeping(shared: &Shared, link: &Link) -> std::result::Result<(), Fault> {
    if shared.keep.events == 0 {
        return Ok(());
    }
    for node in &link.nodes {
        // The name of the node's own channel is on this server as a key, too.
        let key = &node.probe;
        let ttl = i64::try_from(shared.keep.ttl.as_millis()).unwrap_or(i64::MAX);
        let commands = [
            cmd("RPUSH").arg(key).arg("").to_owned(),
            cmd("LTRIM").arg(key).arg(-1).arg(-1).to_owned(),
            cmd("PEXPIRE").arg(key).arg(ttl).to_owned(),
            cmd("LRANGE").arg(key).arg(0).arg(-1).to_owned(),
            cmd("DEL").arg(key).to_owned(),
        ];
        for command in commands {
            let answer: RedisResult<Value> = command.query_async(&mut node.speak.clone()).await;
            answer.map_err(|error| node.fault(error))?;
        }
    }
    Ok(())
}
