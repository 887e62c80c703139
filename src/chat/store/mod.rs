//! Every statement of chat, and nothing else: what is asked of the database and how rows become the domain's types.

pub(super) mod append;
pub(super) mod events;
pub(super) mod history;
pub(super) mod messages;
pub(super) mod rooms;

use super::message::Metadata;
use crate::{
    db::{Args, Dialect, Row, RowResult},
    id::RoomKey,
};

/// The first two values of almost every statement: no row is reached without its project.
fn by_room(room: &RoomKey) -> Args {
    Args::new().with(&room.project).with(&room.room)
}

fn metadata_json(metadata: &Metadata) -> Option<String> {
    (!metadata.is_empty()).then(|| serde_json::to_string(metadata).unwrap_or_default())
}

fn from_json<T: serde::de::DeserializeOwned + Default>(json: Option<String>) -> RowResult<T> {
    match json {
        None => Ok(T::default()),
        Some(text) => serde_json::from_str(&text).map_err(|_| Row::corrupt("JSON value")),
    }
}

/// A table of pairs of texts, as the engine takes it, and its values. It is called `wanted`, with these columns. Filled up
/// with its first pair: so there are few different statements.
fn pairs<'a>(
    dialect: Dialect,
    columns: &str,
    pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone,
) -> (String, Args) {
    let n = padded(pairs.len());
    let fill = pairs.clone().next().into_iter().cycle().take(n - pairs.len());
    let args = pairs.chain(fill).fold(Args::with_capacity(n * 2), |args, (a, b)| args.with(a).with(b));
    match dialect {
        Dialect::ValueLists => (format!("WITH wanted ({columns}) AS (VALUES {})", placeholders(n, 2)), args),
        Dialect::ArraysAndLocks => {
            let table = format!("WITH wanted ({columns}) AS (SELECT DISTINCT * FROM UNNEST($1::text[], $2::text[]))");
            (table, args.into_columns(2))
        }
    }
}

/// `n` rows of `width` placeholders: `(?,?),(?,?)`. Without numbers: SQLite finds a numbered one by a walk over all the
/// names before it, which is quadratic in a statement with thousands.
fn placeholders(n: usize, width: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(","));
    vec![row; n].join(",")
}

/// Rows of a batch are filled up to the next power of two: so there are few different statements, and each stays prepared.
fn padded(n: usize) -> usize {
    n.next_power_of_two()
}
