//! A connection to Redis, whichever form it has.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use redis::{
    AsyncConnectionConfig, Client, ProtocolVersion, PushInfo, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    Keep, Limits, Shared,
    outbox::Order,
    url::{Address, Kind},
};

/// Channels in one command.
const GROUP: usize = 256;

/// Something that messages come on, and the place for it.
pub(super) type Pushes = mpsc::UnboundedSender<PushInfo>;

/// A connection; clones share it.
#[derive(Clone)]
pub(super) enum Link {
    /// To one server.
    Single(MultiplexedConnection),
    /// To a cluster: Pub/Sub is sharded.
    Cluster(ClusterConnection),
}

impl Link {
    /// Connects. What arrives goes to `pushes`.
    pub(super) async fn connect(address: &Address, limits: Limits, pushes: Pushes) -> RedisResult<Self> {
        timeout(limits.connect, Self::connect_to(address, limits, pushes)).await.map_err(|_| late())?
    }

    async fn connect_to(address: &Address, limits: Limits, pushes: Pushes) -> RedisResult<Self> {
        let config = || {
            AsyncConnectionConfig::new()
                .set_connection_timeout(Some(limits.connect))
                .set_response_timeout(Some(limits.command))
        };
        match &address.kind {
            Kind::Single => {
                let info = address.infos().into_iter().next().ok_or_else(late)?;
                let config = config().set_push_sender(pushes);
                Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await.map(Self::Single)
            }
            Kind::Sentinel(master) => {
                let mut builder = SentinelClientBuilder::new(address.addresses(), master, SentinelServerType::Master)?
                    .set_client_to_redis_db(address.database)
                    .set_client_to_redis_protocol(ProtocolVersion::RESP3);
                if let Some(user) = &address.user {
                    builder = builder.set_client_to_redis_username(user);
                }
                if let Some(password) = &address.password {
                    builder = builder.set_client_to_redis_password(password);
                }
                if let Some(tls) = address.tls_mode() {
                    builder = builder.set_client_to_redis_tls_mode(tls).set_client_to_sentinel_tls_mode(tls);
                }
                let config = config().set_push_sender(pushes);
                builder.build()?.get_async_connection_with_config(&config).await.map(Self::Single)
            }
            Kind::Cluster => {
                let client = ClusterClient::builder(address.infos())
                    .use_protocol(ProtocolVersion::RESP3)
                    .connection_timeout(limits.connect)
                    .response_timeout(limits.command)
                    .push_sender(pushes)
                    .build()?;
                client.get_async_connection().await.map(Self::Cluster)
            }
        }
    }

    /// Asks for channels, by their names in Redis; returns when Redis has said yes.
    pub(super) async fn subscribe(&mut self, names: &[String], limit: Duration) -> RedisResult<()> {
        for group in names.chunks(GROUP) {
            let done = async {
                match self {
                    Self::Single(connection) => connection.subscribe(group).await,
                    // Each goes to its own shard.
                    Self::Cluster(connection) => {
                        let one = |name: &String| {
                            let (mut connection, name) = (connection.clone(), name.clone());
                            async move { connection.ssubscribe(name).await }
                        };
                        try_join_all(group.iter().map(one)).await.map(drop)
                    }
                }
            };
            timeout(limit, done).await.map_err(|_| late())??;
        }
        Ok(())
    }

    /// Does not ask for channels any more.
    pub(super) async fn unsubscribe(&mut self, names: &[String], limit: Duration) -> RedisResult<()> {
        for group in names.chunks(GROUP) {
            let done = async {
                match self {
                    Self::Single(connection) => connection.unsubscribe(group).await,
                    Self::Cluster(connection) => {
                        let one = |name: &String| {
                            let (mut connection, name) = (connection.clone(), name.clone());
                            async move { connection.sunsubscribe(name).await }
                        };
                        try_join_all(group.iter().map(one)).await.map(drop)
                    }
                }
            };
            timeout(limit, done).await.map_err(|_| late())??;
        }
        Ok(())
    }

    /// Carries out orders, in one pipeline.
    pub(super) async fn send(&mut self, orders: &[Order], shared: &Shared) -> RedisResult<()> {
        let mut pipe = redis::pipe();
        let Keep { payloads, ttl } = shared.keep;
        let publish = if matches!(self, Self::Single(_)) { "PUBLISH" } else { "SPUBLISH" };
        for order in orders {
            match order {
                Order::Publish { channel, payload, keep } => {
                    pipe.cmd(publish).arg(shared.name(channel)).arg(&payload[..]).ignore();
                    if *keep && payloads > 0 {
                        let key = shared.key(channel);
                        pipe.cmd("RPUSH").arg(&key).arg(&payload[..]).ignore();
                        pipe.cmd("LTRIM").arg(&key).arg(-(payloads as i64)).arg(-1).ignore();
                        pipe.cmd("PEXPIRE").arg(&key).arg(ttl.as_millis() as u64).ignore();
                    }
                }
                Order::Forget { channel } => drop(pipe.cmd("DEL").arg(shared.key(channel)).ignore()),
            }
        }
        let sent = async {
            match self {
                Self::Single(connection) => pipe.query_async::<()>(connection).await,
                Self::Cluster(connection) => pipe.query_async::<()>(connection).await,
            }
        };
        timeout(shared.limits.command, sent).await.map_err(|_| late())?
    }

    /// What is kept at `key`.
    pub(super) async fn kept(&mut self, key: &str, limit: Duration) -> RedisResult<Vec<Bytes>> {
        let range = redis::cmd("LRANGE").arg(key).arg(0).arg(-1).clone();
        let kept: Vec<Vec<u8>> = timeout(limit, self.query(&range)).await.map_err(|_| late())??;
        Ok(kept.into_iter().map(Bytes::from).collect())
    }

    /// Runs any command.
    pub(super) async fn query<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> RedisResult<T> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

/// The channel and the payload of a message that came in; `None` if it is another push.
pub(super) fn message(push: PushInfo) -> Option<(Vec<u8>, Bytes)> {
    use redis::PushKind::{Message, SMessage};
    if !matches!(push.kind, Message | SMessage) {
        return None;
    }
    let mut data = push.data.into_iter();
    match (data.next(), data.next()) {
        (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) => Some((channel, payload.into())),
        _ => None,
    }
}

/// Redis did not answer in time.
pub(super) fn late() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "redis did not answer in time").into()
}
