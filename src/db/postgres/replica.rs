//! A replica that history is read from while it answers. It is never waited for: there is another place to read.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

use super::{Connections, PRIMARY, REPLICA, Reader, connections::Limits, open, place::Place, url};
use crate::{
    config::DatabaseConfig,
    db::{Args, FromRow, OpenError},
};

/// How long the replica may take to answer, before the database itself is asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much longer than the server's own limit a statement is waited for.
const GRACE: Duration = Duration::from_millis(250);
/// How often a replica that was away is looked for.
const AGAIN: Duration = Duration::from_secs(1);
/// Answers at once, with nothing, where history can be read.
const PROBE: &str = "SELECT 1 FROM rooms, messages, reactions, events LIMIT 0";

/// A replica; clones share it.
#[derive(Clone)]
pub(in crate::db) struct Replica {
    inner: Arc<Inner>,
}

struct Inner {
    reader: Reader,
    /// It failed, and a task looks for it.
    away: AtomicBool,
}

impl Replica {
    /// Opens the replica that `config` names, and sees that it is one of the database that `config` names.
    pub(in crate::db) async fn open(config: &DatabaseConfig) -> Result<Self, OpenError> {
        let patience = PATIENCE.min(config.statement_timeout);
        let options = open::session(url::parse(REPLICA, &config.replica_url)?, patience);
        let options = options.options([("default_transaction_read_only", "on")]);
        let place = Place::of(REPLICA, &options);
        let mut connection = open::connect(&options, config.connect_timeout, &place).await?;
        let limits = Limits { turn: patience, connect: PATIENCE.min(config.connect_timeout) };
        let connections = Connections::new(options, config.read_connections, limits);
        let reader = Reader { connections, patience: patience + GRACE };
        let replica = Self { inner: Arc::new(Inner { reader, away: AtomicBool::new(false) }) };

        compare(&mut connection, &place, config).await?;
        match connection.execute(PROBE).await {
            Ok(_) => {}
            // It has not got so far as to have the tables.
            Err(error) if has_code(&error, "42P01") => replica.lost(&error),
            Err(error) => return Err(place.explain("cannot read from", &error)),
        }
        // It has done what it was for; that it could not say goodbye changes nothing.
        let _ = connection.close().await;
        Ok(replica)
    }

    /// Whether it answered when it was last asked.
    pub(in crate::db) fn is_here(&self) -> bool {
        !self.inner.away.load(Ordering::Relaxed)
    }

    pub(in crate::db) async fn fetch_all<T: FromRow>(&self, statement: &str, args: Args) -> super::Result<Vec<T>> {
        self.inner.reader.fetch_all(statement, args).await.inspect_err(|error| self.lost(error))
    }

    pub(in crate::db) async fn close(&self) {
        self.inner.reader.connections.close().await;
    }

    /// It did not answer: until it does, nobody asks it but one task.
    fn lost(&self, error: &sqlx::Error) {
        if !self.inner.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "the replica does not answer; history is read from the database itself");
            tokio::spawn(look_for(Arc::downgrade(&self.inner)));
        }
    }
}

/// Asks again and again, until it answers or is closed.
async fn look_for(replica: Weak<Inner>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        let Some(inner) = replica.upgrade() else { return };
        match inner.reader.fetch_all::<(i64,)>(PROBE, Args::new()).await {
            Ok(_) => {
                tracing::info!("the replica answers again");
                return inner.away.store(false, Ordering::Relaxed);
            }
            Err(sqlx::Error::PoolClosed) => return,
            Err(_) => {}
        }
    }
}

/// Sees that the replica is one of the database.
async fn compare(connection: &mut PgConnection, place: &Place, config: &DatabaseConfig) -> Result<(), OpenError> {
    let options = url::parse(PRIMARY, &config.url)?;
    let primary = Place::of(PRIMARY, &options);
    let mut original = open::connect(&options, config.connect_timeout, &primary).await?;
    let theirs = cluster(&mut original).await.map_err(|error| primary.explain("cannot ask", &error))?;
    let ours = cluster(connection).await.map_err(|error| place.explain("cannot ask", &error))?;
    let same = match (theirs, ours) {
        (Some(theirs), Some(ours)) => theirs == ours,
        _ => {
            let theirs = migrated(&mut original).await.map_err(|error| primary.explain("cannot ask", &error))?;
            match migrated(connection).await {
                Ok(ours) => ours == theirs,
                // It has not got so far as to have the tables, or never will.
                Err(error) if has_code(&error, "42P01") => false,
                Err(error) => return Err(place.explain("cannot ask", &error)),
            }
        }
    };
    let _ = original.close().await;
    match same {
        true => Ok(()),
        false => Err(place.say("is no replica of database.url: name one in database.replica_url, or leave it empty")),
    }
}

/// The numbers of the cluster and of the database in it, which a streaming replica has as well and nothing else has.
/// `None` where the user may not ask for them.
async fn cluster(connection: &mut PgConnection) -> Result<Option<(i64, i64)>, sqlx::Error> {
    let statement = "SELECT system_identifier, (SELECT oid::int8 FROM pg_database WHERE datname = current_database()) \
         FROM pg_control_system()";
    match connection.fetch_one(statement).await {
        Ok(row) => Ok(Some((row.try_get(0)?, row.try_get(1)?))),
        Err(error) if has_code(&error, "42501") => Ok(None),
        Err(error) => Err(error),
    }
}

/// When the first migration ran, to the microsecond: a copy of the tables has it too.
async fn migrated(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    connection.fetch_one("SELECT MIN(installed_on)::text FROM _sqlx_migrations").await?.try_get(0)
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|found| found == code)
}
