//! What can be wrong with Redis, in words for the person who runs Relay. None repeats a password.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::url::Place;

/// Why Redis cannot be used, or cannot be used any longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0} does not answer within {2} ({after}): is it running, and does a firewall let Relay through?",
        after = humantime::format_duration(*.1))]
    Silent(String, Duration, &'static str),
    #[error("Redis at {0}: {1}: {advice}", advice = advice(.1))]
    Redis(Place, RedisError),
    #[error("Redis at {0} is version {1}; Relay needs 7 or newer: upgrade it, or name another")]
    Old(Place, String),
    #[error("Redis at {0} is older than version 6; Relay needs 7 or newer: upgrade it, or name another")]
    VeryOld(Place),
    #[error(
        "Redis at {0} is a node of a cluster: write redis.url as redis+cluster://USER:PASSWORD@HOST:6379,HOST:6379"
    )]
    IsCluster(Place),
    #[error("Redis at {0} is not a node of a cluster: write redis.url as redis://USER:PASSWORD@HOST:6379/DB")]
    NoCluster(Place),
    #[error(
        "what answers at {0} is a Sentinel: write redis.url as redis+sentinel://USER:PASSWORD@HOST:26379/MASTER/DB"
    )]
    IsSentinel(Place),
    #[error("what answers at {0} is Redis and no Sentinel: write redis.url as redis://USER:PASSWORD@HOST:6379/DB")]
    NoSentinel(Place),
    #[error("the Sentinel at {0} knows no master named {1}: redis.url ends in /MASTER, as its sentinel.conf names it")]
    NoMaster(Place, String),
    #[error("Redis at {0} is a replica: name its master in redis.url")]
    Replica(Place),
    #[error("the cluster says nothing of {0} of its 16384 slots: mend it (redis-cli --cluster check)")]
    Uncovered(usize),
    #[error("Redis at {0} takes messages and delivers none: is there something between that does not pass them on?")]
    Deaf(Place),
    #[error("Redis at {0}: the connection broke")]
    Broken(Place),
    #[error("Redis at {0}: slots have moved to another server")]
    Moved(Place),
}

impl Fault {
    /// Whether it stays until somebody mends it, as far as can be told.
    pub(super) fn lasts(&self) -> bool {
        match self {
            Self::Redis(_, error) => {
                !error.is_io_error() && !error.is_cluster_error() && error.code() != Some("LOADING")
            }
            Self::Silent(..) | Self::Replica(_) | Self::Uncovered(_) => false,
            Self::Deaf(_) | Self::Broken(_) | Self::Moved(_) => false,
            _ => true,
        }
    }
}

fn advice(error: &RedisError) -> &'static str {
    match error.code() {
        Some("WRONGPASS") => return "redis.url needs a user and a password that it accepts",
        Some("NOAUTH") => return "redis.url needs a password",
        Some("NOPERM") => return PERMISSIONS,
        Some("OOM") => return "it is at its maxmemory: give it more, or let it evict (maxmemory-policy allkeys-lru)",
        _ => {}
    }
    let text = error.to_string();
    match error.kind() {
        ErrorKind::AuthenticationFailed => "redis.url needs a user and a password that it accepts",
        ErrorKind::Server(ServerErrorKind::NoPerm) => PERMISSIONS,
        ErrorKind::Server(ServerErrorKind::BusyLoading) => "it is starting; try again in a moment",
        ErrorKind::Server(ServerErrorKind::ClusterDown) => "mend the cluster (redis-cli --cluster check)",
        _ if text.contains("certificate") => {
            "Relay trusts the system's certificates, or those of the file that the environment's SSL_CERT_FILE names"
        }
        ErrorKind::Io => {
            "is it running, does redis.url name its host and port, and is TLS (rediss) on at both or at none?"
        }
        _ => "see its log",
    }
}

const PERMISSIONS: &str = "its user needs, with PREFIX for redis.prefix: ~PREFIX:* &PREFIX:* +publish +spublish +subscribe \
    +ssubscribe +unsubscribe +sunsubscribe +rpush +ltrim +pexpire +lrange +del, and in a cluster +cluster|slots";
