//! How values look on the wire of Postgres, in its binary format.

use sqlx::{
    Arguments as _, Encode, Postgres, Type, ValueRef as _,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgRow, PgTypeInfo, types::Oid},
};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    db::{Args, Value},
};

/// Microseconds from 1970-01-01 to 2000-01-01, from which Postgres counts.
const EPOCH: i64 = 946_684_800_000_000;
/// The first moment that a timestamptz holds, counted from 2000: 4714 before our era. Its last is beyond ours.
const START: i64 = -211_813_488_000_000_000;
/// Before the text of a jsonb value.
const JSONB_VERSION: u8 = 1;

/// A timestamptz. What is before its first moment becomes minus infinity, which compares as one would wish.
struct Time(Timestamp);

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Time {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Time {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&since_2000(self.0).to_be_bytes());
        Ok(IsNull::No)
    }
}

fn since_2000(time: Timestamp) -> i64 {
    match time.0.saturating_sub(EPOCH) {
        ..START => i64::MIN,
        micros => micros,
    }
}

/// A jsonb.
struct Json(String);

impl Type<Postgres> for Json {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(3802))
    }
}

impl PgHasArrayType for Json {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(3807))
    }
}

impl Encode<'_, Postgres> for Json {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.push(JSONB_VERSION);
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

/// The arguments of a statement.
pub(super) fn bind(args: Args) -> Result<PgArguments, sqlx::Error> {
    let mut bound = PgArguments::default();
    for value in args.0 {
        match value {
            Value::Int(v) => bound.add(v),
            Value::Text(v) => bound.add(v),
            Value::Bytes(v) => bound.add(v),
            Value::Time(v) => bound.add(v.map(Time)),
            Value::Uuid(v) => bound.add(v),
            Value::Json(v) => bound.add(v.map(Json)),
            Value::Column(values) => bind_column(&mut bound, values),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(bound)
}

/// Binds values of one type as an array; of which type, the first one says.
fn bind_column(bound: &mut PgArguments, values: Vec<Value>) -> Result<(), BoxDynError> {
    macro_rules! array {
        ($variant:ident, $type:ty, $convert:expr) => {{
            let items = values.into_iter().map(|value| match value {
                Value::$variant(v) => Ok(v.map($convert)),
                _ => Err("a column of values of different types"),
            });
            bound.add(items.collect::<Result<Vec<Option<$type>>, _>>()?)
        }};
    }
    match values.first() {
        Some(Value::Int(_)) => array!(Int, i64, |v| v),
        Some(Value::Text(_)) => array!(Text, String, |v| v),
        Some(Value::Bytes(_)) => array!(Bytes, Vec<u8>, |v| v),
        Some(Value::Time(_)) => array!(Time, Time, Time),
        Some(Value::Uuid(_)) => array!(Uuid, Uuid, |v| v),
        Some(Value::Json(_)) => array!(Json, Json, Json),
        Some(Value::Column(_)) | None => Err("a column without values, or of columns".into()),
    }
}

/// The bytes of a cell; `None` for NULL.
fn cell(row: &PgRow, index: usize) -> Result<Option<&[u8]>, sqlx::Error> {
    use sqlx::Row as _;
    let value = row.try_get_raw(index)?;
    match value.is_null() {
        true => Ok(None),
        false => value.as_bytes().map(Some).map_err(sqlx::Error::Decode),
    }
}

fn unreadable(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("a cell holds no {what}").into())
}

/// An integer of any width, or a truth value as 1 or 0.
pub(in crate::db) fn int(row: &PgRow, index: usize) -> Result<Option<i64>, sqlx::Error> {
    let Some(bytes) = cell(row, index)? else { return Ok(None) };
    Ok(Some(match *bytes {
        [a] => a.into(),
        [a, b] => i16::from_be_bytes([a, b]).into(),
        [a, b, c, d] => i32::from_be_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => return Err(unreadable("integer")),
    }))
}

/// Text.
pub(in crate::db) fn text(row: &PgRow, index: usize) -> Result<Option<String>, sqlx::Error> {
    let bytes = bytes(row, index)?;
    bytes.map(String::from_utf8).transpose().map_err(|_| unreadable("text"))
}

/// Bytes.
pub(in crate::db) fn bytes(row: &PgRow, index: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
    Ok(cell(row, index)?.map(<[u8]>::to_vec))
}

/// JSON as text.
pub(in crate::db) fn json(row: &PgRow, index: usize) -> Result<Option<String>, sqlx::Error> {
    match cell(row, index)? {
        None => Ok(None),
        Some([JSONB_VERSION, text @ ..]) => String::from_utf8(text.to_vec()).map(Some).map_err(|_| unreadable("JSON")),
        Some(_) => Err(unreadable("JSON")),
    }
}

/// A moment.
pub(in crate::db) fn time(row: &PgRow, index: usize) -> Result<Option<Timestamp>, sqlx::Error> {
    Ok(int(row, index)?.map(|micros| Timestamp(micros.saturating_add(EPOCH))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_count_from_2000_and_begin_with_infinity() {
        assert_eq!(since_2000(Timestamp(EPOCH)), 0);
        assert_eq!(since_2000(Timestamp(0)), -EPOCH);
        assert_eq!(since_2000(Timestamp(i64::MAX)), i64::MAX - EPOCH);
        assert_eq!(since_2000(Timestamp(i64::MIN)), i64::MIN);
    }

    #[test]
    fn columns_of_different_types_are_refused() {
        let mixed = Args(vec![Value::Column(vec![Value::Int(Some(1)), Value::Text(None)])]);
        assert!(bind(mixed).is_err());
        assert!(bind(Args(vec![Value::Column(Vec::new())])).is_err());
    }
}
