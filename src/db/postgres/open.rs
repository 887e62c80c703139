//! Opening a Postgres database, and saying what to do when that fails. No message repeats the URL: it holds a password.

use std::{str::FromStr as _, time::Duration};

use secrecy::ExposeSecret as _;
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _,
    migrate::MigrateError,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::{Connections, GRACE, Postgres, connections::Limits};
use crate::{config::DatabaseConfig, db::OpenError};

/// The oldest version that Relay is tested with.
const OLDEST: i64 = 15;

type Result<T> = std::result::Result<T, OpenError>;

/// Where the database is, in words that can be shown.
struct Place(String);

/// Looks at the URL.
pub(in crate::db) fn check(config: &DatabaseConfig) -> Result<()> {
    options(config).map(drop)
}

fn options(config: &DatabaseConfig) -> Result<PgConnectOptions> {
    let wrong =
        |why: &str| OpenError(format!("database.url: takes postgres://user:password@host:5432/database; {why}"));
    let options =
        PgConnectOptions::from_str(config.url.expose_secret()).map_err(|_| wrong("this one cannot be read"))?;
    if matches!(options.get_ssl_mode(), PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
        return Err(wrong(
            "this Relay is built without TLS to the database: leave sslmode away, or go through a tunnel",
        ));
    }
    let timeout = config.statement_timeout.as_millis().to_string();
    // A node that vanishes in a transaction would keep its rooms locked; so the server ends it.
    let limits = [("statement_timeout", timeout.as_str()), ("idle_in_transaction_session_timeout", timeout.as_str())];
    Ok(options.application_name("relay").options(limits).statement_cache_capacity(256))
}

impl Postgres {
    pub(in crate::db) async fn open(config: &DatabaseConfig) -> Result<Self> {
        let options = options(config)?;
        let place = Place::of(&options);
        let mut connection = connect(&options, config.connect_timeout, &place).await?;
        check_version(&mut connection, &place).await?;
        migrate(&mut connection, &place).await?;
        // It has done what it was for; that it could not say goodbye changes nothing.
        let _ = connection.close().await;
        let limits = Limits { turn: config.statement_timeout, connect: config.connect_timeout };
        let connections = |max| Connections::new(options.clone(), max, limits);
        Ok(Self {
            writers: connections(config.write_connections),
            readers: connections(config.read_connections),
            patience: config.statement_timeout + GRACE,
        })
    }
}

async fn connect(options: &PgConnectOptions, timeout: Duration, place: &Place) -> Result<PgConnection> {
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

/// Brings the schema up to date. Of nodes that start together one does it, the others wait: sqlx takes an advisory lock.
async fn migrate(connection: &mut PgConnection, place: &Place) -> Result<()> {
    // A migration, or waiting for another node's, may take longer than a statement of a call.
    connection.execute("SET statement_timeout = 0").await.map_err(|error| place.explain("cannot set up", &error))?;
    sqlx::migrate!("migrations/postgres").run(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => {
            place.say(&format!("was migrated by a newer Relay (migration {version}); start that version"))
        }
        MigrateError::VersionMismatch(version) => place.say(&format!(
            "was migrated by another Relay, whose migration {version} differs from this one's; start that version"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            place.explain("cannot migrate", &error)
        }
        other => place.say(&format!("cannot be migrated: {other}")),
    })
}

impl Place {
    fn of(options: &PgConnectOptions) -> Self {
        let (user, host, port) = (options.get_username(), options.get_host(), options.get_port());
        let host = options.get_socket().map_or_else(|| host.to_owned(), |socket| socket.display().to_string());
        let database = options.get_database().unwrap_or(user);
        Self(format!("the database {database} at {host}:{port} (as {user})"))
    }

    fn say(&self, what: &str) -> OpenError {
        OpenError(format!("{} {what}", self.0))
    }

    /// Says what failed, and what to do about it.
    fn explain(&self, failed: &str, error: &sqlx::Error) -> OpenError {
        let advice = match error {
            sqlx::Error::Io(_) => "is it running, and does database.url name its host and port?",
            sqlx::Error::Tls(_) => "it wants TLS, which this Relay is built without",
            sqlx::Error::Database(error) => match error.code().as_deref() {
                Some("28P01" | "28000") => "database.url needs a user and a password that it accepts",
                Some("3D000") => "create it (CREATE DATABASE), or name another in database.url",
                Some("42501") => {
                    "grant the user CONNECT and CREATE on the database, and CREATE and USAGE on its schema"
                }
                Some("53300") => {
                    "all its connections are taken: raise its max_connections, or lower \
                     database.read_connections and database.write_connections"
                }
                Some("57P03") => "it is starting or stopping; try again in a moment",
                _ => "see its log",
            },
            _ => "see its log",
        };
        OpenError(format!("{failed} {}: {error}: {advice}", self.0))
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

    #[test]
    fn a_place_has_no_password() {
        let options = PgConnectOptions::from_str("postgres://ana:hunter2@db.example:5433/chat").unwrap();
        assert_eq!(Place::of(&options).0, "the database chat at db.example:5433 (as ana)");
    }
}
