//! What everything stands on.

use std::{collections::HashSet, sync::Arc};

use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Failure, Stops};
use crate::{
    bus::{Bus, Ear, Keep, LocalBus, RedisBus, ear},
    chat::Encoder,
    clock::{Clock, SystemClock},
    config::Config,
    db::Db,
    hub::Hub,
    id::ProjectId,
    identity::{self, KeyRing, Tokens},
    lifecycle::{self, Tasks},
    rpc::{Listener, WireEncoder},
    telemetry::Metrics,
};

/// What everything stands on.
pub(super) struct Ground {
    /// Which node this is.
    pub(super) node: Uuid,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) encoder: Arc<dyn Encoder>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) keys: Arc<KeyRing>,
    pub(super) tokens: Tokens,
    pub(super) db: Db,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) hub: Arc<Hub>,
    pub(super) listener: Listener,
}

impl Ground {
    /// Opens the database and the bus, and binds the port.
    pub(super) async fn lay(config: &Config, tasks: &mut Tasks, stops: &Stops) -> Result<(Self, Ear), Failure> {
        warn_of_few_files(config.server.max_connections);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Arc::new(Metrics::new());
        let keys = Arc::new(KeyRing::load(&config.auth, &config.server.data_dir)?);
        let db = Db::open(&config.database, &config.server.data_dir, metrics.clone()).await?;
        let projects: HashSet<ProjectId> = identity::projects(&db).await?;
        let tokens = Tokens::new(keys.clone(), projects, clock.clone(), config.auth.leeway);
        // Before any task runs: a port that is taken ends the start, and nothing else.
        let listener = Listener::bind(config.server.listen, (&config.server).into(), metrics.clone())
            .map_err(|error| format!("cannot listen on {}: {error}", config.server.listen))?;
        identity::agree_on_key(&db, &keys, clock.now()).await?;
        let (bus, ear) = link(config, &db, &metrics, tasks, &stops.bus).await?;
        let hub = Arc::new(Hub::new(config.into(), bus.clone()));
        let (node, encoder) = (Uuid::now_v7(), Arc::new(WireEncoder));
        Ok((Self { node, clock, encoder, metrics, keys, tokens, db, bus, hub, listener }, ear))
    }
}

fn warn_of_few_files(max_connections: usize) {
    match lifecycle::raise_open_files() {
        Ok(files) if files < max_connections as u64 => {
            tracing::warn!(
                files,
                max_connections,
                "the system allows fewer open files than server.max_connections: raise the limit (ulimit -n) or lower the setting"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}

/// This node's end of the bus, if there is one.
async fn link(
    config: &Config,
    db: &Db,
    metrics: &Arc<Metrics>,
    tasks: &mut Tasks,
    stop: &CancellationToken,
) -> Result<(Arc<dyn Bus>, Ear), Failure> {
    if config.redis.url.expose_secret().is_empty() {
        let bus = if db.is_shared() { LocalBus::Shared } else { LocalBus::Alone };
        return Ok((Arc::new(bus), ear(0).1));
    }
    if !db.is_shared() {
        let advice = "set database.url as well, or leave redis.url empty: a node on SQLite is the only one";
        return Err(format!("redis.url links nodes that share a PostgreSQL database: {advice}").into());
    }
    let keep = Keep { events: config.chat.hot_events, ttl: config.chat.hot_ttl };
    let (bus, task, ear) = RedisBus::open(&config.redis, keep, metrics.clone()).await?;
    tasks.spawn("bus", task.run(stop.clone()));
    Ok((bus, ear))
}
