//! Rows that come out: columns are read in the order in which the statement names them.

use sqlx::{Row as _, sqlite::SqliteRow};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    id::{ProjectId, RoomId, UserId},
};

/// A row, read from its first column to its last.
pub struct Row<'r> {
    inner: &'r SqliteRow,
    next: usize,
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
    pub(super) fn new(inner: &'r SqliteRow) -> Self {
        Self { inner, next: 0 }
    }

    fn get<T>(&mut self) -> RowResult<T>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        let index = self.next;
        self.next += 1;
        // Types are the schema's, which migrations own; asking the engine again for each cell is what costs.
        self.inner.try_get_unchecked(index)
    }

    /// An integer.
    pub fn int(&mut self) -> RowResult<i64> {
        self.get()
    }

    /// An integer, or nothing.
    pub fn int_opt(&mut self) -> RowResult<Option<i64>> {
        self.get()
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
        self.get()
    }

    /// Text, or nothing.
    pub fn text_opt(&mut self) -> RowResult<Option<String>> {
        self.get()
    }

    /// Bytes, or nothing.
    pub fn bytes_opt(&mut self) -> RowResult<Option<Vec<u8>>> {
        self.get()
    }

    /// JSON as text, or nothing.
    pub fn json_opt(&mut self) -> RowResult<Option<String>> {
        self.get()
    }

    /// A moment.
    pub fn time(&mut self) -> RowResult<Timestamp> {
        self.get().map(Timestamp)
    }

    /// A moment, or nothing.
    pub fn time_opt(&mut self) -> RowResult<Option<Timestamp>> {
        Ok(self.get::<Option<i64>>()?.map(Timestamp))
    }

    /// A UUID.
    pub fn uuid(&mut self) -> RowResult<Uuid> {
        let bytes: Vec<u8> = self.get()?;
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

impl FromRow for (i64,) {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok((row.int()?,))
    }
}

impl<A: FromRow, B: FromRow> FromRow for (A, B) {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok((row.read()?, row.read()?))
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
