//! What operators see: logs on standard error, metrics for Prometheus.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Which lines are logged, as `config` says.
pub fn log_filter(config: &LogConfig) -> Result<EnvFilter, String> {
    EnvFilter::try_new(&config.level).map_err(|e| format!("log.level: {e}"))
}

/// Sends logs to standard error, as `config` says. Answers why it cannot.
pub fn init_logs(config: &LogConfig) -> Result<(), String> {
    let builder = tracing_subscriber::fmt().with_env_filter(log_filter(config)?).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    }
    .map_err(|e| format!("logs: {e}"))
}

/// Which call and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// `package.Service/Method`.
    pub method: String,
    /// The status code's name.
    pub code: &'static str,
}

/// Where history was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HistorySource {
    /// This node's memory.
    Memory,
    /// Redis, for all who want it at once.
    Redis,
    /// The read replica.
    Replica,
    /// The database.
    Primary,
}

/// Where history was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HistoryLabels {
    /// Where.
    pub from: HistorySource,
}

impl EncodeLabelValue for HistorySource {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Replica => "replica",
            Self::Primary => "primary",
        }
        .encode(encoder)
    }
}

impl From<HistorySource> for HistoryLabels {
    fn from(from: HistorySource) -> Self {
        Self { from }
    }
}

/// Why the bus dropped a message: `unsent` and `unhandled` (too much waited), `down` (Redis was away), `refused` (by Redis).
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DropLabels {
    /// Why.
    pub why: &'static str,
}

/// All metrics of a server. Counters are handles: counting is one atomic addition.
#[expect(missing_docs, reason = "each is described where it is registered")]
pub struct Metrics {
    registry: Registry,
    pub calls: Family<CallLabels, Counter>,
    pub connections: Gauge,
    pub sessions: Gauge,
    pub deliveries: Counter,
    pub replayed: Counter,
    pub fell_behind: Counter,
    pub commits: Histogram,
    pub commit_size: Histogram,
    pub lane_waiting: Gauge,
    pub gaps: Counter,
    pub repairs: Counter,
    pub checks: Counter,
    pub history_reads: Family<HistoryLabels, Counter>,
    pub database_reads: Counter,
    /// Messages that came into the search index.
    pub search_indexed: Counter,
    pub receipt_updates: Counter,
    pub bus_up: Gauge,
    pub bus_deaf: Gauge,
    pub bus_watched: Gauge,
    pub bus_published: Counter,
    pub bus_received: Counter,
    pub bus_dropped: Family<DropLabels, Counter>,
    pub bus_probe: Histogram,
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("relay"),
            calls: Family::default(),
            connections: Gauge::default(),
            sessions: Gauge::default(),
            deliveries: Counter::default(),
            replayed: Counter::default(),
            fell_behind: Counter::default(),
            commits: Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0]),
            commit_size: Histogram::new([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0]),
            lane_waiting: Gauge::default(),
            gaps: Counter::default(),
            repairs: Counter::default(),
            checks: Counter::default(),
            history_reads: Family::default(),
            database_reads: Counter::default(),
            search_indexed: Counter::default(),
            receipt_updates: Counter::default(),
            bus_up: Gauge::default(),
            bus_deaf: Gauge::default(),
            bus_watched: Gauge::default(),
            bus_published: Counter::default(),
            bus_received: Counter::default(),
            bus_dropped: Family::default(),
            bus_probe: Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0]),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        r.register("calls", "Unary calls and streams, by method and status", self.calls.clone());
        r.register("connections", "Open connections", self.connections.clone());
        r.register("sessions", "Open streams", self.sessions.clone());
        r.register("deliveries", "Events queued for live streams", self.deliveries.clone());
        r.register("replayed_events", "Events read from the log for streams that were behind", self.replayed.clone());
        r.register("sessions_fell_behind", "Times a stream was switched to the log", self.fell_behind.clone());
        r.register("commit_seconds", "Time from a batch's first statement to its commit", self.commits.clone());
        r.register("commit_writes", "Writes committed together", self.commit_size.clone());
        r.register("lane_waiting", "Messages that wait for others of their lane", self.lane_waiting.clone());
        r.register("early_events", "Pieces of events that came before what belongs before them", self.gaps.clone());
        r.register("repairs", "Times a room's log was read because events did not come", self.repairs.clone());
        r.register("position_checks", "Times rooms' positions were compared with the database", self.checks.clone());
        r.register("history_reads", "Reads of what happened, by where it was found", self.history_reads.clone());
        let reads = self.database_reads.clone();
        r.register("search_indexed", "Messages that came into the search index", self.search_indexed.clone());
        r.register("database_reads", "Statements that only read, outside of transactions that write", reads);
        r.register("receipt_updates", "Rows of members whose cursors were raised", self.receipt_updates.clone());
        r.register("bus_up", "1 while Redis delivers what nodes tell each other", self.bus_up.clone());
        r.register("bus_deaf", "1 while Redis takes messages and delivers none", self.bus_deaf.clone());
        r.register("bus_watched", "Channels that this node watches", self.bus_watched.clone());
        r.register("bus_published", "Messages to other nodes", self.bus_published.clone());
        r.register("bus_received", "Messages of nodes, this one's own included", self.bus_received.clone());
        r.register(
            "bus_dropped",
            "Messages dropped because too much waited, or Redis was away",
            self.bus_dropped.clone(),
        );
        r.register("bus_probe_seconds", "How long a message of this node to itself takes", self.bus_probe.clone());
        self
    }

    /// Counts a read of what happened.
    pub fn read_history(&self, from: HistorySource) {
        self.history_reads.get_or_create(&from.into()).inc();
    }

    /// All of them in the OpenMetrics text format.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
