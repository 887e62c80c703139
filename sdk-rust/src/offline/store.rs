//! The file: opened by one process at a time, each change of it one transaction.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, Sqlite, SqliteConnection, Transaction,
    query::Query,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::{sync::Mutex, sync::MutexGuard, time::Instant};
use uuid::Uuid;

use crate::{Error, ErrorKind};

/// What the tables of this version are called in the file.
const VERSION: &str = "1";

/// How long to wait for another store on the same file to be closed.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) type Tx<'a> = Transaction<'a, Sqlite>;

/// A file that keeps what is to be sent and what was seen, for one user. Cheap to clone; it is closed when the last clone
/// is dropped, and everything that was made from it.
///
/// A second file begins beside it, with `-lock` at its end: two processes would send each other's messages.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    connection: Mutex<SqliteConnection>,
    /// Names the device's lanes. Made once, kept in the file.
    device_id: String,
    /// Counts events that lists read before them do not know. Changed and compared with the connection at hand.
    outdated: AtomicU64,
    _lock: File,
}

impl Store {
    /// Opens the file, or makes it. Waits up to 5 s for an earlier store on it to be closed.
    ///
    /// # Errors
    /// [`Storage`](ErrorKind::Storage): it cannot be opened, is in use, or was written by a later version.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let lock = lock(&path).await?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What is written here is promised to be sent: it must outlast a loss of power.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(PATIENCE);
        let mut connection = options.connect().await.map_err(storage)?;
        let device_id = set_up(&mut connection).await?;
        Ok(Self(Arc::new(Inner {
            path,
            connection: Mutex::new(connection),
            device_id,
            outdated: AtomicU64::new(0),
            _lock: lock,
        })))
    }

    pub(super) fn device_id(&self) -> &str {
        &self.0.device_id
    }

    /// How often lists of the server have been outdated: one that was read at another count is not to be stored.
    pub(super) fn outdated(&self) -> u64 {
        self.0.outdated.load(Ordering::Relaxed)
    }

    pub(super) fn outdates_lists(&self) {
        self.0.outdated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) async fn connection(&self) -> MutexGuard<'_, SqliteConnection> {
        self.0.connection.lock().await
    }
}

/// Begins a transaction. Dropped without a commit, it leaves nothing behind.
pub(super) async fn begin(connection: &mut SqliteConnection) -> Result<Tx<'_>, Error> {
    connection.begin_with("BEGIN IMMEDIATE").await.map_err(storage)
}

/// Runs a statement. Answers how many rows it has changed.
pub(super) async fn run(tx: &mut Tx<'_>, query: Query<'_, Sqlite, SqliteArguments>) -> Result<u64, Error> {
    query.execute(&mut **tx).await.map(|done| done.rows_affected()).map_err(storage)
}

/// Makes the tables, and answers with the device's id.
async fn set_up(connection: &mut SqliteConnection) -> Result<String, Error> {
    let mut tx = begin(connection).await?;
    sqlx::raw_sql(include_str!("schema.sql")).execute(&mut *tx).await.map_err(storage)?;
    let version = meta(&mut tx, "version", VERSION.to_owned()).await?;
    if version != VERSION {
        return Err(Error::new(ErrorKind::Storage, format!("the file is of version {version} of its tables")));
    }
    let device_id = meta(&mut tx, "device_id", Uuid::new_v4().to_string()).await?;
    tx.commit().await.map_err(storage)?;
    Ok(device_id)
}

/// A word about the file itself: the one that is there, or else this one from now on.
pub(super) async fn meta(tx: &mut Tx<'_>, name: &str, value: String) -> Result<String, Error> {
    let query =
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING").bind(name).bind(value);
    run(tx, query).await?;
    sqlx::query_scalar("SELECT value FROM meta WHERE name = $1").bind(name).fetch_one(&mut **tx).await.map_err(storage)
}

async fn lock(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    let end = Instant::now() + PATIENCE;
    let file = File::create(&name).map_err(|error| storage(error.into()))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(storage(error.into())),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::Storage, format!("{} is in use", path.display())));
            }
        }
    }
}

pub(super) fn storage(error: sqlx::Error) -> Error {
    Error::caused_by(ErrorKind::Storage, "the file of the outbox and cache", Box::new(error))
}

/// A number as SQLite keeps it. Those of the contract are far below where this would go wrong.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as SQLite has kept it.
pub(super) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.0.path).finish_non_exhaustive()
    }
}
