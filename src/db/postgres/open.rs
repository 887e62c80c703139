//! Opening a Postgres database, and saying what to do when that fails.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions};

use super::{
    Connections, GRACE, PRIMARY, Postgres, REPLICA, Reader, connections::Limits, migrate::migrate, place::Place, url,
};
use crate::{config::DatabaseConfig, db::OpenError};

/// The oldest version that Relay is tested with.
const OLDEST: i64 = 15;

/// Connections for writes that may wait.
const ASIDE: u32 = 2;

type Result<T> = std::result::Result<T, OpenError>;

/// Looks at the URLs.
pub(in crate::db) fn check(config: &DatabaseConfig) -> Result<()> {
    url::parse(PRIMARY, &config.url)?;
    match config.replica_url.expose_secret() {
        "" => Ok(()),
        _ => url::parse(REPLICA, &config.replica_url).map(drop),
    }
}

/// What every connection of Relay's has in common; a statement ends after `patience`.
pub(super) fn session(options: PgConnectOptions, patience: Duration) -> PgConnectOptions {
    let timeout = patience.as_millis().to_string();
    // A node that vanishes in a transaction would keep its rooms locked; so the server ends it.
    let settings = [
        ("statement_timeout", timeout.as_str()),
        ("idle_in_transaction_session_timeout", timeout.as_str()),
        // A plan that was made while a table was empty would be kept when it has grown, and reads all of it.
        ("plan_cache_mode", "force_custom_plan"),
        // Compiling a statement takes longer than any of these runs; guesses about tables that grow let it seem worth it.
        ("jit", "off"),
    ];
    options.application_name("relay").options(settings).statement_cache_capacity(256)
}

/// For connections whose statements look all rows up by their keys: each is planned once, with the plan that suits tables of any
/// size. To plan them anew each time would cost more than to run them.
fn planned_once(options: PgConnectOptions) -> PgConnectOptions {
    options.options([
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ])
}

impl Postgres {
    pub(in crate::db) async fn open(config: &DatabaseConfig) -> Result<Self> {
        let options = session(url::parse(PRIMARY, &config.url)?, config.statement_timeout);
        let place = Place::of(PRIMARY, &options);
        let mut connection = connect(&options, config.connect_timeout, &place).await?;
        check_version(&mut connection, &place).await?;
        migrate(&mut connection, &place).await?;
        // It has done what it was for; that it could not say goodbye changes nothing.
        let _ = connection.close().await;
        let limits = Limits { turn: config.statement_timeout, connect: config.connect_timeout };
        let connections = |options: &PgConnectOptions, max| Connections::new(options.clone(), max, limits);
        let patience = config.statement_timeout + GRACE;
        let reader = Reader { connections: connections(&options, config.read_connections), patience };
        let writers = connections(&planned_once(options.clone()), config.write_connections);
        let aside = connections(&options, ASIDE);
        Ok(Self { writers, aside, reader, patience })
    }
}

pub(super) async fn connect(options: &PgConnectOptions, timeout: Duration, place: &Place) -> Result<PgConnection> {
    match tokio::time::timeout(timeout, options.connect()).await {
        Ok(connected) => connected.map_err(|error| place.explain("cannot open", &error)),
        Err(_) => Err(place.say(&format!(
            "does not answer within database.connect_timeout ({}): is it running, and does a firewall let Relay through?",
            humantime::format_duration(timeout)
        ))),
    }
}

async fn check_version(connection: &mut PgConnection, place: &Place) -> Result<()> {
    let row = connection.fetch_one("SELECT current_setting('server_version_num')::int8").await;
    let number: i64 = row.and_then(|row| row.try_get(0)).map_err(|error| place.explain("cannot ask", &error))?;
    supported(number).map_err(|why| place.say(&why))
}

/// Takes `server_version_num`: 150018 is 15.18.
fn supported(number: i64) -> std::result::Result<(), String> {
    match number / 10_000 {
        OLDEST.. => Ok(()),
        version => Err(format!("is PostgreSQL {version}; Relay needs {OLDEST} or newer: upgrade it, or name another")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_15_are_refused() {
        assert!(supported(150_000).is_ok());
        assert!(supported(180_001).is_ok());
        assert!(supported(140_012).unwrap_err().contains("is PostgreSQL 14; Relay needs 15"));
    }
}
