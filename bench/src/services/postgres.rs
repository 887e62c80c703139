//! PostgreSQL: a database of its own for each subject, and statements by `psql`.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, process::Command};
use uuid::Uuid;

use crate::error::{Error, in_time};

/// How long a statement may take: the longest fills a room with a million messages.
const STATEMENT: Duration = Duration::from_secs(300);
/// Statistics of a session that has become idle come at the latest after this; it is PostgreSQL's own constant.
const STATISTICS: Duration = Duration::from_secs(11);

/// A server on which this program may make databases.
pub(crate) struct Postgres {
    url: String,
}

/// A database, dropped with this handle.
pub(crate) struct Database {
    server: String,
    name: String,
    url: String,
}

impl Postgres {
    pub(super) fn at(url: String) -> Self {
        Self { url }
    }

    /// Makes an empty database whose name contains `label`.
    pub(crate) async fn database(&self, label: &str) -> Result<Database, Error> {
        let name = format!("relay_bench_{label}_{}", Uuid::new_v4().simple());
        psql(&self.url, &format!("CREATE DATABASE {name}")).await?;
        Ok(Database { url: with_database(&self.url, &name), server: self.url.clone(), name })
    }
}

impl Database {
    /// Its URL, with the password.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Runs statements; answers the rows as lines, the columns parted by `|`.
    pub(crate) async fn run(&self, statements: &str) -> Result<String, Error> {
        psql(&self.url, statements).await
    }

    /// Writes out what earlier loads have left, so that it does not disturb the next. It takes rights that not every user
    /// has; without them that load may be disturbed.
    pub(crate) async fn settle(&self) {
        let _ = self.run("CHECKPOINT").await;
    }

    /// Rows of a table that were updated since it was made, once all sessions have reported theirs.
    pub(crate) async fn rows_updated(&self, table: &str) -> Result<u64, Error> {
        tokio::time::sleep(STATISTICS).await;
        let statement = format!("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = '{table}'");
        let answer = self.run(&statement).await?;
        answer.trim().parse().map_err(|_| Error::unexpected(format!("no statistics: `{}`", answer.trim())))
    }

    /// Transactions in it since it was made, once all of its sessions have reported theirs. A statement outside a
    /// transaction is one of its own.
    pub(crate) async fn transactions(&self) -> Result<u64, Error> {
        tokio::time::sleep(STATISTICS).await;
        // Asked for from the server's own database: what is counted is not to grow by the counting.
        let statement =
            format!("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{}'", self.name);
        let answer = psql(&self.server, &statement).await?;
        answer.trim().parse().map_err(|_| Error::unexpected(format!("no statistics: `{}`", answer.trim())))
    }
}

impl Drop for Database {
    /// A server that is thrown away needs no tidying, one that somebody keeps does. What fails here harms nothing.
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let mut command = std::process::Command::new("psql");
        command.args(["-X", "-q", "-c", &statement, "-d", &self.server]);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// The URL of another database on the same server.
fn with_database(url: &str, name: &str) -> String {
    let (address, options) = url.split_once('?').map_or((url, None), |(address, options)| (address, Some(options)));
    let host = address.find("://").map_or(0, |at| at + 3);
    let end = address.get(host..).and_then(|rest| rest.find('/')).map_or(address.len(), |at| host + at);
    let server = address.get(..end).unwrap_or(address);
    options.map_or_else(|| format!("{server}/{name}"), |options| format!("{server}/{name}?{options}"))
}

async fn psql(url: &str, statements: &str) -> Result<String, Error> {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]);
    let output = in_time("the answer of psql", STATEMENT, answer(command, statements)).await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program of PostgreSQL or Redis with `input`, to a good end.
pub(super) async fn answer(mut command: Command, input: &str) -> Result<Output, Error> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| Error::unexpected(format!("cannot start {program}: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::unexpected(format!("{program} ended with {}: {}", output.status, said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_of_the_same_server_keeps_all_else() {
        assert_eq!(with_database("postgres://u:p@h:1/postgres", "x"), "postgres://u:p@h:1/x");
        assert_eq!(with_database("postgres://h", "x"), "postgres://h/x");
        assert_eq!(with_database("postgres://h/?sslmode=disable", "x"), "postgres://h/x?sslmode=disable");
    }
}
