//! Every statement of chat, and nothing else: what is asked of the database and how rows become the domain's types.

pub(super) mod append;
pub(super) mod blocks;
pub(super) mod events;
pub(super) mod history;
pub(super) mod index;
pub(super) mod known;
pub(super) mod lanes;
pub(super) mod links;
pub(super) mod mentions;
pub(super) mod messages;
pub(super) mod moderation;
pub(super) mod pins;
pub(super) mod presence;
pub(super) mod receipts;
pub(super) mod reports;
pub(super) mod rooms;
pub(super) mod search;
pub(super) mod typing;
pub(super) mod walk;

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

/// Joins the rows of `table` that fit each row before: by the index that `condition` asks for. Both engines are told so: without
/// statistics that keep up with a table that grows, they would read all of it.
fn look_up(dialect: Dialect, join: &str, table: &str, alias: &str, condition: &str) -> String {
    match dialect {
        // CROSS: in this order.
        Dialect::ValueLists if join == "JOIN" => format!("CROSS JOIN {table} {alias} ON {condition}"),
        Dialect::ValueLists => format!("{join} {table} {alias} ON {condition}"),
        Dialect::ArraysAndLocks => {
            format!("{join} LATERAL (SELECT * FROM {table} {alias} WHERE {condition} OFFSET 0) {alias} ON TRUE")
        }
    }
}

/// `n` rows of `width` placeholders: `(?,?),(?,?)`. Without numbers: SQLite finds a numbered one by a walk over all the
/// names before it, which is quadratic in a statement with thousands.
fn placeholders(n: usize, width: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(","));
    vec![row; n].join(",")
}

/// A table of `n` rows of these types, as the engine takes it, and how many rows its values make; for Postgres, the values
/// follow on `before` others. They are [`shaped`].
fn table(dialect: Dialect, types: &[&str], n: usize, before: usize) -> (String, usize) {
    match dialect {
        Dialect::ValueLists => {
            let n = padded(n);
            (format!("(VALUES {})", placeholders(n, types.len())), n)
        }
        Dialect::ArraysAndLocks => {
            let arrays = types.iter().zip(before + 1..).map(|(kind, number)| format!("${number}::{kind}[]"));
            (format!("(SELECT * FROM UNNEST({}))", arrays.collect::<Vec<_>>().join(", ")), n)
        }
    }
}

/// Rows as values one after the other, or as a column each.
fn shaped(dialect: Dialect, args: Args, width: usize) -> Args {
    match dialect {
        Dialect::ValueLists => args,
        Dialect::ArraysAndLocks => args.into_columns(width),
    }
}

/// Rows of a batch are filled up to the next power of two: so there are few different statements, and each stays prepared.
fn padded(n: usize) -> usize {
    n.next_power_of_two()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::{self, Overrides},
        db::{Db, FromRow},
        id::{ProjectId, RoomId},
    };

    /// A line of `EXPLAIN QUERY PLAN`.
    struct Step(String);

    impl FromRow for Step {
        fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
            let (_, _, _) = (row.int()?, row.int()?, row.int()?);
            Ok(Self(row.text()?))
        }
    }

    /// How SQLite goes about a statement, step by step.
    pub(super) async fn plan(db: &Db, statement: &str, args: Args) -> Vec<String> {
        let steps: Vec<Step> = db.fetch_all(&format!("EXPLAIN QUERY PLAN {statement}"), args).await.unwrap();
        steps.into_iter().map(|step| step.0).collect()
    }

    /// SQLite chooses without looking at the rows; for Postgres see `tests/behaviour/postgres/plans.rs`.
    #[tokio::test]
    async fn history_is_read_by_index_however_long_it_is() {
        let config = config::load(&Overrides::default(), std::iter::empty()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&config.database, folder.path(), Arc::default()).await.unwrap();
        let room = RoomKey {
            project: ProjectId::parse("default", "project").unwrap(),
            room: RoomId::parse("r", "room").unwrap(),
        };
        let range = || by_room(&room).with(1_u64).with(50_u64);
        for (statement, args, index) in [
            (messages::list_statement(true), range(), "PRIMARY KEY (project_id=? AND room_id=? AND seq>?)"),
            (messages::list_statement(false), range(), "PRIMARY KEY (project_id=? AND room_id=? AND seq<?)"),
            (events::created_statement(), range(), "(project_id=? AND room_id=? AND position>? AND position<?)"),
            (events::STORED.to_owned(), range(), "(project_id=? AND room_id=? AND position>? AND position<?)"),
            (
                messages::REACTIONS.to_owned(),
                range().with("ana").with(10_u64),
                "(project_id=? AND room_id=? AND seq>? AND seq<?)",
            ),
        ] {
            let plan = plan(&db, &statement, args).await;
            assert!(plan.iter().any(|step| step.contains(index)), "{statement}: {plan:?}");
            for table in ["m", "messages", "events", "reactions"] {
                assert!(!plan.iter().any(|step| step == &format!("SCAN {table}")), "{statement}: {plan:?}");
            }
            let sorts = plan.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(!sorts || statement == messages::REACTIONS, "{statement}: {plan:?}");
        }
    }
}
