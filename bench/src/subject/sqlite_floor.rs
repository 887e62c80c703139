//! The floor of durable sends: the database's own insert of the same rows, as many in a transaction as there are
//! senders, with the same durability (WAL, `synchronous = FULL`). No server, no checks, no events.

use std::{
    path::Path,
    process::{self, Stdio},
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{TEXT, server::own};
use crate::{error::Error, process::CpuTime, report, stamp};

/// The word on the command line.
pub(super) const ROLE: &str = "sqlite-floor";
/// Rows in a transaction.
const BATCH: u64 = 64;

/// The floor of sends.
pub(crate) struct SqliteFloor;

/// What it did.
pub(crate) struct Written {
    pub(crate) rows: f64,
    pub(crate) seconds: f64,
    pub(crate) cpu_us: f64,
}

impl SqliteFloor {
    /// Runs it in a process of its own for `time`.
    pub(crate) async fn run(time: Duration) -> Result<Written, Error> {
        let folder = tempfile::tempdir()?;
        let mut command = own(ROLE)?;
        command.arg(folder.path()).arg(time.as_secs().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        // Waiting closes the child's standard input, and that would end it early.
        let stdin = child.stdin.take();
        let output = child.wait_with_output().await?;
        drop(stdin);
        let line = String::from_utf8_lossy(&output.stdout);
        let figures: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match figures[..] {
            [rows, seconds, cpu_us] => Ok(Written { rows, seconds, cpu_us }),
            _ => Err(Error::unexpected(format!("the SQLite floor said `{}`", line.trim()))),
        }
    }
}

/// Inserts for `seconds`, then prints the rows, the seconds and the CPU microseconds they took.
pub(super) fn serve(folder: &Path, seconds: u64) -> Result<(), Error> {
    let mut database = Connection::open(folder.join("floor.db"))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.execute_batch(
        "CREATE TABLE message (
            room_id TEXT NOT NULL, seq INTEGER NOT NULL, position INTEGER NOT NULL, sender_id TEXT NOT NULL,
            client_message_id BLOB NOT NULL, text TEXT NOT NULL, created_at INTEGER NOT NULL,
            PRIMARY KEY (room_id, seq)
        ) WITHOUT ROWID;
        CREATE UNIQUE INDEX message_by_client_id ON message (sender_id, client_message_id);",
    )?;
    let (before, start) = (CpuTime::of(&[process::id()])?, Instant::now());
    let mut batches = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        insert(&mut database, batches)?;
        batches += 1;
    }
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), CpuTime::of(&[process::id()])?.since(&before));
    report::say(&format!("{} {elapsed} {cpu}", batches * BATCH))
}

/// One transaction: the next message of each of as many rooms.
fn insert(database: &mut Connection, seq: u64) -> Result<(), Error> {
    let transaction = database.transaction()?;
    {
        let mut insert = transaction.prepare_cached("INSERT INTO message VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6)")?;
        for room in 0..BATCH {
            let (id, now) = (Uuid::new_v4(), stamp::now());
            let (room, sender) = (format!("s{room}"), format!("p{room}"));
            insert.execute(params![room, seq as i64, sender, id.as_bytes(), stamp::text(now, TEXT), now as i64])?;
        }
    }
    Ok(transaction.commit()?)
}
