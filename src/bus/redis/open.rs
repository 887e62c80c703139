//! The first connection, at start-up: what is wrong with it is said so that one can mend it. No message has the password.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use secrecy::ExposeSecret as _;
use tokio::{sync::mpsc, time::timeout};

use super::{
    Limits,
    link::Link,
    url::{Address, FORMS, Kind},
};
use crate::config::RedisConfig;

/// The oldest version that Relay works with: sharded Pub/Sub came with it.
const OLDEST: u64 = 7;

/// Redis cannot be used. The message says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(String);

type Result<T> = std::result::Result<T, OpenError>;

impl OpenError {
    pub(super) fn of(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// What the URL names.
pub(super) fn server(config: &RedisConfig) -> Result<Address> {
    Address::parse(config.url.expose_secret())
        .ok_or_else(|| OpenError(format!("redis.url: {FORMS}; this one cannot be read")))
}

/// Connects, and tries all that the bus needs.
pub(super) async fn prove(address: &Address, config: &RedisConfig) -> Result<()> {
    // Others may have chosen already; any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let limits =
        Limits { connect: config.connect_timeout, command: config.command_timeout, probe: config.probe_interval };
    let (pushes, _arriving) = mpsc::unbounded_channel();
    let explain = |error: RedisError| OpenError(explain(address, &error, config.connect_timeout));
    let mut link = Link::connect(address, limits, pushes).await.map_err(explain)?;
    let info: String = answered(&mut link, redis::cmd("INFO").arg("server"), limits).await.map_err(explain)?;
    supported(&info, &address.kind).map_err(|why| OpenError(format!("{address} {why}")))?;
    let name = format!("{}:p/start", config.prefix);
    let key = format!("{}:h:start", config.prefix);
    let publish = if address.kind == Kind::Cluster { "SPUBLISH" } else { "PUBLISH" };
    for command in [
        redis::cmd(publish).arg(&name).arg(""),
        redis::cmd("RPUSH").arg(&key).arg(""),
        redis::cmd("LTRIM").arg(&key).arg(-1).arg(-1),
        redis::cmd("PEXPIRE").arg(&key).arg(1_000),
        redis::cmd("LRANGE").arg(&key).arg(0).arg(-1),
        redis::cmd("DEL").arg(&key),
    ] {
        answered::<redis::Value>(&mut link, command, limits).await.map_err(explain)?;
    }
    link.subscribe(std::slice::from_ref(&name), limits.command).await.map_err(explain)?;
    link.unsubscribe(std::slice::from_ref(&name), limits.command).await.map_err(explain)
}

async fn answered<T: redis::FromRedisValue>(
    link: &mut Link,
    command: &redis::Cmd,
    limits: Limits,
) -> redis::RedisResult<T> {
    timeout(limits.command, link.query(command)).await.map_err(|_| super::link::late())?
}

/// Takes what INFO says.
fn supported(info: &str, kind: &Kind) -> std::result::Result<(), String> {
    let field = |name: &str| info.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
    let version = field("redis_version").unwrap_or("of an unknown version");
    let major: u64 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    if major < OLDEST {
        return Err(format!(
            "is version {version}; Relay needs {OLDEST} or newer: upgrade it, or name another in redis.url"
        ));
    }
    match (kind, field("redis_mode")) {
        (Kind::Single | Kind::Sentinel(_), Some("cluster")) => {
            Err("is a cluster: write redis+cluster:// in redis.url".into())
        }
        (Kind::Cluster, Some("standalone")) => Err("is no cluster: write redis:// in redis.url".into()),
        (_, Some("sentinel")) => Err("is a Sentinel: write redis+sentinel://HOST:26379/MASTER in redis.url".into()),
        _ => Ok(()),
    }
}

/// Says what failed, and what to do about it.
fn explain(address: &Address, error: &RedisError, connect_timeout: Duration) -> String {
    let advice = match (error.kind(), error.code()) {
        (_, Some("WRONGPASS" | "NOAUTH")) | (ErrorKind::AuthenticationFailed, _) => {
            "redis.url needs a user and a password that it accepts".to_owned()
        }
        (_, Some("NOPERM")) | (ErrorKind::Server(ServerErrorKind::NoPerm), _) => {
            "its user needs the rights of: ACL SETUSER relay on >PASSWORD ~relay:* &relay:* +@pubsub +@list +@keyspace +@connection +info \
             (with redis.prefix for relay)"
                .to_owned()
        }
        (_, Some("NOPROTO")) | (ErrorKind::RESP3NotSupported, _) => {
            format!("it is too old: Relay needs version {OLDEST} or newer")
        }
        _ if error.is_timeout() => format!(
            "it does not answer within redis.connect_timeout ({}): is it running, and does a firewall let Relay through?",
            humantime::format_duration(connect_timeout)
        ),
        _ if error.is_io_error() => {
            "is it running, does redis.url name its host and port, and does it take TLS if that says rediss?".to_owned()
        }
        _ if address.kind == Kind::Cluster => "is it a cluster, with all of its slots covered?".to_owned(),
        _ => "see its log".to_owned(),
    };
    format!("cannot use {address}: {error}: {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_kinds_that_do_not_fit_are_refused() {
        let info = |version: &str, mode: &str| format!("# Server\r\nredis_version:{version}\r\nredis_mode:{mode}\r\n");
        assert!(supported(&info("7.0.15", "standalone"), &Kind::Single).is_ok());
        assert!(supported(&info("8.2.1", "cluster"), &Kind::Cluster).is_ok());
        assert!(supported(&info("6.2.14", "standalone"), &Kind::Single).unwrap_err().contains("is version 6.2.14"));
        assert!(supported(&info("7.2.4", "cluster"), &Kind::Single).unwrap_err().contains("redis+cluster://"));
        assert!(supported(&info("7.2.4", "standalone"), &Kind::Cluster).unwrap_err().contains("redis://"));
    }
}
