//! Bans, mutes, and who sent when in a room with slow mode.

use std::time::Duration;

use super::{by_room, shaped, table};
use crate::{
    chat::{moderation::Ban, room::MAX_SLOW_MODE_SECONDS},
    clock::Timestamp,
    db::{Args, Db, Dialect, FromRow, Row, RowResult, Tx},
    error::Result,
    id::{RoomKey, UserId},
};

impl FromRow for Ban {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self {
            user: row.read()?,
            by: row.read()?,
            at: row.time()?,
            reason: row.text()?,
            expires_at: row.time_opt()?,
        })
    }
}

/// Whether a user is banned from a room now.
pub(in crate::chat) async fn is_banned(tx: &mut Tx, room: &RoomKey, user: &UserId, now: Timestamp) -> Result<bool> {
    let statement = "SELECT 1 FROM bans WHERE project_id = $1 AND room_id = $2 AND user_id = $3 \
         AND (expires_at IS NULL OR expires_at > $4)";
    Ok(tx.fetch_optional::<(i64,)>(statement, by_room(room).with(user).with(now)).await?.is_some())
}

/// Whether there is a ban of the user, ended or not.
pub(in crate::chat) async fn has_ban(tx: &mut Tx, room: &RoomKey, user: &UserId) -> Result<bool> {
    let statement = "SELECT 1 FROM bans WHERE project_id = $1 AND room_id = $2 AND user_id = $3";
    Ok(tx.fetch_optional::<(i64,)>(statement, by_room(room).with(user)).await?.is_some())
}

/// How many bans a room has, ended or not.
pub(in crate::chat) async fn count_bans(tx: &mut Tx, room: &RoomKey) -> Result<i64> {
    let statement = "SELECT COUNT(*) FROM bans WHERE project_id = $1 AND room_id = $2";
    Ok(tx.fetch_optional::<(i64,)>(statement, by_room(room)).await?.map_or(0, |(n,)| n))
}

/// Forgets the bans of a room that have ended.
pub(in crate::chat) async fn forget_ended_bans(tx: &mut Tx, room: &RoomKey, now: Timestamp) -> Result<()> {
    let statement = "DELETE FROM bans WHERE project_id = $1 AND room_id = $2 AND expires_at <= $3";
    tx.execute(statement, by_room(room).with(now)).await.map(drop)
}

/// Writes a ban, in the place of one that there is.
pub(in crate::chat) async fn ban(tx: &mut Tx, room: &RoomKey, ban: &Ban) -> Result<()> {
    let statement = "INSERT INTO bans (project_id, room_id, user_id, banned_by, banned_at, reason, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (project_id, room_id, user_id) DO UPDATE SET \
             banned_by = excluded.banned_by, banned_at = excluded.banned_at, reason = excluded.reason, \
             expires_at = excluded.expires_at";
    let args = by_room(room).with(&ban.user).with(&ban.by).with(ban.at).with(ban.reason.as_str()).with(ban.expires_at);
    tx.execute(statement, args).await.map(drop)
}

/// Lifts a ban.
pub(in crate::chat) async fn unban(tx: &mut Tx, room: &RoomKey, user: &UserId) -> Result<()> {
    let statement = "DELETE FROM bans WHERE project_id = $1 AND room_id = $2 AND user_id = $3";
    tx.execute(statement, by_room(room).with(user)).await.map(drop)
}

/// The bans of a room that have not ended, after a user id, by user id.
pub(in crate::chat) async fn list_bans(
    db: &Db,
    room: &RoomKey,
    after: Option<&UserId>,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Ban>> {
    let statement = "SELECT user_id, banned_by, banned_at, reason, expires_at FROM bans \
         WHERE project_id = $1 AND room_id = $2 AND user_id > $3 AND (expires_at IS NULL OR expires_at > $4) \
         ORDER BY user_id LIMIT $5";
    let args = by_room(room).with(after.map_or("", UserId::as_str)).with(now).with(limit as u64);
    db.fetch_all(statement, args).await
}

/// Lets a member only read until then, or speak again.
pub(in crate::chat) async fn mute(
    tx: &mut Tx,
    room: &RoomKey,
    user: &UserId,
    muted_until: Option<Timestamp>,
) -> Result<()> {
    let statement = "UPDATE members SET muted_until = $4 WHERE project_id = $1 AND room_id = $2 AND user_id = $3";
    tx.execute(statement, by_room(room).with(user).with(muted_until)).await.map(drop)
}

/// What holds a member back, and would after they came back.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::chat) struct Restraint {
    /// Until when a moderator lets them only read.
    pub(in crate::chat) muted_until: Option<Timestamp>,
    /// When they last sent, if the room was in slow mode then.
    pub(in crate::chat) last_sent_at: Option<Timestamp>,
}

impl FromRow for Restraint {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self { muted_until: row.time_opt()?, last_sent_at: row.time_opt()? })
    }
}

impl Restraint {
    /// When it is over, however slow the room is.
    fn ends_at(&self) -> Option<Timestamp> {
        let waits_until = self.last_sent_at.map(|at| at.plus(Duration::from_secs(MAX_SLOW_MODE_SECONDS.into())));
        self.muted_until.max(waits_until)
    }
}

/// Keeps what holds a member back who is about to leave.
pub(in crate::chat) async fn keep_restraint(tx: &mut Tx, room: &RoomKey, user: &UserId, now: Timestamp) -> Result<()> {
    let statement =
        "SELECT muted_until, last_sent_at FROM members WHERE project_id = $1 AND room_id = $2 AND user_id = $3";
    let found: Option<Restraint> = tx.fetch_optional(statement, by_room(room).with(user)).await?;
    let Some((restraint, ends_at)) = found.and_then(|r| Some((r, r.ends_at().filter(|end| *end > now)?))) else {
        return Ok(());
    };
    let statement = "INSERT INTO restraints (project_id, room_id, user_id, muted_until, last_sent_at, ends_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (project_id, room_id, user_id) DO UPDATE SET \
             muted_until = excluded.muted_until, last_sent_at = excluded.last_sent_at, ends_at = excluded.ends_at";
    let args = by_room(room).with(user).with(restraint.muted_until).with(restraint.last_sent_at).with(ends_at);
    tx.execute(statement, args).await.map(drop)
}

/// Takes what is kept of somebody who comes back.
pub(in crate::chat) async fn take_restraint(tx: &mut Tx, room: &RoomKey, user: &UserId) -> Result<Restraint> {
    let statement = "DELETE FROM restraints WHERE project_id = $1 AND room_id = $2 AND user_id = $3 \
         RETURNING muted_until, last_sent_at";
    Ok(tx.fetch_optional(statement, by_room(room).with(user)).await?.unwrap_or_default())
}

/// Forgets what is over of those who never came back, at most `limit` of them; answers of how many.
pub(in crate::chat) async fn forget_restraints(tx: &mut Tx, now: Timestamp, limit: u64) -> Result<u64> {
    let statement = "DELETE FROM restraints WHERE (project_id, room_id, user_id) IN \
         (SELECT project_id, room_id, user_id FROM restraints WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2)";
    tx.execute(statement, Args::new().with(now).with(limit)).await
}

/// Keeps when these members sent their last message. At least one.
pub(in crate::chat) async fn sent(tx: &mut Tx, members: &[(RoomKey, UserId)], now: Timestamp) -> Result<()> {
    const TYPES: [&str; 3] = ["text"; 3];
    let Some(last) = members.last() else { return Ok(()) };
    let (wrote, n) = table(tx.dialect(), &TYPES, members.len(), 0);
    let at = if tx.dialect() == Dialect::ValueLists { "?" } else { "$4" };
    let statement = format!(
        "WITH wrote (project_id, room_id, user_id) AS {wrote} UPDATE members SET last_sent_at = {at} FROM wrote \
         WHERE members.project_id = wrote.project_id AND members.room_id = wrote.room_id \
           AND members.user_id = wrote.user_id"
    );
    let rows = members.iter().chain(std::iter::repeat_n(last, n - members.len()));
    let args = rows.fold(Args::with_capacity(n * TYPES.len() + 1), |args, (room, user)| {
        args.with(&room.project).with(&room.room).with(user)
    });
    let args = shaped(tx.dialect(), args, TYPES.len());
    tx.execute(&statement, args.with(now)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        chat::store::events,
        config::{self, Overrides},
        id::{ProjectId, RoomId},
    };

    async fn open(folder: &std::path::Path) -> Db {
        let config = config::load(&Overrides::default(), std::iter::empty()).unwrap();
        Db::open(&config.database, folder, Arc::default()).await.unwrap()
    }

    fn room(name: &str) -> RoomKey {
        RoomKey { project: ProjectId::parse("default", "project").unwrap(), room: RoomId::parse(name, "room").unwrap() }
    }

    #[tokio::test]
    async fn bans_pins_and_restraints_go_with_their_room() {
        let folder = tempfile::tempdir().unwrap();
        let db = open(folder.path()).await;
        let mut tx = db.begin().await.unwrap();
        for (name, deleted_at) in [("gone", Some(Timestamp(1))), ("here", None)] {
            let statement = "INSERT INTO rooms (project_id, room_id, kind, title, description, created_by, created_at, \
                 updated_at, last_activity_at, last_seq, last_position, member_count, deleted_at) \
                 VALUES ($1, $2, 1, '', '', 'ana', 0, 0, 0, 0, 0, 0, $3)";
            tx.execute(statement, by_room(&room(name)).with(deleted_at)).await.unwrap();
            for i in 0..5_u64 {
                let statement = "INSERT INTO pins (project_id, room_id, seq, pinned_by, pinned_at, position) \
                     VALUES ($1, $2, $3, 'ana', 0, 0)";
                tx.execute(statement, by_room(&room(name)).with(i)).await.unwrap();
                let (user, at) = (UserId::parse(&format!("user-{i}"), "user").unwrap(), Timestamp(1));
                let new = Ban { user: user.clone(), by: user.clone(), at, reason: String::new(), expires_at: None };
                ban(&mut tx, &room(name), &new).await.unwrap();
                let statement = "INSERT INTO restraints (project_id, room_id, user_id, ends_at) VALUES ($1, $2, $3, 9)";
                tx.execute(statement, by_room(&room(name)).with(&user)).await.unwrap();
            }
        }
        while events::erase_deleted(&mut tx, Timestamp(2), 2).await.unwrap() {}
        for (name, left) in [("gone", 0), ("here", 5)] {
            for table in ["pins", "bans", "restraints"] {
                let statement = format!("SELECT COUNT(*) FROM {table} WHERE project_id = $1 AND room_id = $2");
                let (count,): (i64,) = tx.fetch_optional(&statement, by_room(&room(name))).await.unwrap().unwrap();
                assert_eq!(count, left, "{table} of {name}");
            }
        }
        assert_eq!(forget_restraints(&mut tx, Timestamp(8), 9).await.unwrap(), 0);
        assert_eq!(forget_restraints(&mut tx, Timestamp(9), 3).await.unwrap(), 3);
        assert_eq!(forget_restraints(&mut tx, Timestamp(9), 3).await.unwrap(), 2);
    }
}
