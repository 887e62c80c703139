//! One struct a section of `relay.default.toml`, which says what each key means, its unit and why it is as it is.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::id::MAX_ID_BYTES;

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in relay.default.toml, key by key")]
pub struct Config {
    pub server: ServerConfig,
    pub database: DatabaseConfig,
    pub redis: RedisConfig,
    pub auth: AuthConfig,
    pub stream: StreamConfig,
    pub chat: ChatConfig,
    pub presence: PresenceConfig,
    pub log: LogConfig,
}

/// The largest `chat.append_batch`: so many messages fit one statement.
pub const MAX_APPEND_BATCH: usize = 1_024;

/// `[server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in relay.default.toml, key by key")]
pub struct ServerConfig {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub max_connections: usize,
    pub max_concurrent_streams: u32,
    pub max_request_bytes: usize,
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub reconnect_spread: Duration,
    #[serde(with = "humantime_serde")]
    pub http2_keepalive_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub http2_keepalive_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub tcp_keepalive: Duration,
    pub cors_origins: Vec<String>,
}

/// `[database]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in relay.default.toml, key by key")]
pub struct DatabaseConfig {
    pub url: SecretString,
    pub replica_url: SecretString,
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    pub read_connections: u32,
    pub write_connections: u32,
    pub cache_kib: u32,
}

/// `[redis]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in relay.default.toml, key by key")]
pub struct RedisConfig {
    pub url: SecretString,
    pub prefix: String,
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub command_timeout: Duration,
    pub queue_bytes: usize,
    #[serde(with = "humantime_serde")]
    pub probe_interval: Duration,
}

/// `[auth]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in relay.default.toml, key by key")]
pub struct AuthConfig {
    pub signing_key: SecretString,
    pub signing_kid: String,
    pub keys: Vec<KeyConfig>,
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
}

/// An entry of `auth.keys`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "algorithm", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in relay.default.toml, key by key")]
pub enum KeyConfig {
    #[serde(rename = "EdDSA")]
    EdDsa { kid: String, public_key: String },
    #[serde(rename = "HS256")]
    Hs256 { kid: String, secret: SecretString },
}

/// `[stream]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in relay.default.toml, key by key")]
pub struct StreamConfig {
    #[serde(with = "humantime_serde")]
    pub heartbeat_interval: Duration,
    pub queue_bytes: usize,
    #[serde(with = "humantime_serde")]
    pub open_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub renew_warning: Duration,
    pub catch_up_concurrency: usize,
}

/// `[chat]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in relay.default.toml, key by key")]
pub struct ChatConfig {
    pub max_rooms_per_user: usize,
    pub max_members_per_room: usize,
    pub max_streams_per_user: usize,
    pub max_sends_in_flight: usize,
    pub max_replay_events: u64,
    #[serde(with = "humantime_serde")]
    pub event_retention: Duration,
    #[serde(with = "humantime_serde")]
    pub retention_interval: Duration,
    pub append_queue_bytes: usize,
    pub append_batch: usize,
    #[serde(with = "humantime_serde")]
    pub lane_wait: Duration,
    pub lane_wait_bytes: usize,
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub check_interval_alone: Duration,
    pub hot_events: usize,
    pub hot_bytes: usize,
    #[serde(with = "humantime_serde")]
    pub hot_ttl: Duration,
    #[serde(with = "humantime_serde")]
    pub index_delay: Duration,
    #[serde(with = "humantime_serde")]
    pub index_look_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub typing_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub receipt_interval: Duration,
    pub receipt_queue: usize,
}

/// `[presence]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in relay.default.toml, key by key")]
pub struct PresenceConfig {
    #[serde(with = "humantime_serde")]
    pub node_lease: Duration,
    #[serde(with = "humantime_serde")]
    pub close_delay: Duration,
    pub full_room_members: u64,
    #[serde(with = "humantime_serde")]
    pub room_interval: Duration,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in relay.default.toml, key by key")]
pub struct LogConfig {
    pub level: String,
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "documented in relay.default.toml")]
pub enum LogFormat {
    Text,
    Json,
}

impl DatabaseConfig {
    /// Whether the database is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        let url = self.url.expose_secret();
        url.starts_with("postgres:") || url.starts_with("postgresql:")
    }
}

impl Config {
    /// What is out of range, as `section.key: what is wrong`; empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut range = |key: &str, value: u128, min: u128, max: u128| {
            if value < min || value > max {
                problems.push(format!("{key}: {value} is outside {min} to {max}"));
            }
        };
        let (server, database, stream, chat) = (&self.server, &self.database, &self.stream, &self.chat);
        range("server.max_connections", server.max_connections as u128, 1, 1_000_000);
        range("server.max_concurrent_streams", server.max_concurrent_streams.into(), 1, 100_000);
        range("server.max_request_bytes", server.max_request_bytes as u128, 65_536, 64 << 20);
        range("server.request_timeout (ms)", server.request_timeout.as_millis(), 100, 600_000);
        range("server.drain_timeout (ms)", server.drain_timeout.as_millis(), 100, 3_600_000);
        range("server.reconnect_spread (ms)", server.reconnect_spread.as_millis(), 0, 600_000);
        range("server.http2_keepalive_interval (ms)", server.http2_keepalive_interval.as_millis(), 1_000, 3_600_000);
        range("server.http2_keepalive_timeout (ms)", server.http2_keepalive_timeout.as_millis(), 100, 3_600_000);
        range("server.tcp_keepalive (ms)", server.tcp_keepalive.as_millis(), 1_000, 86_400_000);
        range("database.connect_timeout (ms)", database.connect_timeout.as_millis(), 100, 60_000);
        range("database.statement_timeout (ms)", database.statement_timeout.as_millis(), 100, 600_000);
        range("database.read_connections", database.read_connections.into(), 1, 256);
        range("database.write_connections", database.write_connections.into(), 1, 64);
        range("database.cache_kib", database.cache_kib.into(), 64, 16 << 20);
        let redis = &self.redis;
        range("redis.prefix (bytes)", redis.prefix.len() as u128, 1, 64);
        range("redis.connect_timeout (ms)", redis.connect_timeout.as_millis(), 100, 60_000);
        range("redis.command_timeout (ms)", redis.command_timeout.as_millis(), 100, 60_000);
        range("redis.queue_bytes", redis.queue_bytes as u128, 1 << 20, 1 << 30);
        range("redis.probe_interval (ms)", redis.probe_interval.as_millis(), 100, 60_000);
        range("auth.signing_kid (bytes)", self.auth.signing_kid.len() as u128, 1, MAX_ID_BYTES as u128);
        range("auth.leeway (s)", self.auth.leeway.as_secs().into(), 0, 300);
        range("stream.heartbeat_interval (ms)", stream.heartbeat_interval.as_millis(), 100, 15_000);
        range("stream.queue_bytes", stream.queue_bytes as u128, 4_096, 1 << 30);
        range("stream.open_timeout (ms)", stream.open_timeout.as_millis(), 100, 600_000);
        range("stream.renew_warning (ms)", stream.renew_warning.as_millis(), 100, 3_600_000);
        range("stream.catch_up_concurrency", stream.catch_up_concurrency as u128, 1, 1_024);
        range("chat.max_rooms_per_user", chat.max_rooms_per_user as u128, 1, 5_000);
        range("chat.max_members_per_room", chat.max_members_per_room as u128, 2, 10_000_000);
        range("chat.max_streams_per_user", chat.max_streams_per_user as u128, 1, 100_000);
        range("chat.max_sends_in_flight", chat.max_sends_in_flight as u128, 1, 65_536);
        range("chat.max_replay_events", chat.max_replay_events.into(), 1, 1 << 40);
        range("chat.event_retention (ms)", chat.event_retention.as_millis(), 1, 1 << 50);
        range("chat.retention_interval (ms)", chat.retention_interval.as_millis(), 10, 86_400_000);
        // The largest message weighs 66,796: a queue that never takes it would refuse it for ever.
        range("chat.append_queue_bytes", chat.append_queue_bytes as u128, 131_072, 4 << 30);
        range("chat.append_batch", chat.append_batch as u128, 1, MAX_APPEND_BATCH as u128);
        range("chat.lane_wait (ms)", chat.lane_wait.as_millis(), 50, 60_000);
        range("chat.lane_wait_bytes", chat.lane_wait_bytes as u128, 131_072, 4 << 30);
        range("chat.check_interval (ms)", chat.check_interval.as_millis(), 100, 600_000);
        range("chat.check_interval_alone (ms)", chat.check_interval_alone.as_millis(), 50, 60_000);
        range("chat.hot_events", chat.hot_events as u128, 0, 10_000);
        range("chat.hot_bytes", chat.hot_bytes as u128, 0, 64 << 30);
        range("chat.hot_ttl (ms)", chat.hot_ttl.as_millis(), 1_000, 86_400_000);
        range("chat.index_delay (ms)", chat.index_delay.as_millis(), 0, 60_000);
        range("chat.index_look_interval (ms)", chat.index_look_interval.as_millis(), 100, 86_400_000);
        range("chat.typing_timeout (ms)", chat.typing_timeout.as_millis(), 100, 60_000);
        range("chat.receipt_interval (ms)", chat.receipt_interval.as_millis(), 50, 60_000);
        range("chat.receipt_queue", chat.receipt_queue as u128, 1, 10_000_000);
        let presence = &self.presence;
        range("presence.node_lease (ms)", presence.node_lease.as_millis(), 1_000, 600_000);
        range("presence.close_delay (ms)", presence.close_delay.as_millis(), 0, 60_000);
        range("presence.full_room_members", presence.full_room_members.into(), 1, 5_000);
        range("presence.room_interval (ms)", presence.room_interval.as_millis(), 100, 600_000);
        problems
    }
}
