//! Rows that come out: columns are read in the order in which the statement names them.

use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};
use uuid::Uuid;

use super::postgres;
use crate::{
    clock::Timestamp,
    id::{ProjectId, RoomId, RoomKey, UserId, UserKey},
};

/// A row, read from its first column to its last.
pub struct Row<'r> {
    inner: Inner<'r>,
    next: usize,
}

#[derive(Clone, Copy)]
enum Inner<'r> {
    Sqlite(&'r SqliteRow),
    Postgres(&'r PgRow),
}

/// What reading a row gives.
pub type RowResult<T> = std::result::Result<T, RowError>;

/// A row that does not hold what the schema promises.
pub type RowError = sqlx::Error;

/// What a row is read into.
pub trait FromRow: Sized + Send {
    /// Reads the columns that this type has, in its order.
    fn from_row(row: &mut Row<'_>) -> RowResult<Self>;
}

impl<'r> Row<'r> {
    pub(super) fn sqlite(row: &'r SqliteRow) -> Self {
        Self { inner: Inner::Sqlite(row), next: 0 }
    }

    pub(super) fn postgres(row: &'r PgRow) -> Self {
        Self { inner: Inner::Postgres(row), next: 0 }
    }

    fn next(&mut self) -> (Inner<'r>, usize) {
        self.next += 1;
        (self.inner, self.next - 1)
    }

    /// An integer.
    pub fn int(&mut self) -> RowResult<i64> {
        self.int_opt()?.ok_or_else(null)
    }

    /// An integer, or nothing.
    pub fn int_opt(&mut self) -> RowResult<Option<i64>> {
        match self.next() {
            (Inner::Sqlite(row), at) => stored(row, at),
            (Inner::Postgres(row), at) => postgres::int(row, at),
        }
    }

    /// A count, which is never below 0.
    pub fn count(&mut self) -> RowResult<u64> {
        Ok(self.int()?.try_into().unwrap_or_default())
    }

    /// A count, or nothing.
    pub fn count_opt(&mut self) -> RowResult<Option<u64>> {
        Ok(self.int_opt()?.map(|v| v.try_into().unwrap_or_default()))
    }

    /// Text.
    pub fn text(&mut self) -> RowResult<String> {
        self.text_opt()?.ok_or_else(null)
    }

    /// Text, or nothing.
    pub fn text_opt(&mut self) -> RowResult<Option<String>> {
        match self.next() {
            (Inner::Sqlite(row), at) => stored(row, at),
            (Inner::Postgres(row), at) => postgres::text(row, at),
        }
    }

    /// Bytes, or nothing.
    pub fn bytes_opt(&mut self) -> RowResult<Option<Vec<u8>>> {
        match self.next() {
            (Inner::Sqlite(row), at) => stored(row, at),
            (Inner::Postgres(row), at) => postgres::bytes(row, at),
        }
    }

    /// JSON as text, or nothing.
    pub fn json_opt(&mut self) -> RowResult<Option<String>> {
        match self.next() {
            (Inner::Sqlite(row), at) => stored(row, at),
            (Inner::Postgres(row), at) => postgres::json(row, at),
        }
    }

    /// A moment.
    pub fn time(&mut self) -> RowResult<Timestamp> {
        self.time_opt()?.ok_or_else(null)
    }

    /// A moment, or nothing.
    pub fn time_opt(&mut self) -> RowResult<Option<Timestamp>> {
        match self.next() {
            (Inner::Sqlite(row), at) => Ok(stored::<Option<i64>>(row, at)?.map(Timestamp)),
            (Inner::Postgres(row), at) => postgres::time(row, at),
        }
    }

    /// A UUID.
    pub fn uuid(&mut self) -> RowResult<Uuid> {
        let bytes = self.bytes_opt()?.ok_or_else(null)?;
        Uuid::from_slice(&bytes).map_err(|error| sqlx::Error::Decode(error.into()))
    }

    /// Another type, from the columns that follow.
    pub fn read<T: FromRow>(&mut self) -> RowResult<T> {
        T::from_row(self)
    }

    /// A value could not be understood: the database holds what this version never wrote.
    pub fn corrupt(what: &str) -> RowError {
        sqlx::Error::Decode(format!("the database holds an unknown {what}").into())
    }
}

/// A cell of SQLite's. Types are the schema's, which migrations own; asking the engine again for each cell is what costs.
fn stored<'r, T>(row: &'r SqliteRow, at: usize) -> RowResult<T>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get_unchecked(at)
}

fn null() -> RowError {
    Row::corrupt("NULL")
}

impl FromRow for (i64,) {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok((row.int()?,))
    }
}

impl FromRow for (String,) {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok((row.text()?,))
    }
}

impl FromRow for (Timestamp,) {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok((row.time()?,))
    }
}

impl<A: FromRow, B: FromRow> FromRow for (A, B) {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok((row.read()?, row.read()?))
    }
}

impl FromRow for RoomKey {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { project: row.read()?, room: row.read()? })
    }
}

impl FromRow for UserKey {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { project: row.read()?, user: row.read()? })
    }
}

macro_rules! name_from_row {
    ($($type:ty),*) => {$(
        impl FromRow for $type {
            fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
                row.text().map(Self::stored)
            }
        }
    )*};
}

name_from_row!(ProjectId, RoomId, UserId);
