//! One Redis server: a connection to speak, and one to listen.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisResult, Value, aio::MultiplexedConnection, cmd, io::tcp::TcpSettings,
};
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

use super::{
    fault::Fault,
    url::{Access, Place},
};

/// The oldest version with sharded Pub/Sub.
const OLDEST: u32 = 7;

/// What is done with what Redis pushes; it must not block.
pub(super) type Push = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// How to connect, to whatever server.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) access: Access,
    pub(super) connect_timeout: Duration,
    pub(super) command_timeout: Duration,
}

/// What a server says of itself.
pub(super) struct Greeting {
    version: String,
    mode: String,
    role: String,
}

impl Dialer {
    /// Connects; `push` hears what the server pushes, and that the connection broke.
    pub(super) async fn connect(&self, place: &Place, push: Push) -> Result<MultiplexedConnection, Fault> {
        let wrong = |error: redis::RedisError| match error.kind() {
            // HELLO came with version 6.
            ErrorKind::RESP3NotSupported => Fault::VeryOld(place.clone()),
            _ => Fault::Redis(place.clone(), error),
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.command_timeout))
            .set_push_sender(move |info: PushInfo| -> Result<(), ()> {
                push(info);
                Ok(())
            });
        let client = self.client(place).map_err(wrong)?;
        // The crate's limit leaves out some of what it does.
        match timeout(self.connect_timeout, client.get_multiplexed_async_connection_with_config(&config)).await {
            Ok(Err(error)) if error.is_timeout() => Err(self.silent(place)),
            Ok(connected) => connected.map_err(wrong),
            Err(_) => Err(self.silent(place)),
        }
    }

    fn client(&self, place: &Place) -> RedisResult<Client> {
        let (host, port) = (place.host.clone(), place.port);
        let address = match self.access.tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        };
        let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_db(self.access.db);
        if let Some(user) = &self.access.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.access.password {
            settings = settings.set_password(password.expose_secret());
        }
        // A pipeline's last bytes are not to wait until its first are acknowledged.
        let tcp = TcpSettings::default().set_nodelay(true);
        Client::open(address.into_connection_info()?.set_redis_settings(settings).set_tcp_settings(tcp))
    }

    fn silent(&self, place: &Place) -> Fault {
        Fault::Silent(format!("Redis at {place}"), self.connect_timeout, "redis.connect_timeout")
    }
}

/// Asks a server what it is. Everybody may.
pub(super) async fn greet(place: &Place, connection: &mut MultiplexedConnection) -> Result<Greeting, Fault> {
    let wrong = |error| Fault::Redis(place.clone(), error);
    let mut said: HashMap<String, Value> = cmd("HELLO").query_async(connection).await.map_err(wrong)?;
    let mut text = |key: &str| {
        let value = said.remove(key).unwrap_or(Value::Nil);
        redis::from_redis_value::<String>(value).unwrap_or_default()
    };
    Ok(Greeting { version: text("version"), mode: text("mode"), role: text("role") })
}

impl Greeting {
    /// It is new enough, and the kind of server that the URL says.
    pub(super) fn check(&self, place: &Place, clustered: bool) -> Result<(), Fault> {
        let major = self.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        let place = place.clone();
        if self.mode == "sentinel" {
            return Err(Fault::IsSentinel(place));
        }
        // A version that cannot be read is a fork's; it may well do.
        if major.is_some_and(|major| major < OLDEST) {
            return Err(Fault::Old(place, self.version.clone()));
        }
        match (self.mode == "cluster", clustered) {
            (true, false) => Err(Fault::IsCluster(place)),
            (false, true) => Err(Fault::NoCluster(place)),
            _ => self.check_role(place),
        }
    }

    pub(super) fn check_role(&self, place: Place) -> Result<(), Fault> {
        match self.role.as_str() {
            "replica" | "slave" => Err(Fault::Replica(place)),
            _ => Ok(()),
        }
    }

    /// It is a Sentinel.
    pub(super) fn check_sentinel(&self, place: &Place) -> Result<(), Fault> {
        match self.mode == "sentinel" {
            true => Ok(()),
            false => Err(Fault::NoSentinel(place.clone())),
        }
    }
}
