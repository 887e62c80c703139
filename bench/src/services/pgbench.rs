//! `pgbench`, PostgreSQL's own load generator: inserts rows like those of Relay's messages, one a transaction.

use std::time::Duration;

use tokio::process::Command;

use super::{Database, postgres::answer};
use crate::{
    error::{Error, in_time},
    subject::TEXT,
};

/// Clients, each of which waits for its commit before the next insert; and the threads that they run on.
const CLIENTS: &str = "16";
const THREADS: &str = "2";

/// What it says.
pub(crate) struct Pgbench {
    /// Transactions in a second, without the time for connecting.
    pub(crate) rate: f64,
    /// The mean latency in milliseconds.
    pub(crate) latency: Option<f64>,
}

impl Pgbench {
    /// Inserts for `time` into the table that Relay has made in `database`. Each client has a room of its own, whose
    /// messages it numbers itself, so nothing conflicts and nothing waits for a lock.
    pub(crate) async fn run(database: &Database, time: Duration) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let script = folder.path().join("insert.sql");
        std::fs::write(&script, insert())?;
        let mut command = Command::new("pgbench");
        command.args(["-n", "-c", CLIENTS, "-j", THREADS, "-M", "prepared", "-D", "n=0", "-T"]);
        command.arg(time.as_secs().to_string()).arg("-f").arg(&script).arg(database.url());
        let output = in_time("the end of pgbench", time + Duration::from_secs(30), answer(command, "")).await?;
        Self::read(&String::from_utf8_lossy(&output.stdout))
    }

    fn read(text: &str) -> Result<Self, Error> {
        let figure = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        match figure("tps = ") {
            Some(rate) => Ok(Self { rate, latency: figure("latency average = ") }),
            None => Err(Error::unexpected(format!("pgbench said `{}`", text.trim()))),
        }
    }
}

/// The transaction: the row that Relay writes for a short text, with a fingerprint of as many bytes.
fn insert() -> String {
    let (fingerprint, text) = ("5a".repeat(16), ".".repeat(TEXT));
    format!(
        "\\set n :n + 1\n\
         INSERT INTO messages (project_id, room_id, seq, position, sender_id, client_message_id, fingerprint, text, created_at) \
         VALUES ('default', 'pgbench-' || :client_id, :n, :n, 'p' || :client_id, gen_random_uuid(), '\\x{fingerprint}', \
         '{text}', now());\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_what_pgbench_prints() {
        let text = "latency average = 1.250 ms\ninitial connection time = 20.1 ms\n\
                    tps = 12800.500000 (without initial connection time)\n";
        let read = Pgbench::read(text).unwrap();
        assert_eq!((read.rate, read.latency), (12800.5, Some(1.25)));
        assert!(Pgbench::read("FATAL").is_err());
    }
}
