//! Bringing a Postgres schema up to date, by a role that may, or finding that it is, by a role that may not.

use std::collections::HashMap;

use sqlx::{
    Executor as _, PgConnection, Row as _,
    migrate::{MigrateError, Migrator},
};

use super::place::Place;
use crate::db::OpenError;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How the schema stands to this program's.
enum Schema {
    UpToDate,
    Behind,
    /// A later program has been there.
    Newer(i64),
    /// A program has been there whose migration of this number is another.
    Other(i64),
}

/// Brings the schema up to date. Of nodes that start together one does it, the others wait: sqlx takes an advisory lock.
///
/// Nothing is asked of the database but reading where there is nothing to do: a server needs no more rights than its
/// statements.
pub(super) async fn migrate(connection: &mut PgConnection, place: &Place) -> Result<(), OpenError> {
    match schema(connection).await.map_err(|error| place.explain("cannot read the migrations of", &error))? {
        Schema::UpToDate => return Ok(()),
        Schema::Behind => {}
        Schema::Newer(version) => return Err(newer(place, version)),
        Schema::Other(version) => return Err(other(place, version)),
    }
    // A migration, or waiting for another node's, may take longer than a statement of a call.
    connection.execute("SET statement_timeout = 0").await.map_err(|error| place.explain("cannot set up", &error))?;
    MIGRATIONS.run(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => newer(place, version),
        MigrateError::VersionMismatch(version) => other(place, version),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            place.explain("cannot migrate", &error)
        }
        other => place.say(&format!("cannot be migrated: {other}")),
    })
}

async fn schema(connection: &mut PgConnection) -> Result<Schema, sqlx::Error> {
    let applied =
        connection.fetch_all("SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version").await;
    let rows = match applied {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => return Ok(Schema::Behind),
        applied => applied?,
    };
    let mut missing: HashMap<i64, &[u8]> = MIGRATIONS.iter().map(|m| (m.version, &*m.checksum)).collect();
    for row in rows {
        let version: i64 = row.try_get(0)?;
        match missing.remove(&version) {
            None => return Ok(Schema::Newer(version)),
            Some(checksum) if *checksum != *row.try_get::<Vec<u8>, _>(2)? => return Ok(Schema::Other(version)),
            // Begun and not ended: sqlx says what there is to say.
            Some(_) if !row.try_get::<bool, _>(1)? => return Ok(Schema::Behind),
            Some(_) => {}
        }
    }
    Ok(if missing.is_empty() { Schema::UpToDate } else { Schema::Behind })
}

fn newer(place: &Place, version: i64) -> OpenError {
    place.say(&format!("was migrated by a newer Relay (migration {version}); start that version"))
}

fn other(place: &Place, version: i64) -> OpenError {
    place.say(&format!(
        "was migrated by another Relay, whose migration {version} differs from this one's; start that version"
    ))
}
