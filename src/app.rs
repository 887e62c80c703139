//! The composition root: it alone picks the parts and wires them together.

use std::{collections::HashSet, fs::File, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::Router;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    chat::{
        Appender, Chat, Encoder, Feed, FeedOptions, Frame, Limits, LogOptions, PageTokens, Publisher, Pulse, Retention,
        RetentionOptions,
    },
    clock::{Clock, SystemClock},
    config::Config,
    db::Db,
    error::Error,
    hub::{Hub, HubOptions},
    id::{ProjectId, UserId, UserKey},
    identity::{self, KeyRing, Tokens},
    lifecycle::{Draining, Signals, Tasks},
    rpc::{Listener, Services, WireEncoder, router},
    telemetry::Metrics,
};

/// Batches of committed events that wait to be published; beyond it the log waits.
const COMMITTED_BATCHES: usize = 64;

/// Why a command failed, for the person who gave it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A server that is ready to run.
pub struct App {
    listener: Listener,
    router: Router,
    hub: Arc<Hub>,
    db: Db,
    encoder: Arc<dyn Encoder>,
    tasks: Tasks,
    draining: Draining,
    health: HealthReporter,
    stop: CancellationToken,
    stop_writing: CancellationToken,
    drain_timeout: Duration,
    reconnect_spread: Duration,
    /// Held until the end: the data directory is this process's.
    _lock: File,
}

impl App {
    /// Opens everything and binds the port. Nothing is served before [`App::run`].
    pub async fn start(config: &Config) -> Result<Self, Failure> {
        let lock = lock(&config.server.data_dir)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let encoder: Arc<dyn Encoder> = Arc::new(WireEncoder);
        let metrics = Arc::new(Metrics::new());
        let keys = Arc::new(KeyRing::load(&config.auth, &config.server.data_dir)?);
        let db = Db::open(&config.database, &config.server.data_dir).await?;
        let projects: HashSet<ProjectId> = identity::projects(&db).await?;
        let tokens = Tokens::new(keys.clone(), projects, clock.clone(), config.auth.leeway);
        let hub = Arc::new(Hub::new(HubOptions {
            queue_bytes: config.stream.queue_bytes,
            max_streams_per_user: config.chat.max_streams_per_user,
            heartbeat_interval: config.stream.heartbeat_interval,
            renew_warning: config.stream.renew_warning,
        }));
        let feed_options = FeedOptions {
            max_replay_events: config.chat.max_replay_events,
            queue_bytes: config.stream.queue_bytes,
            concurrency: config.stream.catch_up_concurrency,
            heartbeat_interval: config.stream.heartbeat_interval,
        };
        let feed = Feed::start(feed_options, db.clone(), hub.clone(), encoder.clone(), clock.clone(), metrics.clone());

        let mut tasks = Tasks::default();
        let (stop, stop_writing) = (CancellationToken::new(), CancellationToken::new());
        let (committed, to_publish) = mpsc::channel(COMMITTED_BATCHES);
        let log_options = LogOptions { queue_bytes: config.chat.append_queue_bytes, batch: config.chat.append_batch };
        let (log, appender) = Appender::new(log_options, db.clone(), clock.clone(), committed, metrics.clone());
        tasks.spawn("appender", appender.run(stop_writing.clone()));
        let publisher = Publisher::new(to_publish, hub.clone(), encoder.clone(), metrics.clone());
        tasks.spawn("publisher", publisher.run());
        let pulse = Pulse::new(hub.clone(), encoder.clone(), clock.clone(), config.stream.heartbeat_interval);
        tasks.spawn("pulse", pulse.run(stop.clone()));
        let retention_options =
            RetentionOptions { event_retention: config.chat.event_retention, interval: config.chat.retention_interval };
        let retention = Retention::new(retention_options, log.clone(), clock.clone());
        tasks.spawn("retention", retention.run(stop.clone()));

        let limits = Limits {
            rooms_per_user: config.chat.max_rooms_per_user,
            members_per_room: config.chat.max_members_per_room,
        };
        let chat = Chat::new(log, db.clone(), PageTokens::new(keys.page_tokens()), limits);
        let (health, draining) = (HealthReporter::new(), Draining::default());
        let services = Services {
            chat,
            feed,
            hub: hub.clone(),
            tokens,
            clock,
            metrics: metrics.clone(),
            draining: draining.clone(),
            health: health.clone(),
        };
        let router = router(services, &config.server, &config.stream, config.chat.max_sends_in_flight)?;
        let listener = Listener::bind(config.server.listen, (&config.server).into(), metrics)
            .map_err(|error| format!("cannot listen on {}: {error}", config.server.listen))?;
        Ok(Self {
            listener,
            router,
            hub,
            db,
            encoder,
            tasks,
            draining,
            health,
            stop,
            stop_writing,
            drain_timeout: config.server.drain_timeout,
            reconnect_spread: config.server.reconnect_spread,
            _lock: lock,
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.listener.address()?)
    }

    /// Serves until a signal, then drains. A second signal ends the process at once.
    ///
    /// # Errors
    /// A task without which it is no server ended.
    pub async fn run(mut self) -> Result<(), Failure> {
        let mut signals = Signals::listen()?;
        let abort = CancellationToken::new();
        let (stop_listening, router) = (CancellationToken::new(), self.router.clone());
        self.tasks.spawn("listener", self.listener.run(router, stop_listening.clone(), abort.clone()));
        self.health.set_service_status("", ServingStatus::Serving).await;
        for service in SERVICES {
            self.health.set_service_status(service, ServingStatus::Serving).await;
        }
        tokio::select! {
            () = signals.next() => {}
            ended = self.tasks.next_ended() => return Err(format!("a task ended early: {ended:?}").into()),
        }
        tokio::spawn(async move {
            signals.next().await;
            tracing::warn!("second signal: leaving at once");
            std::process::exit(1);
        });
        let deadline = Instant::now() + self.drain_timeout;
        tracing::info!(streams = self.hub.session_count(), "draining");
        self.draining.set();
        for service in SERVICES.into_iter().chain([""]) {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
        }
        drain(&self.hub, &*self.encoder, self.reconnect_spread, deadline - self.drain_timeout / 2).await;
        stop_listening.cancel();
        self.stop.cancel();
        let mut last_call = Box::pin(tokio::time::sleep_until(deadline - self.drain_timeout / 10));
        let mut out_of_time = false;
        let mut failure = None;
        loop {
            tokio::select! {
                ended = self.tasks.next_ended() => match ended {
                    None => break,
                    Some(Ok("listener")) => self.stop_writing.cancel(),
                    Some(Ok(_)) => {}
                    Some(Err(panic)) => failure = Some(panic),
                },
                () = &mut last_call, if !out_of_time => {
                    out_of_time = true;
                    abort.cancel();
                }
            }
        }
        self.db.close().await;
        failure.map_or(Ok(()), |panic| Err(panic.into()))
    }
}

/// What health reports on.
const SERVICES: [&str; 2] = ["relay.chat.v1.ChatService", "relay.chat.v1.RoomService"];

/// Tells every stream to move, gives them the time that they were told to take, and ends those that are still there.
async fn drain(hub: &Hub, encoder: &dyn Encoder, spread: Duration, at_most: Instant) {
    for session in hub.sessions() {
        let reconnect_after = spread.mul_f64(fastrand::f64());
        session.push(encoder.frame(&Frame::Drain { reconnect_after }));
    }
    let until = at_most.min(Instant::now() + spread + Duration::from_millis(500));
    let mut look = tokio::time::interval(Duration::from_millis(20));
    while hub.session_count() > 0 && Instant::now() < until {
        look.tick().await;
    }
    for session in hub.sessions() {
        session.end(Err(Error::draining()));
    }
}

/// Makes the data directory and takes it for this process.
fn lock(data_dir: &Path) -> Result<File, Failure> {
    let explain = |error: std::io::Error| format!("server.data_dir {}: {error}", data_dir.display());
    std::fs::create_dir_all(data_dir).map_err(explain)?;
    let file = File::create(data_dir.join("relay.lock")).map_err(explain)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(format!(
            "server.data_dir {}: another relay is running on it; stop it or name another",
            data_dir.display()
        )
        .into()),
        Err(std::fs::TryLockError::Error(error)) => Err(explain(error).into()),
    }
}

/// A token of `user` in `project`, signed with the key of the server that has this configuration.
pub fn mint_token(config: &Config, user: &str, project: &str, ttl: Duration) -> Result<String, Failure> {
    let keys = KeyRing::load(&config.auth, &config.server.data_dir)?;
    let user = UserKey { project: ProjectId::parse(project, "--project")?, user: UserId::parse(user, "--user")? };
    Ok(identity::mint(&keys, &user, SystemClock.now(), ttl)?)
}
