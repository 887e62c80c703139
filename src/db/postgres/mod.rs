//! Postgres: rows are locked, so several nodes may write; connections break, so every wait has an end.

mod connections;
mod migrate;
mod open;
mod place;
mod replica;
mod types;
mod url;

use std::{sync::Arc, time::Duration};

use connections::{Connections, Lent};
pub(super) use open::check;
pub(super) use replica::Replica;
use sqlx::{
    AssertSqlSafe, Executor as _,
    postgres::{PgArguments, PgRow},
};
pub(super) use types::{bytes, int, json, text, time};

use super::{Args, FromRow, Row};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// The setting that names the database, and the one that names its replica.
const PRIMARY: &str = "database.url";
const REPLICA: &str = "database.replica_url";
/// How much longer than the server's own limit a statement is waited for: a server that is there answers before.
const GRACE: Duration = Duration::from_secs(1);

/// A Postgres database.
#[derive(Clone)]
pub(super) struct Postgres {
    writers: Arc<Connections>,
    /// For what may wait: it takes no connection from those who write what a caller waits for.
    aside: Arc<Connections>,
    reader: Reader,
    patience: Duration,
}

/// Reads, each on a connection of its own.
#[derive(Clone)]
struct Reader {
    connections: Arc<Connections>,
    patience: Duration,
}

/// A transaction. Dropped without [`Tx::commit`], its connection is closed, and the server rolls it back.
pub(super) struct Tx {
    /// `None` once it was lost: nothing more can be done in this transaction.
    lent: Option<Lent>,
    patience: Duration,
    collided: bool,
}

impl Postgres {
    pub(super) async fn begin(&self) -> Result<Tx> {
        self.begin_on(&self.writers, "BEGIN").await
    }

    /// What is committed is visible at once, and on disk soon, in the order of all commits.
    pub(super) async fn begin_aside(&self) -> Result<Tx> {
        self.begin_on(&self.aside, "BEGIN; SET LOCAL synchronous_commit TO off").await
    }

    async fn begin_on(&self, connections: &Arc<Connections>, begin: &str) -> Result<Tx> {
        match self.begin_once(connections, begin).await {
            // Nothing was done yet, so it can be done again: on a connection that is not a remnant.
            Err(error) if is_stale(&error) => {
                connections.forget_idle();
                self.begin_once(connections, begin).await
            }
            begun => begun,
        }
    }

    async fn begin_once(&self, connections: &Arc<Connections>, begin: &str) -> Result<Tx> {
        let mut tx = Tx { lent: Some(connections.lend().await?), patience: self.patience, collided: false };
        tx.control(begin).await?;
        Ok(tx)
    }

    pub(super) async fn fetch_all<T: FromRow>(&self, statement: &str, args: Args) -> Result<Vec<T>> {
        self.reader.fetch_all(statement, args).await
    }

    pub(super) async fn close(&self) {
        self.reader.connections.close().await;
        self.aside.close().await;
        self.writers.close().await;
    }
}

impl Reader {
    async fn fetch_all<T: FromRow>(&self, statement: &str, args: Args) -> Result<Vec<T>> {
        let rows = match self.fetch_once(statement, args.clone()).await {
            Err(error) if is_stale(&error) => {
                self.connections.forget_idle();
                self.fetch_once(statement, args).await?
            }
            fetched => fetched?,
        };
        read(&rows)
    }

    async fn fetch_once(&self, statement: &str, args: Args) -> Result<Vec<PgRow>> {
        let query = query(statement, args)?;
        let mut lent = self.connections.lend().await?;
        let rows = limited(self.patience, lent.connection.fetch_all(query)).await;
        // A statement that the server refused leaves the connection in order.
        if !matches!(&rows, Err(error) if is_lost(error)) {
            lent.give_back();
        }
        rows
    }
}

impl Tx {
    pub(super) async fn execute(&mut self, statement: &str, args: Args) -> Result<u64> {
        if args.0.is_empty() {
            return self.control(statement).await;
        }
        let query = query(statement, args)?;
        let lent = self.lent.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let done = limited(self.patience, lent.connection.execute(query)).await;
        Ok(self.judged(done)?.rows_affected())
    }

    pub(super) async fn fetch_all<T: FromRow>(&mut self, statement: &str, args: Args) -> Result<Vec<T>> {
        let query = query(statement, args)?;
        let lent = self.lent.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let rows = limited(self.patience, lent.connection.fetch_all(query)).await;
        read(&self.judged(rows)?)
    }

    pub(super) async fn commit(mut self) -> Result<()> {
        self.control("COMMIT").await?;
        if let Some(lent) = self.lent {
            lent.give_back();
        }
        Ok(())
    }

    /// Whether another transaction was in the way: the same may succeed when it is tried anew.
    pub(super) fn collided(&self) -> bool {
        self.collided
    }

    /// Runs a statement without values; it is not prepared, which takes one round trip less.
    async fn control(&mut self, statement: &str) -> Result<u64> {
        let lent = self.lent.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let raw = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        let done = limited(self.patience, lent.connection.execute(raw)).await;
        Ok(self.judged(done)?.rows_affected())
    }

    fn judged<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome {
            self.collided |= is_collision(error);
            if is_lost(error) {
                self.lent = None;
            }
        }
        outcome
    }
}

fn read<T: FromRow>(rows: &[PgRow]) -> Result<Vec<T>> {
    rows.iter().map(|row| T::from_row(&mut Row::postgres(row))).collect()
}

/// Waits for a statement, not for ever: a server that vanished without a word does not answer.
async fn limited<T>(patience: Duration, statement: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the database did not answer"));
    tokio::time::timeout(patience, statement).await.map_err(late)?
}

/// Whether the connection cannot be used any more.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
        // 57P: the server shuts down, crashed, or starts. 25P03: it was idle in a transaction for too long.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P") || code == "25P03"),
        _ => false,
    }
}

/// Whether the connection was lost before this was asked of it, as far as one can tell.
fn is_stale(error: &sqlx::Error) -> bool {
    is_lost(error) && !matches!(error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut)
}

/// Class 40: deadlock, serialization. 23505: a unique row that another transaction wrote first.
fn is_collision(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("40") || code == "23505")
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;

/// The text of a statement is made in `store.rs` files from constants and placeholders, never from a caller's input.
fn query<'q>(statement: &str, args: Args) -> Result<Query<'q>> {
    Ok(sqlx::query_with(AssertSqlSafe(statement.to_owned()), types::bind(args)?))
}
