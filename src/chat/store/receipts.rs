//! How far members are, what they have set, and which of their unread messages mention them: for many at once.

use std::collections::HashMap;

use super::{by_room, look_up, padded, pairs, placeholders};
use crate::{
    chat::receipts::{Cursors, MAX_MENTIONS_SHOWN, Membership, MessageStatus, Reported, RoomSettings},
    db::{Args, Db, Dialect, FromRow, Row, RowResult, Tx},
    error::Result,
    id::{RoomId, RoomKey, UserId, UserKey},
};

impl FromRow for Cursors {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { delivered: row.count()?, read: row.count()? })
    }
}

struct Moved(Reported);

impl FromRow for Moved {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self((row.read()?, row.read()?, row.read()?)))
    }
}

/// Raises the cursors of members, each once and in the order of rooms and users, none beyond its room's newest message.
/// Answers whose moved, with what they are now. Who is not a member is passed over.
pub(in crate::chat) async fn raise(tx: &mut Tx, rows: &[Reported]) -> Result<Vec<Reported>> {
    const WIDTH: usize = 5;
    let Some(last) = rows.last() else { return Ok(Vec::new()) };
    let columns = "project_id, room_id, user_id, delivered_seq, read_seq";
    let (wanted, source, n) = match tx.dialect() {
        Dialect::ValueLists => {
            let n = padded(rows.len());
            (format!("wanted ({columns}) AS (VALUES {})", placeholders(n, WIDTH)), "wanted", n)
        }
        Dialect::ArraysAndLocks => {
            let arrays = "$1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[]";
            // Rows are locked one after the other, in one order for all nodes: so no two wait for each other in a circle.
            let locked = "locked AS MATERIALIZED (SELECT l.* FROM wanted w CROSS JOIN LATERAL ( \
                 SELECT m.project_id, m.room_id, m.user_id, w.delivered_seq, w.read_seq FROM members m \
                 WHERE m.project_id = w.project_id AND m.room_id = w.room_id AND m.user_id = w.user_id \
                   AND (w.delivered_seq > m.delivered_seq OR w.read_seq > m.read_seq) FOR NO KEY UPDATE OF m) l)";
            (format!("wanted ({columns}) AS (SELECT * FROM UNNEST({arrays})), {locked}"), "locked", rows.len())
        }
    };
    let rooms = "r.project_id = w.project_id AND r.room_id = w.room_id AND r.deleted_at IS NULL";
    let rooms = look_up(tx.dialect(), "JOIN", "rooms", "r", rooms);
    let statement = format!(
        "WITH {wanted} UPDATE members SET \
             delivered_seq = CASE WHEN p.delivered_seq > members.delivered_seq THEN p.delivered_seq ELSE members.delivered_seq END, \
             read_seq = CASE WHEN p.read_seq > members.read_seq THEN p.read_seq ELSE members.read_seq END \
         FROM (SELECT w.project_id, w.room_id, w.user_id, \
                      CASE WHEN w.delivered_seq > r.last_seq THEN r.last_seq ELSE w.delivered_seq END AS delivered_seq, \
                      CASE WHEN w.read_seq > r.last_seq THEN r.last_seq ELSE w.read_seq END AS read_seq \
               FROM {source} w {rooms}) AS p \
         WHERE members.project_id = p.project_id AND members.room_id = p.room_id AND members.user_id = p.user_id \
           AND (p.delivered_seq > members.delivered_seq OR p.read_seq > members.read_seq) \
         RETURNING members.project_id, members.room_id, members.user_id, members.delivered_seq, members.read_seq"
    );
    let mut args = Args::with_capacity(n * WIDTH);
    for (room, user, cursors) in rows.iter().chain(std::iter::repeat_n(last, n - rows.len())) {
        args.push(&room.project);
        args.push(&room.room);
        args.push(user);
        args.push(cursors.delivered);
        args.push(cursors.read);
    }
    let args = if source == "locked" { args.into_columns(WIDTH) } else { args };
    Ok(tx.fetch_all::<Moved>(&statement, args).await?.into_iter().map(|Moved(moved)| moved).collect())
}

/// The columns of a [`Membership`], of tables called `r` and `me`. Unread mentions are looked for where something is unread.
fn columns(dialect: Dialect) -> String {
    let list = match dialect {
        Dialect::ValueLists => "GROUP_CONCAT(seq)",
        Dialect::ArraysAndLocks => "STRING_AGG(seq::text, ',')",
    };
    format!(
        "r.room_id, me.delivered_seq, me.read_seq, r.last_seq, \
         CASE WHEN me.read_seq < r.last_seq THEN (SELECT {list} FROM ( \
             SELECT x.seq FROM mentions x WHERE x.project_id = me.project_id AND x.user_id IN (me.user_id, '') \
                AND x.room_id = me.room_id AND x.seq > me.read_seq AND x.sender_id <> me.user_id \
             GROUP BY x.seq ORDER BY x.seq DESC LIMIT {MAX_MENTIONS_SHOWN}) AS newest) END, \
         me.quiet_until, me.archived, me.favourite, me.settings_version"
    )
}

impl FromRow for RoomSettings {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { quiet_until: row.time_opt()?, archived: row.count()? > 0, favourite: row.count()? > 0 })
    }
}

impl FromRow for Membership {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        let room: RoomId = row.read()?;
        let (cursors, last_seq) = (row.read()?, row.count()?);
        let mentions = row.text_opt()?.unwrap_or_default();
        let mut unread_mentions: Vec<u64> = mentions.split(',').filter_map(|seq| seq.parse().ok()).collect();
        unread_mentions.sort_unstable();
        Ok(Self { room, cursors, last_seq, unread_mentions, settings: row.read()?, settings_version: row.count()? })
    }
}

const ROOMS: &str = "r.project_id = me.project_id AND r.room_id = me.room_id AND r.deleted_at IS NULL";

/// How these users stand in these rooms, as far as they are members.
pub(in crate::chat) async fn states(
    db: &Db,
    members: &[(&RoomKey, &UserId)],
) -> Result<HashMap<(RoomKey, UserId), Membership>> {
    const WIDTH: usize = 3;
    let Some(last) = members.last() else { return Ok(HashMap::new()) };
    let (wanted, n) = match db.dialect() {
        Dialect::ValueLists => {
            let n = padded(members.len());
            (format!("VALUES {}", placeholders(n, WIDTH)), n)
        }
        Dialect::ArraysAndLocks => {
            ("SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[])".to_owned(), members.len())
        }
    };
    let member = "me.project_id = w.project_id AND me.room_id = w.room_id AND me.user_id = w.user_id";
    let statement = format!(
        "WITH wanted (project_id, room_id, user_id) AS ({wanted}) \
         SELECT me.project_id, me.user_id, {} FROM wanted w {} {}",
        columns(db.dialect()),
        look_up(db.dialect(), "JOIN", "members", "me", member),
        look_up(db.dialect(), "JOIN", "rooms", "r", ROOMS),
    );
    let mut args = Args::with_capacity(n * WIDTH);
    for (room, user) in members.iter().chain(std::iter::repeat_n(last, n - members.len())) {
        args.push(&room.project);
        args.push(&room.room);
        args.push(*user);
    }
    let args = match db.dialect() {
        Dialect::ValueLists => args,
        Dialect::ArraysAndLocks => args.into_columns(WIDTH),
    };
    let found: Vec<(UserKey, Membership)> = db.fetch_all(&statement, args).await?;
    Ok(found.into_iter().map(|(user, state)| ((user.room(state.room.clone()), user.user), state)).collect())
}

/// How these users stand in all their rooms. At least one user.
pub(in crate::chat) async fn states_of(db: &Db, users: &[UserKey]) -> Result<HashMap<UserKey, Vec<Membership>>> {
    let names = users.iter().map(|user| (user.project.as_str(), user.user.as_str()));
    let (wanted, args) = pairs(db.dialect(), "project_id, user_id", names);
    let member = "me.project_id = w.project_id AND me.user_id = w.user_id";
    let statement = format!(
        "{wanted} SELECT me.project_id, me.user_id, {} FROM (SELECT DISTINCT * FROM wanted) w {} {}",
        columns(db.dialect()),
        look_up(db.dialect(), "JOIN", "members", "me", member),
        look_up(db.dialect(), "JOIN", "rooms", "r", ROOMS),
    );
    let mut states: HashMap<UserKey, Vec<Membership>> = HashMap::new();
    for (user, state) in db.fetch_all::<(UserKey, Membership)>(&statement, args).await? {
        states.entry(user).or_default().push(state);
    }
    Ok(states)
}

/// Cursors that are not written yet, as a table `p`, with its values and how many there are.
fn waiting(dialect: Dialect, waiting: &[(UserId, Cursors)]) -> (String, Args, usize) {
    const WIDTH: usize = 3;
    // One more than there are: nobody has this name, and there is always a row.
    let n = padded(waiting.len() + 1);
    let mut args = Args::with_capacity(n * WIDTH);
    for (user, cursors) in waiting {
        args.push(user);
        args.push(cursors.delivered);
        args.push(cursors.read);
    }
    for _ in waiting.len()..n {
        args = args.with("").with(0_u64).with(0_u64);
    }
    let with = "WITH waiting (user_id, delivered_seq, read_seq) AS";
    match dialect {
        Dialect::ValueLists => (format!("{with} (VALUES {})", placeholders(n, WIDTH)), args, n * WIDTH),
        Dialect::ArraysAndLocks => {
            let arrays = "$1::text[], $2::int8[], $3::int8[]";
            (format!("{with} (SELECT * FROM UNNEST({arrays}))"), args.into_columns(WIDTH), WIDTH)
        }
    }
}

const DELIVERED: &str = "CASE WHEN p.delivered_seq > me.delivered_seq THEN p.delivered_seq ELSE me.delivered_seq END";
const READ: &str = "CASE WHEN p.read_seq > me.read_seq THEN p.read_seq ELSE me.read_seq END";

/// The cursors of a room's members after a user id, by user id, with what waits; only of those who have read up to
/// `min_read`, and were members then.
pub(in crate::chat) async fn list(
    db: &Db,
    room: &RoomKey,
    reported: &[(UserId, Cursors)],
    min_read: u64,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<(UserId, Cursors)>> {
    let (with, mut args, used) = waiting(db.dialect(), reported);
    let [project, id, after_id, least, most] = [1, 2, 3, 4, 5].map(|i| format!("${}", used + i));
    let statement = format!(
        "{with} SELECT me.user_id, {DELIVERED}, {READ} FROM members me LEFT JOIN waiting p ON p.user_id = me.user_id \
         WHERE me.project_id = {project} AND me.room_id = {id} AND me.user_id > {after_id} \
           AND (me.read_seq >= {least} OR p.read_seq >= {least}) AND (me.joined_seq < {least} OR {least} = 0) \
         ORDER BY me.user_id LIMIT {most}"
    );
    args.push(&room.project);
    args.push(&room.room);
    args.push(after.map_or("", UserId::as_str));
    args.push(min_read);
    args.push(limit as u64);
    db.fetch_all(&statement, args).await
}

struct Counts(MessageStatus);

impl FromRow for Counts {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self(MessageStatus { members: row.count()?, delivered: row.count()?, read: row.count()? }))
    }
}

/// How many of those who were members of its room beside its sender, and still are, have got a message, and read it; with
/// what waits.
pub(in crate::chat) async fn status(
    db: &Db,
    room: &RoomKey,
    reported: &[(UserId, Cursors)],
    seq: u64,
    sender: &UserId,
) -> Result<MessageStatus> {
    let (with, mut args, used) = waiting(db.dialect(), reported);
    let [project, id, own, at] = [1, 2, 3, 4].map(|i| format!("${}", used + i));
    let statement = format!(
        "{with} SELECT COUNT(*), \
             COUNT(CASE WHEN me.delivered_seq >= {at} OR p.delivered_seq >= {at} THEN 1 END), \
             COUNT(CASE WHEN me.read_seq >= {at} OR p.read_seq >= {at} THEN 1 END) \
         FROM members me LEFT JOIN waiting p ON p.user_id = me.user_id \
         WHERE me.project_id = {project} AND me.room_id = {id} AND me.user_id <> {own} AND me.joined_seq < {at}"
    );
    args.push(&room.project);
    args.push(&room.room);
    args.push(sender);
    args.push(seq);
    let counts: Option<Counts> = db.fetch_optional(&statement, args).await?;
    Ok(counts.map_or_else(MessageStatus::default, |Counts(status)| status))
}

/// What a member has set, in a transaction that is about to change it; `None`: they are not a member.
pub(in crate::chat) async fn settings(tx: &mut Tx, room: &RoomKey, user: &UserId) -> Result<Option<RoomSettings>> {
    let lock = match tx.dialect() {
        Dialect::ValueLists => "",
        Dialect::ArraysAndLocks => "FOR NO KEY UPDATE",
    };
    let statement = format!(
        "SELECT quiet_until, archived, favourite FROM members \
         WHERE project_id = $1 AND room_id = $2 AND user_id = $3 {lock}"
    );
    tx.fetch_optional(&statement, by_room(room).with(user)).await
}

/// Writes what a member has set, as a new version.
pub(in crate::chat) async fn set(tx: &mut Tx, room: &RoomKey, user: &UserId, settings: RoomSettings) -> Result<()> {
    let statement = "UPDATE members SET quiet_until = $4, archived = $5, favourite = $6, \
             settings_version = settings_version + 1 \
         WHERE project_id = $1 AND room_id = $2 AND user_id = $3";
    let args = by_room(room)
        .with(user)
        .with(settings.quiet_until)
        .with(i64::from(settings.archived))
        .with(i64::from(settings.favourite));
    tx.execute(statement, args).await.map(drop)
}
