//! Every statement of chat, and nothing else: what is asked of the database and how rows become the domain's types.

pub(super) mod append;
pub(super) mod events;
pub(super) mod messages;
pub(super) mod rooms;

use super::message::Metadata;
use crate::db::{Row, RowResult};

fn metadata_json(metadata: &Metadata) -> Option<String> {
    (!metadata.is_empty()).then(|| serde_json::to_string(metadata).unwrap_or_default())
}

fn from_json<T: serde::de::DeserializeOwned + Default>(json: Option<String>) -> RowResult<T> {
    match json {
        None => Ok(T::default()),
        Some(text) => serde_json::from_str(&text).map_err(|_| Row::corrupt("JSON value")),
    }
}

/// `n` placeholder rows of `width` columns, numbered from `$1`: `($1,$2),($3,$4)`.
fn placeholders(n: usize, width: usize) -> String {
    let mut text = String::with_capacity(n * width * 6);
    for row in 0..n {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 1..=width {
            if column > 1 {
                text.push(',');
            }
            text.push('$');
            text.push_str(&(row * width + column).to_string());
        }
        text.push(')');
    }
    text
}

/// Rows of a batch are filled up to the next power of two: so there are few different statements, and each stays prepared.
fn padded(n: usize) -> usize {
    n.next_power_of_two()
}
