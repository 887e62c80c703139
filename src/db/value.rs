//! Values that go into statements.

use uuid::Uuid;

use crate::{
    clock::Timestamp,
    id::{ProjectId, RoomId, UserId},
};

/// A value with its type; absent ones keep theirs, because some engines ask.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each says its type")]
pub enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Time(Option<Timestamp>),
    Uuid(Option<Uuid>),
    Json(Option<String>),
    /// Values of one type, one a row, for engines that take rows as columns: see [`Args::into_columns`].
    Column(Vec<Value>),
}

/// The values of one statement, in the order of its placeholders.
#[derive(Clone, Debug, Default)]
pub struct Args(pub(super) Vec<Value>);

impl Args {
    /// No values yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Room for `n` values.
    pub fn with_capacity(n: usize) -> Self {
        Self(Vec::with_capacity(n))
    }

    /// All values of these, one after the other.
    pub fn joined(all: impl Iterator<Item = Self>) -> Self {
        Self(all.flat_map(|args| args.0).collect())
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, value: impl Into<Value>) -> Self {
        self.push(value);
        self
    }

    /// Adds a value.
    pub fn push(&mut self, value: impl Into<Value>) {
        self.0.push(value.into());
    }

    /// The same values for a statement that takes an array for each of the `width` columns: from the rows that stand here
    /// one after the other.
    #[must_use]
    pub fn into_columns(self, width: usize) -> Self {
        let rows = self.0.len() / width.max(1);
        let mut columns: Vec<Vec<Value>> = (0..width).map(|_| Vec::with_capacity(rows)).collect();
        for (at, value) in self.0.into_iter().enumerate() {
            columns[at % width].push(value);
        }
        Self(columns.into_iter().map(Value::Column).collect())
    }

    /// Adds JSON, stored in the engine's own type for it.
    pub fn push_json(&mut self, json: Option<String>) {
        self.0.push(Value::Json(json));
    }

    /// Adds JSON, stored in the engine's own type for it.
    #[must_use]
    pub fn with_json(mut self, json: Option<String>) -> Self {
        self.push_json(json);
        self
    }
}

macro_rules! from {
    ($type:ty, $variant:ident, $convert:expr) => {
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Value::$variant(Some($convert(value)))
            }
        }

        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Value::$variant(value.map($convert))
            }
        }
    };
}

from!(i64, Int, |v| v);
from!(u32, Int, i64::from);
// Positions and seqs count events; they do not reach 2^63.
from!(u64, Int, |v: u64| i64::try_from(v).unwrap_or(i64::MAX));
from!(&str, Text, |v: &str| v.to_owned());
from!(String, Text, |v| v);
from!(Vec<u8>, Bytes, |v| v);
from!(Timestamp, Time, |v| v);
from!(Uuid, Uuid, |v| v);
from!(&ProjectId, Text, |v: &ProjectId| v.as_str().to_owned());
from!(&RoomId, Text, |v: &RoomId| v.as_str().to_owned());
from!(&UserId, Text, |v: &UserId| v.as_str().to_owned());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        let columns = Args::new().with(1_u64).with("a").with(2_u64).with("b").into_columns(2);
        let shown = |value: &Value| match value {
            Value::Column(values) => format!("{values:?}"),
            _ => String::new(),
        };
        let shown: Vec<String> = columns.0.iter().map(shown).collect();
        assert_eq!(shown, ["[Int(Some(1)), Int(Some(2))]", "[Text(Some(\"a\")), Text(Some(\"b\"))]"]);
    }
}
