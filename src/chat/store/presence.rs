//! Presence: which nodes live, whose devices they hold, and what is told of each user.
//!
//! A user's row of `presence` is locked before anything of their devices is written: so what is told of them is made of all
//! devices there are, whichever nodes write at the same time.

use std::collections::HashMap;

use uuid::Uuid;

use super::{look_up, padded, pairs, placeholders};
use crate::{
    chat::presence::{Availability, Change, UserPresence},
    clock::Timestamp,
    db::{Args, Db, Dialect, FromRow, Row, RowResult, Tx},
    error::Result,
    id::{RoomId, RoomKey, UserId, UserKey},
};

/// The columns of a [`UserPresence`], of a table called `p`.
const COLUMNS: &str = "p.user_id, p.state, p.last_seen_at, p.status_text, p.version";

impl FromRow for Availability {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Self::from_number(row.int()?).ok_or_else(|| Row::corrupt("presence"))
    }
}

impl FromRow for UserPresence {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self {
            user: row.read()?,
            state: row.read()?,
            last_seen_at: row.time_opt()?,
            status_text: row.text()?,
            version: row.count()?,
        })
    }
}

/// A node that is dead.
pub(in crate::chat) struct DeadNode {
    pub(in crate::chat) node: Uuid,
    pub(in crate::chat) expired_at: Timestamp,
}

impl FromRow for DeadNode {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { node: row.uuid()?, expired_at: row.time()? })
    }
}

/// Lets a node live until `until`. `false`: it was not known, or its time had been over at `now`.
pub(in crate::chat) async fn renew(db: &Db, node: Uuid, now: Timestamp, until: Timestamp) -> Result<bool> {
    let mut tx = db.begin().await?;
    let statement = "UPDATE presence_nodes SET expires_at = $2 WHERE node_id = $1 AND expires_at > $3";
    let held = tx.execute(statement, Args::new().with(node).with(until).with(now)).await? > 0;
    if !held {
        let statement = "INSERT INTO presence_nodes (node_id, expires_at) VALUES ($1, $2) \
             ON CONFLICT (node_id) DO UPDATE SET expires_at = excluded.expires_at";
        tx.execute(statement, Args::new().with(node).with(until)).await?;
    }
    tx.commit().await?;
    Ok(held)
}

/// The nodes whose time is over at `now`.
pub(in crate::chat) async fn dead(db: &Db, now: Timestamp) -> Result<Vec<DeadNode>> {
    let statement = "SELECT node_id, expires_at FROM presence_nodes WHERE expires_at <= $1";
    db.fetch_all(statement, Args::new().with(now)).await
}

/// Some of the users who have devices at a node.
pub(in crate::chat) async fn users_at(db: &Db, node: Uuid, limit: u64) -> Result<Vec<UserKey>> {
    let statement = "SELECT project_id, user_id FROM presence_devices WHERE node_id = $1 \
         ORDER BY project_id, user_id LIMIT $2";
    db.fetch_all(statement, Args::new().with(node).with(limit)).await
}

/// Whether a node's time is still over; then it does not live again before the transaction ends, and finds that it was
/// dead.
pub(in crate::chat) async fn is_dead(tx: &mut Tx, node: Uuid, now: Timestamp) -> Result<bool> {
    let lock = match tx.dialect() {
        Dialect::ValueLists => "",
        Dialect::ArraysAndLocks => "FOR UPDATE",
    };
    let statement = format!("SELECT expires_at FROM presence_nodes WHERE node_id = $1 AND expires_at <= $2 {lock}");
    Ok(tx.fetch_optional::<(Timestamp,)>(&statement, Args::new().with(node).with(now)).await?.is_some())
}

/// Takes a dead node off, unless it lives again.
pub(in crate::chat) async fn bury(db: &Db, node: Uuid, now: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    let statement = "DELETE FROM presence_nodes WHERE node_id = $1 AND expires_at <= $2";
    tx.execute(statement, Args::new().with(node).with(now)).await?;
    tx.commit().await
}

/// Writes what devices users have at a node; at least one. Answers the presence of those for whom it changed what is told.
pub(in crate::chat) async fn write(
    tx: &mut Tx,
    node: Uuid,
    changes: &[Change],
    now: Timestamp,
) -> Result<Vec<(UserKey, UserPresence)>> {
    const TYPES: [&str; 5] = ["text", "text", "uuid", "int8", "timestamptz"];
    let rows = changes.iter().map(|Change { user, state, .. }| {
        Args::new().with(&user.project).with(&user.user).with(node).with(state.number()).with(now)
    });
    let (table, args) = table(tx.dialect(), &TYPES, rows);
    let wanted = format!("WITH wanted (project_id, user_id, node_id, state, at) AS {table}");
    let before = lock(tx, &wanted, &args).await?;
    let statement = format!(
        "{wanted} INSERT INTO presence_devices (project_id, user_id, node_id, state) \
         SELECT project_id, user_id, node_id, state FROM wanted WHERE state < 3 \
         ON CONFLICT (project_id, user_id, node_id) DO UPDATE SET state = excluded.state"
    );
    tx.execute(&statement, args.clone()).await?;
    let statement = format!(
        "{wanted} DELETE FROM presence_devices WHERE (project_id, user_id, node_id) IN \
         (SELECT project_id, user_id, node_id FROM wanted WHERE state = 3)"
    );
    tx.execute(&statement, args.clone()).await?;
    let devices = look_up(tx.dialect(), "JOIN", "presence_devices", "d", DEVICES_OF);
    let statement = format!(
        "{wanted} SELECT w.project_id, w.user_id, MIN(d.state) FROM wanted w {devices} \
         JOIN presence_nodes n ON n.node_id = d.node_id GROUP BY w.project_id, w.user_id"
    );
    let there: Vec<(UserKey, Availability)> = tx.fetch_all(&statement, args).await?;
    let there: HashMap<UserKey, Availability> = there.into_iter().collect();

    let mut changed = Vec::new();
    for Change { user, seen_at, .. } in changes {
        let state = there.get(user).copied().unwrap_or(Availability::Offline);
        if let Some(before) = before.get(user).filter(|before| before.state != state) {
            let last_seen_at = (state == Availability::Offline).then_some(*seen_at);
            let version = before.version + 1;
            changed.push((user.clone(), UserPresence { state, last_seen_at, version, ..before.clone() }));
        }
    }
    save(tx, &changed, now).await?;
    Ok(changed)
}

const DEVICES_OF: &str = "d.project_id = w.project_id AND d.user_id = w.user_id";

/// Sets what a user says of themselves. Answers their presence if that is news.
pub(in crate::chat) async fn set_status(
    tx: &mut Tx,
    user: &UserKey,
    status_text: String,
    now: Timestamp,
) -> Result<Option<UserPresence>> {
    let row = Args::new().with(&user.project).with(&user.user).with(now);
    let (table, args) = table(tx.dialect(), &["text", "text", "timestamptz"], [row].into_iter());
    let wanted = format!("WITH wanted (project_id, user_id, at) AS {table}");
    let before = lock(tx, &wanted, &args).await?.remove(user);
    let Some(before) = before.filter(|before| before.status_text != status_text) else { return Ok(None) };
    let changed = [(user.clone(), UserPresence { status_text, version: before.version + 1, ..before })];
    save(tx, &changed, now).await?;
    let [(_, presence)] = changed;
    Ok(Some(presence))
}

/// Locks the rows of the users in `wanted`, which are made if there are none, in the order of their keys: so no two
/// transactions wait for each other in a circle.
async fn lock(tx: &mut Tx, wanted: &str, args: &Args) -> Result<HashMap<UserKey, UserPresence>> {
    let statement = format!(
        "{wanted} INSERT INTO presence (project_id, user_id, state, version, changed_at) \
         SELECT project_id, user_id, 3, 0, at FROM wanted WHERE TRUE ORDER BY project_id, user_id \
         ON CONFLICT (project_id, user_id) DO NOTHING"
    );
    tx.execute(&statement, args.clone()).await?;
    let lock = match tx.dialect() {
        Dialect::ValueLists => "",
        Dialect::ArraysAndLocks => "FOR UPDATE",
    };
    let statement = format!(
        "{wanted} SELECT p.project_id, p.user_id, {COLUMNS} FROM presence p \
         WHERE (p.project_id, p.user_id) IN (SELECT project_id, user_id FROM wanted) \
         ORDER BY p.project_id, p.user_id {lock}"
    );
    let rows: Vec<(UserKey, UserPresence)> = tx.fetch_all(&statement, args.clone()).await?;
    Ok(rows.into_iter().collect())
}

/// Writes what is told of users from now on.
async fn save(tx: &mut Tx, changed: &[(UserKey, UserPresence)], now: Timestamp) -> Result<()> {
    const TYPES: [&str; 7] = ["text", "text", "int8", "int8", "text", "timestamptz", "timestamptz"];
    if changed.is_empty() {
        return Ok(());
    }
    let rows = changed.iter().map(|(user, p)| {
        let args = Args::new().with(&user.project).with(&user.user).with(p.state.number()).with(p.version);
        args.with(p.status_text.as_str()).with(p.last_seen_at).with(now)
    });
    let (table, args) = table(tx.dialect(), &TYPES, rows);
    let statement = format!(
        "WITH changed (project_id, user_id, state, version, status_text, last_seen_at, changed_at) AS {table} \
         UPDATE presence SET state = changed.state, version = changed.version, status_text = changed.status_text, \
                last_seen_at = changed.last_seen_at, changed_at = changed.changed_at \
         FROM changed WHERE presence.project_id = changed.project_id AND presence.user_id = changed.user_id"
    );
    tx.execute(&statement, args).await.map(drop)
}

/// A table of rows, as the engine takes it, and its values; at least one. Filled up with its first row: so there are few
/// different statements.
fn table(dialect: Dialect, types: &[&str], rows: impl ExactSizeIterator<Item = Args> + Clone) -> (String, Args) {
    let (n, width) = (rows.len(), types.len());
    match dialect {
        Dialect::ValueLists => {
            let fill = rows.clone().next().into_iter().cycle().take(padded(n) - n);
            (format!("(VALUES {})", placeholders(padded(n), width)), Args::joined(rows.chain(fill)))
        }
        Dialect::ArraysAndLocks => {
            let arrays: Vec<_> = types.iter().enumerate().map(|(i, of)| format!("${}::{of}[]", i + 1)).collect();
            (format!("(SELECT * FROM UNNEST({}))", arrays.join(", ")), Args::joined(rows).into_columns(width))
        }
    }
}

/// The rooms of these users; at least one. With the number of their members.
pub(in crate::chat) async fn rooms_of(db: &Db, users: &[UserKey]) -> Result<Vec<(UserKey, (RoomId, u64))>> {
    let names = users.iter().map(|user| (user.project.as_str(), user.user.as_str()));
    let (wanted, args) = pairs(db.dialect(), "project_id, user_id", names);
    let members = "me.project_id = w.project_id AND me.user_id = w.user_id";
    let members = look_up(db.dialect(), "JOIN", "members", "me", members);
    let rooms = "r.project_id = me.project_id AND r.room_id = me.room_id AND r.deleted_at IS NULL";
    let rooms = look_up(db.dialect(), "JOIN", "rooms", "r", rooms);
    let statement = format!(
        "{wanted} SELECT DISTINCT me.project_id, me.user_id, r.room_id, r.member_count FROM wanted w {members} {rooms}"
    );
    let rows: Vec<(UserKey, (RoomId, (i64,)))> = db.fetch_all(&statement, args).await?;
    Ok(rows.into_iter().map(|(user, (room, (n,)))| (user, (room, n.try_into().unwrap_or_default()))).collect())
}

/// How many members these rooms have; at least one. Those that are no more are left out.
pub(in crate::chat) async fn sizes(db: &Db, rooms: &[RoomKey]) -> Result<Vec<(RoomKey, u64)>> {
    let names = rooms.iter().map(|key| (key.project.as_str(), key.room.as_str()));
    let (wanted, args) = pairs(db.dialect(), "project_id, room_id", names);
    let rooms = "r.project_id = w.project_id AND r.room_id = w.room_id AND r.deleted_at IS NULL";
    let rooms = look_up(db.dialect(), "JOIN", "rooms", "r", rooms);
    let statement = format!("{wanted} SELECT r.project_id, r.room_id, r.member_count FROM wanted w {rooms}");
    let found: Vec<(RoomKey, (i64,))> = db.fetch_all(&statement, args).await?;
    Ok(found.into_iter().map(|(room, (n,))| (room, n.try_into().unwrap_or_default())).collect())
}

/// The members of these rooms who are there, by user; at least one room.
pub(in crate::chat) async fn present(db: &Db, rooms: &[RoomKey]) -> Result<HashMap<RoomKey, Vec<UserPresence>>> {
    let names = rooms.iter().map(|key| (key.project.as_str(), key.room.as_str()));
    let (wanted, args) = pairs(db.dialect(), "project_id, room_id", names);
    let members = "me.project_id = w.project_id AND me.room_id = w.room_id";
    let members = look_up(db.dialect(), "JOIN", "members", "me", members);
    let presence = "p.project_id = me.project_id AND p.user_id = me.user_id AND p.state < 3";
    let presence = look_up(db.dialect(), "JOIN", "presence", "p", presence);
    let statement = format!(
        "{wanted} SELECT DISTINCT me.project_id, me.room_id, {COLUMNS} FROM wanted w {members} {presence} \
         ORDER BY me.project_id, me.room_id, p.user_id"
    );
    let mut present: HashMap<RoomKey, Vec<UserPresence>> = HashMap::new();
    for (room, user) in db.fetch_all::<(RoomKey, UserPresence)>(&statement, args).await? {
        present.entry(room).or_default().push(user);
    }
    Ok(present)
}

/// How many members of a room are there, and the `limit` of them whose presence changed last.
pub(in crate::chat) async fn sample(db: &Db, room: &RoomKey, limit: u64) -> Result<(u64, Vec<UserPresence>)> {
    let statement = format!(
        "SELECT COUNT(*) OVER (), {COLUMNS} FROM members me \
         JOIN presence p ON p.project_id = me.project_id AND p.user_id = me.user_id AND p.state < 3 \
         WHERE me.project_id = $1 AND me.room_id = $2 ORDER BY p.changed_at DESC, p.user_id LIMIT $3"
    );
    let args = super::by_room(room).with(limit);
    let rows: Vec<((i64,), UserPresence)> = db.fetch_all(&statement, args).await?;
    let count = rows.first().map_or(0, |((n,), _)| u64::try_from(*n).unwrap_or_default());
    Ok((count, rows.into_iter().map(|(_, user)| user).collect()))
}

/// The presence of those of `users` of whom `caller` may know: themselves, and who shares a room with them and has not
/// blocked them. At least one. Those of whom nothing was ever written are offline.
pub(in crate::chat) async fn known(db: &Db, caller: &UserKey, users: &[UserId]) -> Result<Vec<UserPresence>> {
    let rows = users.iter().map(|user| Args::new().with(&caller.project).with(&caller.user).with(user));
    let (table, args) = table(db.dialect(), &["text", "text", "text"], rows);
    let shared = "b.project_id = a.project_id AND b.room_id = a.room_id AND b.user_id = w.user_id";
    let shared = look_up(db.dialect(), "JOIN", "members", "b", shared);
    let statement = format!(
        "WITH wanted (project_id, caller, user_id) AS {table} \
         SELECT DISTINCT w.user_id, COALESCE(p.state, 3), p.last_seen_at, COALESCE(p.status_text, ''), \
                COALESCE(p.version, 0) \
         FROM wanted w LEFT JOIN presence p ON p.project_id = w.project_id AND p.user_id = w.user_id \
         WHERE w.user_id = w.caller OR ( \
             EXISTS (SELECT 1 FROM members a {shared} WHERE a.project_id = w.project_id AND a.user_id = w.caller) \
             AND NOT EXISTS (SELECT 1 FROM blocks k WHERE k.project_id = w.project_id AND k.user_id = w.user_id \
                     AND k.blocked_id = w.caller))"
    );
    db.fetch_all(&statement, args).await
}
