//! SQLite: one file, one writer, several readers beside it.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Executor as _, Sqlite as Engine, SqlitePool, Transaction,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use secrecy::ExposeSecret as _;

use super::{Args, FromRow, OpenError, Row, Value};
use crate::config::DatabaseConfig;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// A SQLite database. WAL lets readers go on while the writer commits; `synchronous=FULL` makes each commit durable.
#[derive(Clone)]
pub(super) struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Held as long as the database is open: it is this process's. Another would not see what this one publishes.
    _lock: Arc<File>,
}

/// A transaction that may write. Dropped without [`Tx::commit`], it leaves nothing behind.
pub(super) struct Tx {
    inner: Transaction<'static, Engine>,
}

impl Sqlite {
    pub(super) async fn open(config: &DatabaseConfig, data_dir: &Path) -> std::result::Result<Self, OpenError> {
        let path = path(config, data_dir)?;
        let lock = lock(&path)?;
        let explain = |error: sqlx::Error| OpenError(format!("cannot open the database {}: {error}", path.display()));
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .statement_cache_capacity(256)
            // Rows of one answer that wait for their reader: a whole batch's, so that it is woken once, not for each.
            .row_buffer_size(2_048)
            // 4,000 pages of 4 KiB: a checkpoint every 16 MB of log instead of every 4, each still short.
            .pragma("wal_autocheckpoint", "4000")
            .pragma("cache_size", format!("-{}", config.cache_kib));
        // Connections are kept for good: an idle one costs little, a new one loses its prepared statements.
        let pool = |max| SqlitePoolOptions::new().max_connections(max).idle_timeout(None).max_lifetime(None);
        let writer = pool(1).connect_with(options.clone()).await.map_err(explain)?;
        sqlx::migrate!("migrations/sqlite").run(&writer).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => OpenError(format!(
                "the database {} was migrated by a newer Relay (migration {version}); start that version",
                path.display()
            )),
            other => OpenError(format!("cannot migrate the database {}: {other}", path.display())),
        })?;
        let readers = pool(config.read_connections).connect_with(options.read_only(true)).await.map_err(explain)?;
        Ok(Self { writer, readers, _lock: Arc::new(lock) })
    }

    pub(super) async fn begin(&self) -> Result<Tx> {
        Ok(Tx { inner: self.writer.begin_with("BEGIN IMMEDIATE").await? })
    }

    pub(super) async fn fetch_all<T: FromRow>(&self, statement: &str, args: Args) -> Result<Vec<T>> {
        let rows = self.readers.fetch_all(query(statement, args)?).await?;
        rows.iter().map(|row| T::from_row(&mut Row::sqlite(row))).collect()
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// The file that `config` names.
pub(super) fn path(config: &DatabaseConfig, data_dir: &Path) -> std::result::Result<PathBuf, OpenError> {
    let named = match config.url.expose_secret() {
        "" => return Ok(data_dir.join("relay.db")),
        url => url.strip_prefix("sqlite:").map(|path| path.trim_start_matches("//")),
    };
    match named {
        Some(path) if !path.is_empty() && !path.starts_with(':') && !path.contains('?') => Ok(path.into()),
        _ => Err(OpenError("database.url: takes sqlite:<path of a file>, postgres://<user>:<password>@<host>/<database>, or nothing for the \
             default".into())),
    }
}

fn lock(path: &Path) -> std::result::Result<File, OpenError> {
    let lock = path.with_added_extension("lock");
    let explain = |error: io::Error| OpenError(format!("{}: {error}", lock.display()));
    let file = File::create(&lock).map_err(explain)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(OpenError(format!("{}: another relay has it open; stop it, or name another", path.display())))
        }
        Err(TryLockError::Error(error)) => Err(explain(error)),
    }
}

impl Tx {
    pub(super) async fn execute(&mut self, statement: &str, args: Args) -> Result<u64> {
        Ok((&mut *self.inner).execute(query(statement, args)?).await?.rows_affected())
    }

    pub(super) async fn fetch_all<T: FromRow>(&mut self, statement: &str, args: Args) -> Result<Vec<T>> {
        let rows = (&mut *self.inner).fetch_all(query(statement, args)?).await?;
        rows.iter().map(|row| T::from_row(&mut Row::sqlite(row))).collect()
    }

    pub(super) async fn commit(self) -> Result<()> {
        self.inner.commit().await
    }
}

type Query<'q> = sqlx::query::Query<'q, Engine, SqliteArguments>;

/// The text of a statement is made in `store.rs` files from constants and placeholders, never from a caller's input.
fn query<'q>(statement: &str, args: Args) -> Result<Query<'q>> {
    use sqlx::Arguments as _;
    let mut bound = SqliteArguments::default();
    bound.reserve(args.0.len(), 0);
    for value in args.0 {
        match value {
            Value::Int(v) => bound.add(v),
            Value::Text(v) | Value::Json(v) => bound.add(v),
            Value::Bytes(v) => bound.add(v),
            Value::Time(v) => bound.add(v.map(|t| t.0)),
            Value::Uuid(v) => bound.add(v.map(|u| u.into_bytes().to_vec())),
            Value::Column(_) => Err("SQLite takes no arrays".into()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(sqlx::query_with(AssertSqlSafe(statement.to_owned()), bound))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::{self, Overrides},
        db::Db,
    };

    #[tokio::test]
    async fn a_message_keeps_its_place_in_a_lane_when_the_schema_moves_on() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(folder.path().join("relay.db")).create_if_missing(true);
        let before = SqlitePoolOptions::new().connect_with(options).await.unwrap();
        sqlx::migrate!("migrations/sqlite").run_to(3, &before).await.unwrap();
        let insert = "INSERT INTO messages (project_id, room_id, seq, position, sender_id, client_message_id, fingerprint, \
             text, created_at, lane) VALUES ('p', 'r', ?, ?, 'ana', ?, x'00', 'hi', 1, ?)";
        for (seq, lane) in [(1_i64, Some(r#"["desk",7,2]"#)), (2, None)] {
            let id = vec![u8::try_from(seq).unwrap(); 16];
            sqlx::query(insert).bind(seq).bind(seq).bind(id).bind(lane).execute(&before).await.unwrap();
        }
        before.close().await;
        let config = config::load(&Overrides::default(), std::iter::empty()).unwrap();
        let db = Db::open(&config.database, folder.path(), Arc::default()).await.unwrap();
        let statement = "SELECT seq FROM messages WHERE (seq = 1 AND lane_id = 'desk' AND client_seq = 7 AND missing_before = 2) \
             OR (seq = 2 AND lane_id IS NULL AND client_seq IS NULL AND missing_before IS NULL)";
        assert_eq!(db.fetch_all::<(i64,)>(statement, Args::new()).await.unwrap(), [(1,), (2,)]);
    }
}
