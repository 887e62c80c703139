//! The database, whichever it is: statements with typed values go in, rows come out, facts are written in transactions.
//!
//! Statements use `$1` placeholders and text that every engine takes. Which engine runs is nobody's business above this
//! folder: times, UUIDs and JSON are values of their own, and each engine stores them in its native form.

mod postgres;
mod row;
mod sqlite;
mod value;

use std::{fmt, path::Path, sync::Arc};

pub use row::{FromRow, Row, RowError, RowResult};
use secrecy::ExposeSecret as _;
pub use value::{Args, Value};

use crate::{
    config::DatabaseConfig,
    error::{Error, Reason, Result},
    telemetry::Metrics,
};

/// The database could not be opened. The message says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(String);

/// A handle on the database; clones share it. Reads run beside each other; on SQLite writes run one transaction after
/// another.
#[derive(Clone)]
pub struct Db {
    engine: Engine,
    replica: Option<postgres::Replica>,
    metrics: Arc<Metrics>,
}

#[derive(Clone)]
enum Engine {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
    /// Rows of a moment ago, and no transactions.
    Replica(postgres::Replica),
}

/// A transaction that may write. Dropped without [`Tx::commit`], it leaves nothing behind.
pub struct Tx {
    engine: TxEngine,
}

enum TxEngine {
    Sqlite(sqlite::Tx),
    Postgres(postgres::Tx),
}

/// What an engine takes that the other does not. Statements that have a form for each choose by it; all others do not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Many rows are a list of `(?,?)`. A transaction that writes is alone: nothing needs a lock.
    ValueLists,
    /// Many rows are an array a column. Transactions write beside each other: rows are locked before they are counted on.
    ArraysAndLocks,
}

impl Db {
    /// Opens the database that `config` names, or the one under `data_dir`, and brings its schema up to date.
    pub async fn open(
        config: &DatabaseConfig,
        data_dir: &Path,
        metrics: Arc<Metrics>,
    ) -> std::result::Result<Self, OpenError> {
        Self::check(config, data_dir)?;
        let engine = match config.is_postgres() {
            true => Engine::Postgres(postgres::Postgres::open(config).await?),
            false => Engine::Sqlite(sqlite::Sqlite::open(config, data_dir).await?),
        };
        let replica = match config.replica_url.expose_secret() {
            "" => None,
            _ => Some(postgres::Replica::open(config).await?),
        };
        Ok(Self { engine, replica, metrics })
    }

    /// Looks at the settings, and opens nothing.
    pub fn check(config: &DatabaseConfig, data_dir: &Path) -> std::result::Result<(), OpenError> {
        match config.is_postgres() {
            true => postgres::check(config),
            false if config.replica_url.expose_secret().is_empty() => sqlite::path(config, data_dir).map(drop),
            false => Err(OpenError("database.replica_url: only Postgres has replicas; name it in database.url".into())),
        }
    }

    /// Whether other programs may work on it at the same time.
    pub fn is_shared(&self) -> bool {
        !matches!(self.engine, Engine::Sqlite(_))
    }

    /// A database that holds what this one held a moment ago, if there is one and it answers. Who reads from it asks it
    /// first how far it is, and is ready for errors: it may be gone the next moment.
    pub fn replica(&self) -> Option<Self> {
        let replica = self.replica.as_ref().filter(|replica| replica.is_here())?.clone();
        Some(Self { engine: Engine::Replica(replica), replica: None, metrics: self.metrics.clone() })
    }

    /// Where what is read is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Begins a transaction that may write. On SQLite it waits for the one before it.
    pub async fn begin(&self) -> Result<Tx> {
        let engine = match &self.engine {
            Engine::Sqlite(engine) => TxEngine::Sqlite(engine.begin().await.map_err(storage)?),
            Engine::Postgres(engine) => TxEngine::Postgres(engine.begin().await.map_err(storage)?),
            Engine::Replica(_) => return Err(Error::internal(&"a replica takes no writes")),
        };
        Ok(Tx { engine })
    }

    /// Begins a transaction that keeps nobody waiting who writes for a caller, where transactions run beside each other. A
    /// crash may undo it after its commit; then it undoes what was committed aside after it as well, and nothing else.
    pub async fn begin_aside(&self) -> Result<Tx> {
        match &self.engine {
            Engine::Postgres(engine) => {
                Ok(Tx { engine: TxEngine::Postgres(engine.begin_aside().await.map_err(storage)?) })
            }
            Engine::Sqlite(_) | Engine::Replica(_) => self.begin().await,
        }
    }

    /// Reads all rows that `statement` gives.
    pub async fn fetch_all<T: FromRow>(&self, statement: &str, args: Args) -> Result<Vec<T>> {
        self.metrics.database_reads.inc();
        match &self.engine {
            Engine::Sqlite(engine) => engine.fetch_all(statement, args).await.map_err(storage),
            Engine::Postgres(engine) => engine.fetch_all(statement, args).await.map_err(storage),
            // It says by itself that it is away: once, and not as an error, because there is another place to read.
            Engine::Replica(engine) => engine
                .fetch_all(statement, args)
                .await
                .map_err(|_| Error::new(Reason::StorageUnavailable, "the replica did not answer")),
        }
    }

    /// Reads the row that `statement` gives, if any.
    pub async fn fetch_optional<T: FromRow>(&self, statement: &str, args: Args) -> Result<Option<T>> {
        Ok(self.fetch_all(statement, args).await?.into_iter().next())
    }

    /// Which form of a statement this engine takes.
    pub fn dialect(&self) -> Dialect {
        match &self.engine {
            Engine::Sqlite(_) => Dialect::ValueLists,
            Engine::Postgres(_) | Engine::Replica(_) => Dialect::ArraysAndLocks,
        }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        self.fetch_optional::<(i64,)>("SELECT 1", Args::new()).await.map(drop)
    }

    /// Ends all connections; what was committed is on disk.
    pub async fn close(&self) {
        if let Some(replica) = &self.replica {
            replica.close().await;
        }
        match &self.engine {
            Engine::Sqlite(engine) => engine.close().await,
            Engine::Postgres(engine) => engine.close().await,
            Engine::Replica(engine) => engine.close().await,
        }
    }
}

impl Tx {
    /// Runs `statement`; answers how many rows it changed.
    pub async fn execute(&mut self, statement: &str, args: Args) -> Result<u64> {
        match &mut self.engine {
            TxEngine::Sqlite(tx) => tx.execute(statement, args).await,
            TxEngine::Postgres(tx) => tx.execute(statement, args).await,
        }
        .map_err(storage)
    }

    /// Reads all rows that `statement` gives, this transaction's own writes included.
    pub async fn fetch_all<T: FromRow>(&mut self, statement: &str, args: Args) -> Result<Vec<T>> {
        match &mut self.engine {
            TxEngine::Sqlite(tx) => tx.fetch_all(statement, args).await,
            TxEngine::Postgres(tx) => tx.fetch_all(statement, args).await,
        }
        .map_err(storage)
    }

    /// Reads the row that `statement` gives, if any.
    pub async fn fetch_optional<T: FromRow>(&mut self, statement: &str, args: Args) -> Result<Option<T>> {
        Ok(self.fetch_all(statement, args).await?.into_iter().next())
    }

    /// Makes all of it durable and visible at once. After an error it is not known whether it did: the answer may have
    /// been lost on its way.
    pub async fn commit(self) -> Result<()> {
        match self.engine {
            TxEngine::Sqlite(tx) => tx.commit().await,
            TxEngine::Postgres(tx) => tx.commit().await,
        }
        .map_err(storage)
    }

    /// Which form of a statement this engine takes.
    pub fn dialect(&self) -> Dialect {
        match &self.engine {
            TxEngine::Sqlite(_) => Dialect::ValueLists,
            TxEngine::Postgres(_) => Dialect::ArraysAndLocks,
        }
    }

    /// Whether it failed because another transaction was in its way: done anew from the start, the same may succeed.
    pub fn collided(&self) -> bool {
        match &self.engine {
            TxEngine::Sqlite(_) => false,
            TxEngine::Postgres(tx) => tx.collided(),
        }
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Db")
    }
}

fn storage(cause: sqlx::Error) -> Error {
    Error::storage(&cause)
}
