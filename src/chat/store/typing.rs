//! Who may type.

use super::by_room;
use crate::{
    chat::room::{Role, RoomKind},
    clock::Timestamp,
    db::{Db, FromRow, Row, RowResult},
    error::Result,
    id::{RoomKey, UserId},
};

/// What keeps a user from typing, or not.
pub(in crate::chat) struct Standing {
    pub(in crate::chat) kind: RoomKind,
    /// `None`: they are no member.
    pub(in crate::chat) role: Option<Role>,
    pub(in crate::chat) muted_until: Option<Timestamp>,
    /// In a direct room: one of the two has blocked the other.
    pub(in crate::chat) peer_blocked: bool,
}

impl FromRow for Standing {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        let kind = row.read()?;
        let role = row.int_opt()?.map(|r| Role::from_number(r).ok_or_else(|| Row::corrupt("role"))).transpose()?;
        Ok(Self { kind, role, muted_until: row.time_opt()?, peer_blocked: row.int_opt()?.is_some_and(|n| n != 0) })
    }
}

/// The standing of a user in a room; `None` if there is no such room.
pub(in crate::chat) async fn standing(db: &Db, room: &RoomKey, user: &UserId) -> Result<Option<Standing>> {
    let statement = "SELECT r.kind, me.role, me.muted_until, me.peer_blocked FROM rooms r \
         LEFT JOIN members me ON me.project_id = r.project_id AND me.room_id = r.room_id AND me.user_id = $3 \
         WHERE r.project_id = $1 AND r.room_id = $2 AND r.deleted_at IS NULL";
    db.fetch_optional(statement, by_room(room).with(user)).await
}
