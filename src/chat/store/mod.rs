//! Every statement of chat, and nothing else: what is asked of the database and how rows become the domain's types.

pub(super) mod append;
pub(super) mod events;
pub(super) mod messages;
pub(super) mod rooms;

use super::message::Metadata;
use crate::{
    db::{Args, Row, RowResult},
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
