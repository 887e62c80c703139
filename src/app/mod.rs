//! The composition root: it alone picks the parts and wires them together.
//!
//! | file       | job                                                           |
//! |------------|---------------------------------------------------------------|
//! | `ground`   | what everything stands on: database, keys, bus, hub, listener |
//! | `live`     | how things are now: receipts, presence, typing, blocks        |
//! | `options`  | settings to the options of the parts                          |
//! | `commands` | what is done without serving                                  |

mod commands;
mod ground;
mod live;
mod options;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
pub use commands::{adopt_key, check, migrate, mint_token};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use self::{ground::Ground, live::Live, options::log_options};
use crate::{
    chat::{
        Appender, Chat, Encoder, Frame, History, Hot, Indexer, PageTokens, Presence, Publisher, PublisherParts, Pulse,
        Retention, Watch,
    },
    config::Config,
    db::Db,
    error::Error,
    hub::Hub,
    lifecycle::{Draining, Signals, Tasks},
    rpc::{Listener, Services, router},
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
    stops: Stops,
    drain_timeout: Duration,
    reconnect_spread: Duration,
    signals: Signals,
}

/// What ends tasks, in the order in which they end.
#[derive(Clone, Default)]
struct Stops {
    /// Those that nobody waits for.
    idle: CancellationToken,
    /// The log.
    log: CancellationToken,
    /// The receipts.
    receipts: CancellationToken,
    /// The bus.
    bus: CancellationToken,
}

impl App {
    /// Opens everything and binds the port. Nothing is served before [`App::run`].
    pub async fn start(config: &Config) -> Result<Self, Failure> {
        commands::make_data_dir(config)?;
        // Before anybody is told that the server is there: from then on a signal means drain.
        let signals = Signals::listen()?;
        let (mut tasks, stops) = (Tasks::default(), Stops::default());
        let (ground, ear) = Ground::lay(config, &mut tasks, &stops).await?;
        let Ground { db, hub, bus, encoder, clock, metrics, .. } = &ground;
        let hot = Arc::new(Hot::new(config.into(), clock.clone()));
        let history = History::new(
            db.clone(),
            hub.clone(),
            bus.clone(),
            hot.clone(),
            encoder.clone(),
            metrics.clone(),
            config.stream.catch_up_concurrency,
        );
        let live = Live::start(config, &ground, &history, &mut tasks, &stops);
        let (committed, to_publish) = mpsc::channel(COMMITTED_BATCHES);
        let (log, appenders) = Appender::new(
            log_options(config, db.is_shared()),
            db.clone(),
            clock.clone(),
            committed,
            metrics.clone(),
            live.receipts.clone(),
        );
        for appender in appenders {
            tasks.spawn("appender", appender.run(stops.log.clone()));
        }
        let indexer = Indexer::new(config.into(), db.clone());
        tasks.spawn("indexer", indexer.clone().run(stops.idle.clone()));
        let publisher_parts = PublisherParts {
            node: ground.node,
            db: db.clone(),
            hub: hub.clone(),
            bus: bus.clone(),
            hot,
            indexer: indexer.clone(),
            renewals: live.renewals.clone(),
            blocks: live.blocks.clone(),
            typing: live.typing.clone(),
            presence: live.presence.clone(),
            receipts: live.receipts.clone(),
            encoder: encoder.clone(),
            metrics: metrics.clone(),
        };
        let (publisher, links) = Publisher::new(publisher_parts, to_publish, ear);
        tasks.spawn("publisher", publisher.run());
        let watch =
            Watch::new(config.into(), db.clone(), hub.clone(), bus.clone(), clock.clone(), metrics.clone(), links);
        tasks.spawn("watch", watch.run(stops.idle.clone()));
        let pulse = Pulse::new(hub.clone(), encoder.clone(), clock.clone(), config.stream.heartbeat_interval);
        tasks.spawn("pulse", pulse.run(stops.idle.clone()));
        let retention = Retention::new(config.into(), log.clone(), clock.clone());
        tasks.spawn("retention", retention.run(stops.idle.clone()));
        let pages = PageTokens::new(ground.keys.page_tokens());
        let chat = Chat::new(
            log,
            db.clone(),
            history,
            live.blocks.clone(),
            live.receipts.clone(),
            pages,
            indexer,
            config.into(),
        );
        Self::assemble(config, ground, live, chat, tasks, stops, signals)
    }

    /// The server around chat.
    fn assemble(
        config: &Config,
        ground: Ground,
        live: Live,
        chat: Chat,
        tasks: Tasks,
        stops: Stops,
        signals: Signals,
    ) -> Result<Self, Failure> {
        let Ground { listener, db, hub, bus, encoder, clock, metrics, tokens, .. } = ground;
        let (health, draining) = (HealthReporter::new(), Draining::default());
        let services = Services {
            chat,
            feed: live.feed,
            hub: hub.clone(),
            bus,
            renewals: live.renewals,
            typing: live.typing,
            presence: live.presence.clone(),
            tokens,
            clock,
            metrics,
            draining: draining.clone(),
            health: health.clone(),
        };
        let router = router(services, &config.server, &config.stream, config.chat.max_sends_in_flight)?;
        let (drain_timeout, reconnect_spread) = (config.server.drain_timeout, config.server.reconnect_spread);
        let presence = live.presence;
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
            stops,
            drain_timeout,
            reconnect_spread,
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
        self.stops.idle.cancel();
        let last_call = deadline - self.drain_timeout / 4;
        tokio::spawn(async move {
            tokio::time::sleep_until(last_call).await;
            out_of_time.cancel();
        });
        let ending = async {
            while let Some(ended) = self.tasks.next_ended().await {
                match ended? {
                    // Only when nobody can send any more does the log write its last,
                    "listener" => self.stops.log.cancel(),
                    // then the receipts, those of the last senders among them,
                    "publisher" => self.stops.receipts.cancel(),
                    // and only then is the last told to other nodes.
                    "receipts" => self.stops.bus.cancel(),
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
