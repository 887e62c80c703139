//! The tables of what was seen: single reads and writes.

use std::{collections::BTreeSet, ops::RangeInclusive};

use prost::Message as _;
use relay_proto::chat::v1::{MembershipState, Message, RoomSummary};

use sqlx::SqliteConnection;

use super::store::{Store, Tx, begin, int, meta, run, storage, uint};
use crate::{Error, ErrorKind, Positions};

/// A message of the cache.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cached {
    pub(super) message: Message,
    /// The position of the room that it is at least as new as.
    pub(super) as_of: u64,
    /// Whether changes of it may have been missed.
    pub(super) stale: bool,
}

type MessageRow = (i64, bool, Vec<u8>);

impl Store {
    /// Whose file it is, once a stream has said.
    pub(super) async fn user_id(&self) -> Result<Option<String>, Error> {
        let mut connection = self.connection().await;
        let user: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'user'")
            .fetch_optional(&mut *connection)
            .await
            .map_err(storage)?;
        Ok(user)
    }

    /// What the events before were stored up to.
    pub(super) async fn positions(&self) -> Result<Positions, Error> {
        let mut connection = self.connection().await;
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT room_id, position FROM positions")
            .fetch_all(&mut *connection)
            .await
            .map_err(storage)?;
        Ok(rows.into_iter().map(|(room_id, position)| (room_id, uint(position))).collect())
    }

    pub(super) async fn memberships(&self) -> Result<Vec<MembershipState>, Error> {
        let mut connection = self.connection().await;
        let rows: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT state FROM memberships").fetch_all(&mut *connection).await.map_err(storage)?;
        rows.iter().map(|row| decode(row)).collect()
    }

    pub(super) async fn blocked(&self) -> Result<BTreeSet<String>, Error> {
        let mut connection = self.connection().await;
        let users: Vec<String> =
            sqlx::query_scalar("SELECT user_id FROM blocked").fetch_all(&mut *connection).await.map_err(storage)?;
        Ok(users.into_iter().collect())
    }

    /// The messages of a room in a range of numbers.
    pub(super) async fn messages(&self, room_id: &str, range: RangeInclusive<u64>) -> Result<Vec<Cached>, Error> {
        let mut connection = self.connection().await;
        let rows: Vec<MessageRow> = sqlx::query_as(
            "SELECT as_of, stale, message FROM messages WHERE room_id = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq",
        )
        .bind(room_id)
        .bind(int(*range.start()))
        .bind(int(*range.end()))
        .fetch_all(&mut *connection)
        .await
        .map_err(storage)?;
        rows.into_iter().map(cached).collect()
    }

    /// The number of a room's newest message that is known of. 0: none.
    pub(super) async fn last_seq(&self, room_id: &str) -> Result<u64, Error> {
        let mut connection = self.connection().await;
        let summary: Option<Vec<u8>> = sqlx::query_scalar("SELECT summary FROM rooms WHERE room_id = $1")
            .bind(room_id)
            .fetch_optional(&mut *connection)
            .await
            .map_err(storage)?;
        let summary = summary.map(|summary| decode::<RoomSummary>(&summary)).transpose()?;
        let of_summary = summary.and_then(|summary| summary.room).map(|room| room.last_seq);
        let of_state = membership(&mut connection, room_id).await?.map(|state| state.last_seq);
        Ok(newest_message(&mut connection, room_id).await?.max(of_state).max(of_summary).unwrap_or_default())
    }

    /// Keeps messages that the server has listed, `as_of` a position: those that are newer than `above`, unless a newer state
    /// of them is there.
    pub(super) async fn keep(&self, messages: &[Message], as_of: u64, above: u64) -> Result<(), Error> {
        let mut connection = self.connection().await;
        let mut tx = begin(&mut connection).await?;
        for message in messages.iter().filter(|message| message.seq > above) {
            let held = message_at(&mut tx, &message.room_id, message.seq).await?;
            if held.is_none_or(|held| held.stale || held.as_of <= as_of) {
                put_message(&mut tx, message, as_of).await?;
            }
        }
        tx.commit().await.map_err(storage)
    }
}

/// Notes whose file it is, or checks it.
pub(super) async fn belongs_to(tx: &mut Tx<'_>, user_id: &str) -> Result<(), Error> {
    let owner = meta(tx, "user", user_id.to_owned()).await?;
    if owner == user_id {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Storage, format!("the file belongs to the user {owner}, and not to {user_id}")))
}

pub(super) async fn message_at(tx: &mut Tx<'_>, room_id: &str, seq: u64) -> Result<Option<Cached>, Error> {
    let row: Option<MessageRow> =
        sqlx::query_as("SELECT as_of, stale, message FROM messages WHERE room_id = $1 AND seq = $2")
            .bind(room_id)
            .bind(int(seq))
            .fetch_optional(&mut **tx)
            .await
            .map_err(storage)?;
    row.map(cached).transpose()
}

pub(super) async fn put_message(tx: &mut Tx<'_>, message: &Message, as_of: u64) -> Result<(), Error> {
    let query =
        sqlx::query("INSERT OR REPLACE INTO messages (room_id, seq, as_of, stale, message) VALUES ($1, $2, $3, 0, $4)")
            .bind(&message.room_id)
            .bind(int(message.seq))
            .bind(int(as_of))
            .bind(message.encode_to_vec());
    run(tx, query).await.map(drop)
}

/// Forgets all messages of a room but the newest.
pub(super) async fn trim(tx: &mut Tx<'_>, room_id: &str, newest: u64, kept: u64) -> Result<(), Error> {
    let query = sqlx::query("DELETE FROM messages WHERE room_id = $1 AND seq <= $2")
        .bind(room_id)
        .bind(int(newest.saturating_sub(kept)));
    run(tx, query).await.map(drop)
}

/// Changes of the messages of a room may have been missed.
pub(super) async fn doubt(tx: &mut Tx<'_>, room_id: &str) -> Result<(), Error> {
    let query = sqlx::query("UPDATE messages SET stale = 1 WHERE room_id = $1").bind(room_id);
    run(tx, query).await.map(drop)
}

/// The position that a room's events were stored up to.
pub(super) async fn position(tx: &mut Tx<'_>, room_id: &str) -> Result<Option<u64>, Error> {
    let position: Option<i64> = sqlx::query_scalar("SELECT position FROM positions WHERE room_id = $1")
        .bind(room_id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(storage)?;
    Ok(position.map(uint))
}

/// The newest message of a room that the user has seen: that is here, or that they have read on any device. `None`: nothing is
/// known of the room.
pub(super) async fn seen_seq(connection: &mut SqliteConnection, room_id: &str) -> Result<Option<u64>, Error> {
    Ok(newest_message(connection, room_id).await?.max(read_seq(connection, room_id).await?))
}

async fn newest_message(connection: &mut SqliteConnection, room_id: &str) -> Result<Option<u64>, Error> {
    let newest: Option<i64> = sqlx::query_scalar("SELECT max(seq) FROM messages WHERE room_id = $1")
        .bind(room_id)
        .fetch_one(&mut *connection)
        .await
        .map_err(storage)?;
    Ok(newest.map(uint))
}

/// How far the user has read a room, on any device. `None`: it is not known.
pub(super) async fn read_seq(connection: &mut SqliteConnection, room_id: &str) -> Result<Option<u64>, Error> {
    Ok(membership(connection, room_id).await?.map(|state| state.read_seq))
}

async fn membership(connection: &mut SqliteConnection, room_id: &str) -> Result<Option<MembershipState>, Error> {
    let state: Option<Vec<u8>> = sqlx::query_scalar("SELECT state FROM memberships WHERE room_id = $1")
        .bind(room_id)
        .fetch_optional(&mut *connection)
        .await
        .map_err(storage)?;
    state.map(|state| decode(&state)).transpose()
}

pub(super) async fn put_position(tx: &mut Tx<'_>, room_id: &str, position: u64) -> Result<(), Error> {
    let query = sqlx::query("INSERT OR REPLACE INTO positions (room_id, position) VALUES ($1, $2)")
        .bind(room_id)
        .bind(int(position));
    run(tx, query).await.map(drop)
}

pub(super) async fn put_membership(tx: &mut Tx<'_>, state: &MembershipState) -> Result<(), Error> {
    let query = sqlx::query("INSERT OR REPLACE INTO memberships (room_id, state) VALUES ($1, $2)")
        .bind(&state.room_id)
        .bind(state.encode_to_vec());
    run(tx, query).await.map(drop)
}

/// Forgets a room that the user is not in any more. What waits in the outbox stays: the server decides.
pub(super) async fn forget_room(tx: &mut Tx<'_>, room_id: &str) -> Result<(), Error> {
    const ALL: [&str; 4] = [
        "DELETE FROM positions WHERE room_id = $1",
        "DELETE FROM messages WHERE room_id = $1",
        "DELETE FROM rooms WHERE room_id = $1",
        "DELETE FROM memberships WHERE room_id = $1",
    ];
    for statement in ALL {
        run(tx, sqlx::query(statement).bind(room_id)).await?;
    }
    Ok(())
}

pub(super) async fn put_blocked(tx: &mut Tx<'_>, users: &BTreeSet<String>) -> Result<(), Error> {
    run(tx, sqlx::query("DELETE FROM blocked")).await?;
    for user_id in users {
        block(tx, user_id, true).await?;
    }
    Ok(())
}

pub(super) async fn block(tx: &mut Tx<'_>, user_id: &str, blocked: bool) -> Result<(), Error> {
    let statement = match blocked {
        true => "INSERT INTO blocked (user_id) VALUES ($1) ON CONFLICT DO NOTHING",
        false => "DELETE FROM blocked WHERE user_id = $1",
    };
    run(tx, sqlx::query(statement).bind(user_id)).await.map(drop)
}

fn cached((as_of, stale, message): MessageRow) -> Result<Cached, Error> {
    Ok(Cached { message: decode(&message)?, as_of: uint(as_of), stale })
}

pub(super) fn decode<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, Error> {
    M::decode(bytes)
        .map_err(|error| Error::caused_by(ErrorKind::Storage, "the file of the outbox and cache", Box::new(error)))
}
