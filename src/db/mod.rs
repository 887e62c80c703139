//! The database, whichever it is: statements with typed values go in, rows come out, facts are written in transactions.
//!
//! Statements use `$1` placeholders and text that every engine takes. Which engine runs is nobody's business above this
//! folder: times, UUIDs and JSON are values of their own, and each engine stores them in its native form.

mod postgres;
mod row;
mod sqlite;
mod value;

use std::{fmt, path::Path};

pub use row::{FromRow, Row, RowError, RowResult};
use secrecy::ExposeSecret as _;
pub use value::{Args, Value};

use crate::{
    config::DatabaseConfig,
    error::{Error, Result},
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
}

#[derive(Clone)]
enum Engine {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
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

/// Whether `database.url` names Postgres.
fn is_postgres(config: &DatabaseConfig) -> bool {
    let url = config.url.expose_secret();
    url.starts_with("postgres:") || url.starts_with("postgresql:")
}

impl Db {
    /// Opens the database that `config` names, or the one under `data_dir`, and brings its schema up to date.
    pub async fn open(config: &DatabaseConfig, data_dir: &Path) -> std::result::Result<Self, OpenError> {
        let engine = match is_postgres(config) {
            true => Engine::Postgres(postgres::Postgres::open(config).await?),
            false => Engine::Sqlite(sqlite::Sqlite::open(config, data_dir).await?),
        };
        Ok(Self { engine })
    }

    /// Looks at the settings, and opens nothing.
    pub fn check(config: &DatabaseConfig, data_dir: &Path) -> std::result::Result<(), OpenError> {
        match is_postgres(config) {
            true => postgres::check(config),
            false => sqlite::path(config, data_dir).map(drop),
        }
    }

    /// Begins a transaction that may write. On SQLite it waits for the one before it.
    pub async fn begin(&self) -> Result<Tx> {
        let engine = match &self.engine {
            Engine::Sqlite(engine) => TxEngine::Sqlite(engine.begin().await.map_err(storage)?),
            Engine::Postgres(engine) => TxEngine::Postgres(engine.begin().await.map_err(storage)?),
        };
        Ok(Tx { engine })
    }

    /// Reads all rows that `statement` gives.
    pub async fn fetch_all<T: FromRow>(&self, statement: &str, args: Args) -> Result<Vec<T>> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.fetch_all(statement, args).await,
            Engine::Postgres(engine) => engine.fetch_all(statement, args).await,
        }
        .map_err(storage)
    }

    /// Reads the row that `statement` gives, if any.
    pub async fn fetch_optional<T: FromRow>(&self, statement: &str, args: Args) -> Result<Option<T>> {
        Ok(self.fetch_all(statement, args).await?.into_iter().next())
    }

    /// Which form of a statement this engine takes.
    pub fn dialect(&self) -> Dialect {
        match &self.engine {
            Engine::Sqlite(_) => Dialect::ValueLists,
            Engine::Postgres(_) => Dialect::ArraysAndLocks,
        }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        self.fetch_optional::<(i64,)>("SELECT 1", Args::new()).await.map(drop)
    }

    /// Ends all connections; what was committed is on disk.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(engine) => engine.close().await,
            Engine::Postgres(engine) => engine.close().await,
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
