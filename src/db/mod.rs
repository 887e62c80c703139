//! The database, whichever it is: statements with typed values go in, rows come out, facts are written in transactions.
//!
//! Statements use `$1` placeholders and text that every engine takes. Which engine runs is nobody's business above this
//! folder: times, UUIDs and JSON are values of their own, and each engine stores them in its native form.

mod row;
mod sqlite;
mod value;

use std::{fmt, path::Path};

pub use row::{FromRow, Row, RowError, RowResult};
pub use sqlite::Tx;
pub use value::{Args, Value};

use crate::{
    config::DatabaseConfig,
    error::{Error, Result},
};

/// The database could not be opened. The message says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(String);

/// A handle on the database; clones share it. Reads run beside each other; writes run one transaction after another.
#[derive(Clone)]
pub struct Db {
    engine: sqlite::Sqlite,
}

impl Db {
    /// Opens the database that `config` names, or the one under `data_dir`, and brings its schema up to date.
    pub async fn open(config: &DatabaseConfig, data_dir: &Path) -> std::result::Result<Self, OpenError> {
        Ok(Self { engine: sqlite::Sqlite::open(config, data_dir).await? })
    }

    /// Looks at the settings, and opens nothing.
    pub fn check(config: &DatabaseConfig, data_dir: &Path) -> std::result::Result<(), OpenError> {
        sqlite::path(config, data_dir).map(drop)
    }

    /// Begins a transaction that may write. It waits for the one before it.
    pub async fn begin(&self) -> Result<Tx> {
        self.engine.begin().await.map_err(storage)
    }

    /// Reads all rows that `statement` gives.
    pub async fn fetch_all<T: FromRow>(&self, statement: &str, args: Args) -> Result<Vec<T>> {
        self.engine.fetch_all(statement, args).await.map_err(storage)
    }

    /// Reads the row that `statement` gives, if any.
    pub async fn fetch_optional<T: FromRow>(&self, statement: &str, args: Args) -> Result<Option<T>> {
        Ok(self.fetch_all(statement, args).await?.into_iter().next())
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        self.fetch_optional::<(i64,)>("SELECT 1", Args::new()).await.map(drop)
    }

    /// Ends all connections; what was committed is on disk.
    pub async fn close(&self) {
        self.engine.close().await;
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
