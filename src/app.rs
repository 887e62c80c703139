//! The composition root: it alone picks the parts and wires them together.

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use secrecy::ExposeSecret as _;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    bus::{Bus, Ear, Keep, LocalBus, RedisBus, ear},
    chat::{
        Appender, Chat, Encoder, Feed, FeedOptions, FeedParts, Frame, History, Hot, HotOptions, Indexer,
        IndexerOptions, Limits, LogOptions, PageTokens, Presence, PresenceOptions, PresenceParts, Publisher,
        PublisherParts, Pulse, ReceiptOptions, ReceiptParts, Receipts, Renewals, Retention, RetentionOptions, Teller,
        Typing, TypingParts, Watch, WatchOptions, moderation::Blocks,
    },
    clock::{Clock, SystemClock},
    config::{Config, DatabaseConfig},
    db::Db,
    error::Error,
    hub::{Attendance, Hub, HubOptions},
    id::{ProjectId, UserId, UserKey},
    identity::{self, KeyRing, Tokens},
    lifecycle::{self, Draining, Signals, Tasks},
    rpc::{Listener, Services, WireEncoder, cors, router},
    telemetry::{self, Metrics},
};

/// Batches of committed events that wait to be published; beyond it the log waits.
const COMMITTED_BATCHES: usize = 4;

/// Why a command failed, for the person who gave it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A server that is ready to run.
pub struct App {
    listener: Listener,
    router: Router,
    hub: Arc<Hub>,
    presence: Arc<Presence>,
    db: Db,
    encoder: Arc<dyn Encoder>,
    tasks: Tasks,
    draining: Draining,
    health: HealthReporter,
    stop: CancellationToken,
    stop_writing: CancellationToken,
    stop_receipts: CancellationToken,
    stop_bus: CancellationToken,
    drain_timeout: Duration,
    reconnect_spread: Duration,
    signals: Signals,
}

impl App {
    /// Opens everything and binds the port. Nothing is served before [`App::run`].
    pub async fn start(config: &Config) -> Result<Self, Failure> {
        make_data_dir(config)?;
        // Before anybody is told that the server is there: from then on a signal means drain.
        let signals = Signals::listen()?;
        warn_of_few_files(config.server.max_connections);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let encoder: Arc<dyn Encoder> = Arc::new(WireEncoder);
        let metrics = Arc::new(Metrics::new());
        let keys = Arc::new(KeyRing::load(&config.auth, &config.server.data_dir)?);
        let db = Db::open(&config.database, &config.server.data_dir, metrics.clone()).await?;
        let projects: HashSet<ProjectId> = identity::projects(&db).await?;
        let tokens = Tokens::new(keys.clone(), projects, clock.clone(), config.auth.leeway);
        // Before any task runs: a port that is taken ends the start, and nothing else.
        let listener = Listener::bind(config.server.listen, (&config.server).into(), metrics.clone())
            .map_err(|error| format!("cannot listen on {}: {error}", config.server.listen))?;
        identity::agree_on_key(&db, &keys, clock.now()).await?;
        let node = uuid::Uuid::now_v7();
        let mut tasks = Tasks::default();
        let stop_bus = CancellationToken::new();
        let (bus, ear) = link(config, &db, &metrics, &mut tasks, &stop_bus).await?;
        let hub_options = HubOptions {
            queue_bytes: config.stream.queue_bytes,
            max_streams_per_user: config.chat.max_streams_per_user,
            heartbeat_interval: config.stream.heartbeat_interval,
            renew_warning: config.stream.renew_warning,
        };
        let hub = Arc::new(Hub::new(hub_options, bus.clone()));
        let hot_options =
            HotOptions { events: config.chat.hot_events, bytes: config.chat.hot_bytes, ttl: config.chat.hot_ttl };
        let hot = Arc::new(Hot::new(hot_options, clock.clone()));
        let history = History::new(
            db.clone(),
            hub.clone(),
            bus.clone(),
            hot.clone(),
            encoder.clone(),
            metrics.clone(),
            config.stream.catch_up_concurrency,
        );
        let typing_parts = TypingParts {
            node,
            db: db.clone(),
            hub: hub.clone(),
            bus: bus.clone(),
            encoder: encoder.clone(),
            clock: clock.clone(),
        };
        let typing = Typing::new(config.chat.typing_timeout, typing_parts);
        let renewals = Arc::new(Renewals::new(node, bus.clone()));
        let presence_options = PresenceOptions {
            node_lease: config.presence.node_lease,
            close_delay: config.presence.close_delay,
            full_room_members: config.presence.full_room_members,
            room_interval: config.presence.room_interval,
        };
        let presence_parts = PresenceParts {
            node,
            db: db.clone(),
            hub: hub.clone(),
            bus: bus.clone(),
            renewals: renewals.clone(),
            encoder: encoder.clone(),
            clock: clock.clone(),
        };
        let (presence, presence_task) = Presence::new(presence_options, presence_parts);
        let receipt_options =
            ReceiptOptions { interval: config.chat.receipt_interval, queue: config.chat.receipt_queue };
        let receipt_parts = ReceiptParts {
            node,
            db: db.clone(),
            hub: hub.clone(),
            bus: bus.clone(),
            encoder: encoder.clone(),
            metrics: metrics.clone(),
        };
        let (receipts, flusher, devices) = Receipts::new(receipt_options, receipt_parts);
        let feed_options = FeedOptions {
            max_replay_events: config.chat.max_replay_events,
            queue_bytes: config.stream.queue_bytes,
            heartbeat_interval: config.stream.heartbeat_interval,
        };
        let feed_parts = FeedParts {
            db: db.clone(),
            hub: hub.clone(),
            history: history.clone(),
            typing: typing.clone(),
            presence: presence.clone(),
            receipts: receipts.clone(),
            encoder: encoder.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let feed = Feed::start(feed_options, feed_parts);
        let (of_typing, of_presence) = (typing.clone(), presence.clone());
        hub.on_attendance(Box::new(move |user, what| {
            of_presence.attend(user, what);
            if let Attendance::Closed { last: true, .. } = what {
                of_typing.gone(user);
            }
        }));

        let (stop, stop_writing, stop_receipts) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let (committed, to_publish) = mpsc::channel(COMMITTED_BATCHES);
        let log_options = LogOptions {
            queue_bytes: config.chat.append_queue_bytes,
            batch: config.chat.append_batch,
            appenders: if db.is_shared() { config.database.write_connections as usize } else { 1 },
            lane_wait: config.chat.lane_wait,
            lane_wait_bytes: config.chat.lane_wait_bytes,
        };
        let (log, appenders) =
            Appender::new(log_options, db.clone(), clock.clone(), committed, metrics.clone(), receipts.clone());
        for appender in appenders {
            tasks.spawn("appender", appender.run(stop_writing.clone()));
        }
        let indexer_options =
            IndexerOptions { delay: config.chat.index_delay, look_interval: config.chat.index_look_interval };
        let indexer = Indexer::new(indexer_options, db.clone());
        tasks.spawn("indexer", indexer.clone().run(stop.clone()));
        let teller = Teller::new(node, bus.clone());
        let blocks = Arc::new(Blocks::new(db.clone(), hub.clone(), encoder.clone(), teller));
        let publisher_parts = PublisherParts {
            node,
            db: db.clone(),
            hub: hub.clone(),
            bus: bus.clone(),
            hot,
            indexer: indexer.clone(),
            renewals: renewals.clone(),
            blocks: blocks.clone(),
            typing: typing.clone(),
            presence: presence.clone(),
            receipts: receipts.clone(),
            encoder: encoder.clone(),
            metrics: metrics.clone(),
        };
        let (publisher, links) = Publisher::new(publisher_parts, to_publish, ear);
        tasks.spawn("publisher", publisher.run());
        tasks.spawn("receipts", flusher.run(stop_receipts.clone()));
        tasks.spawn("devices", devices.run(stop.clone()));
        let watch_options =
            WatchOptions { interval: config.chat.check_interval, interval_alone: config.chat.check_interval_alone };
        let watch =
            Watch::new(watch_options, db.clone(), hub.clone(), bus.clone(), clock.clone(), metrics.clone(), links);
        tasks.spawn("watch", watch.run(stop.clone()));
        tasks.spawn("presence", presence_task.run(stop.clone()));
        tasks.spawn("typing", typing.clone().run(stop.clone()));
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
        let chat =
            Chat::new(log, db.clone(), history, blocks, receipts, PageTokens::new(keys.page_tokens()), indexer, limits);
        let (health, draining) = (HealthReporter::new(), Draining::default());
        let services = Services {
            chat,
            feed,
            hub: hub.clone(),
            bus,
            renewals,
            typing,
            presence: presence.clone(),
            tokens,
            clock,
            metrics: metrics.clone(),
            draining: draining.clone(),
            health: health.clone(),
        };
        let router = router(services, &config.server, &config.stream, config.chat.max_sends_in_flight)?;
        Ok(Self {
            listener,
            router,
            hub,
            presence,
            db,
            encoder,
            tasks,
            draining,
            health,
            stop,
            stop_writing,
            stop_receipts,
            stop_bus,
            drain_timeout: config.server.drain_timeout,
            reconnect_spread: config.server.reconnect_spread,
            signals,
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.listener.address()?)
    }

    /// Serves until a signal, then drains. A second signal ends the process at once.
    ///
    /// # Errors
    /// A task without which it is no server ended, or draining took longer than it may.
    pub async fn run(mut self) -> Result<(), Failure> {
        let (stop_listening, out_of_time) = (CancellationToken::new(), CancellationToken::new());
        // Before the first call is answered: it may be a health check.
        report(&self.health, ServingStatus::Serving).await;
        self.tasks.spawn("listener", self.listener.run(self.router, stop_listening.clone(), out_of_time.clone()));
        tokio::select! {
            () = self.signals.next() => {}
            ended = self.tasks.next_ended() => return Err(format!("a task ended early: {ended:?}").into()),
        }
        tokio::spawn(async move {
            self.signals.next().await;
            tracing::warn!("second signal: leaving at once");
            std::process::exit(1);
        });
        let deadline = Instant::now() + self.drain_timeout;
        tracing::info!(streams = self.hub.session_count(), "draining");
        self.presence.leave();
        self.draining.set();
        report(&self.health, ServingStatus::NotServing).await;
        drain(&self.hub, &*self.encoder, self.reconnect_spread, deadline - self.drain_timeout / 2).await;
        stop_listening.cancel();
        self.stop.cancel();
        let last_call = deadline - self.drain_timeout / 4;
        tokio::spawn(async move {
            tokio::time::sleep_until(last_call).await;
            out_of_time.cancel();
        });
        let ending = async {
            while let Some(ended) = self.tasks.next_ended().await {
                match ended? {
                    // Only when nobody can send any more does the log write its last,
                    "listener" => self.stop_writing.cancel(),
                    // then the receipts, those of the last senders among them,
                    "publisher" => self.stop_receipts.cancel(),
                    // and only then is the last told to other nodes.
                    "receipts" => self.stop_bus.cancel(),
                    _ => {}
                }
            }
            self.db.close().await;
            Ok::<_, Failure>(())
        };
        tokio::time::timeout_at(deadline, ending).await.map_err(|_| "draining took longer than server.drain_timeout")?
    }
}

async fn report(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        health.set_service_status(service, status).await;
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

/// What health reports on.
const SERVICES: [&str; 5] = [
    "",
    "relay.chat.v1.ChatService",
    "relay.chat.v1.RoomService",
    "relay.chat.v1.PresenceService",
    "relay.chat.v1.ModerationService",
];

/// Tells every stream to move, gives them the time that they were told to take, and ends those that are still there.
async fn drain(hub: &Hub, encoder: &dyn Encoder, spread: Duration, at_most: Instant) {
    // A client that is told to come back later than it is cut off would only be away for longer.
    let spread = spread.min(at_most.saturating_duration_since(Instant::now()));
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
        session.end(Error::draining());
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

fn make_data_dir(config: &Config) -> Result<(), Failure> {
    let data_dir = &config.server.data_dir;
    Ok(std::fs::create_dir_all(data_dir).map_err(|e| format!("server.data_dir {}: {e}", data_dir.display()))?)
}

/// The database, whatever its replica does.
async fn open_alone(config: &Config) -> Result<Db, Failure> {
    let database = DatabaseConfig { replica_url: Default::default(), ..config.database.clone() };
    Ok(Db::open(&database, &config.server.data_dir, Arc::default()).await?)
}

/// Brings the schema of the database up to date. Several may do so at once: one does it, the others find it done.
pub async fn migrate(config: &Config) -> Result<(), Failure> {
    make_data_dir(config)?;
    open_alone(config).await?.close().await;
    Ok(())
}

/// Makes the signing key of `config` the one of all Relays on the database. Answers whether it was another before.
pub async fn adopt_key(config: &Config) -> Result<bool, Failure> {
    make_data_dir(config)?;
    let keys = KeyRing::load(&config.auth, &config.server.data_dir)?;
    let db = open_alone(config).await?;
    let adopted = identity::adopt_key(&db, &keys, SystemClock.now()).await?;
    db.close().await;
    Ok(adopted)
}

/// Looks at all settings as [`App::start`] would, and touches nothing.
pub fn check(config: &Config) -> Result<(), Failure> {
    KeyRing::check(&config.auth)?;
    Db::check(&config.database, &config.server.data_dir)?;
    if !config.redis.url.expose_secret().is_empty() {
        RedisBus::check(&config.redis)?;
    }
    telemetry::log_filter(&config.log)?;
    cors(&config.server.cors_origins).map(drop)?;
    Ok(())
}

/// A token of `user` in `project`, whose admin they are if it says so, signed with the key of the server that has this
/// configuration.
pub fn mint_token(config: &Config, user: &str, project: &str, admin: bool, ttl: Duration) -> Result<String, Failure> {
    let keys = KeyRing::load(&config.auth, &config.server.data_dir)?;
    let user = UserKey { project: ProjectId::parse(project, "--project")?, user: UserId::parse(user, "--user")? };
    Ok(identity::mint(&keys, &user, admin, SystemClock.now(), ttl)?)
}
