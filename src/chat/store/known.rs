//! What a batch of sends has to know before it writes, in one statement however many sends it holds.

use std::collections::HashMap;

use uuid::Uuid;

use super::{lanes, look_up, shaped, table};
use crate::{
    chat::{
        lane::{Lane, LaneKey},
        room::{Role, RoomKind},
    },
    clock::Timestamp,
    db::{Args, Dialect, FromRow, Row, RowResult, Tx},
    error::Result,
    id::{RoomId, UserKey},
};

/// A room's counters, as they stand in the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::chat) struct Counters {
    pub(in crate::chat) kind: RoomKind,
    pub(in crate::chat) last_seq: u64,
    pub(in crate::chat) last_position: u64,
    pub(in crate::chat) member_count: u64,
    pub(in crate::chat) last_activity_at: Timestamp,
    /// Deleted in this transaction: nothing is found in it any more.
    pub(in crate::chat) deleted: bool,
}

/// Where messages are written to: a sender in a room, in a lane of theirs if they number them there.
pub(in crate::chat) struct Place<'a> {
    pub(in crate::chat) sender: &'a UserKey,
    pub(in crate::chat) room: &'a RoomId,
    pub(in crate::chat) lane: Option<&'a LaneKey>,
}

/// What the database knows about a place.
pub(in crate::chat) struct Known {
    /// The room, unless it does not exist.
    pub(in crate::chat) counters: Option<Counters>,
    /// The sender's role, unless they are not a member.
    pub(in crate::chat) role: Option<Role>,
    /// What holds the sender back.
    pub(in crate::chat) held: Held,
    /// The lane, if it was used before.
    pub(in crate::chat) lane: Option<Lane>,
}

/// What holds a member back beside their role.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::chat) struct Held {
    /// Until when a moderator lets them only read.
    pub(in crate::chat) muted_until: Option<Timestamp>,
    /// In a direct room: one of the two has blocked the other.
    pub(in crate::chat) peer_blocked: bool,
    /// When they last sent, if the room was in slow mode then.
    pub(in crate::chat) last_sent_at: Option<Timestamp>,
    /// How long a member waits between two messages. 0: not at all.
    pub(in crate::chat) slow_mode_seconds: u32,
}

/// A message that was sent with the same id.
#[derive(Clone)]
pub(in crate::chat) struct Earlier {
    pub(in crate::chat) room: RoomId,
    pub(in crate::chat) seq: u64,
    pub(in crate::chat) position: u64,
    pub(in crate::chat) created_at: Timestamp,
    pub(in crate::chat) fingerprint: Vec<u8>,
}

/// Looks up places, and the ids that senders gave their messages. Answers what is known of each place, in the same order, and
/// the messages that carry one of the ids already, by its index.
pub(in crate::chat) async fn known(
    tx: &mut Tx,
    places: &[Place<'_>],
    ids: &[(&UserKey, Uuid)],
) -> Result<(Vec<Known>, HashMap<usize, Earlier>)> {
    let dialect = tx.dialect();
    let places = of_places(dialect, places);
    let ids = of_ids(dialect, ids, places.width);
    // One statement: each is a way to the database and back.
    let statement = format!("WITH {}, {} {} UNION ALL {}", places.table, ids.table, places.select, ids.select);
    let found: Vec<Found> = tx.fetch_all(&statement, Args::joined([places.args, ids.args].into_iter())).await?;
    let (mut known, mut earlier) = (Vec::new(), HashMap::new());
    for found in found {
        match found {
            Found::Place(index, place) => known.push((index, place)),
            Found::Earlier(index, message) => drop(earlier.insert(index, message)),
        }
    }
    known.sort_by_key(|(index, _)| *index);
    known.dedup_by_key(|(index, _)| *index);
    Ok((known.into_iter().map(|(_, place)| place).collect(), earlier))
}

/// Half of the statement: what is looked up, and how.
struct Half {
    table: String,
    select: String,
    args: Args,
    width: usize,
}

fn of_places(dialect: Dialect, places: &[Place<'_>]) -> Half {
    const TYPES: [&str; 5] = ["int8", "text", "text", "text", "text"];
    // Where no send is in a lane, as in most batches, lanes cost nothing.
    let lanes = places.iter().any(|place| place.lane.is_some());
    let types = if lanes { &TYPES[..] } else { &TYPES[..4] };
    let (rows, n) = table(dialect, types, places.len(), 0);
    let left = |table, alias, condition| look_up(dialect, "LEFT JOIN", table, alias, condition);
    let room = "r.project_id = w.project_id AND r.room_id = w.room_id AND r.deleted_at IS NULL";
    let member = "m.project_id = w.project_id AND m.room_id = w.room_id AND m.user_id = w.user_id";
    let lane = "l.project_id = w.project_id AND l.room_id = w.room_id AND l.sender_id = w.user_id \
         AND l.lane_id = w.lane_id";
    let (name, in_lane, lane) = match lanes {
        true => (", lane_id", "l.last_client_seq, l.missing, l.skipped", left("lanes", "l", lane)),
        false => ("", "NULL, NULL, NULL", String::new()),
    };
    let select = format!(
        "SELECT w.idx, NULL, r.last_seq, r.last_position, r.last_activity_at, NULL, r.kind, r.member_count, m.role, \
                m.muted_until, m.peer_blocked, m.last_sent_at, r.slow_mode_seconds, {in_lane} \
         FROM places w {} {} {lane}",
        left("rooms", "r", room),
        left("members", "m", member)
    );
    let mut args = Args::with_capacity(n * types.len());
    for i in 0..n {
        let at = i.min(places.len() - 1);
        let Place { sender, room, lane } = &places[at];
        args.push(at as i64);
        args.push(&sender.project);
        args.push(*room);
        args.push(&sender.user);
        if lanes {
            args.push(lane.map(|key| &*key.lane));
        }
    }
    Half {
        table: format!("places (idx, project_id, room_id, user_id{name}) AS {rows}"),
        select,
        args: shaped(dialect, args, types.len()),
        width: types.len(),
    }
}

/// Rows are found for those only that were used before: none, mostly.
fn of_ids(dialect: Dialect, ids: &[(&UserKey, Uuid)], before: usize) -> Half {
    const TYPES: [&str; 4] = ["int8", "text", "text", "uuid"];
    let (rows, n) = table(dialect, &TYPES, ids.len(), before);
    let used = "d.project_id = w.project_id AND d.sender_id = w.user_id AND d.client_message_id = w.client_message_id";
    let select = format!(
        "SELECT w.idx, d.room_id, d.seq, d.position, d.created_at, d.fingerprint, \
                NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL \
         FROM ids w {}",
        look_up(dialect, "JOIN", "messages", "d", used)
    );
    let mut args = Args::with_capacity(n * TYPES.len());
    for i in 0..n {
        let at = i.min(ids.len() - 1);
        let (sender, id) = ids[at];
        args.push(at as i64);
        args.push(&sender.project);
        args.push(&sender.user);
        args.push(id);
    }
    Half {
        table: format!("ids (idx, project_id, user_id, client_message_id) AS {rows}"),
        select,
        args: shaped(dialect, args, TYPES.len()),
        width: TYPES.len(),
    }
}

/// A row of either half.
enum Found {
    Place(usize, Known),
    Earlier(usize, Earlier),
}

impl FromRow for Found {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        let index = row.count()? as usize;
        let room = row.text_opt()?.map(RoomId::stored);
        let (seq, position) = (row.count_opt()?.unwrap_or_default(), row.count_opt()?.unwrap_or_default());
        let at = row.time_opt()?.unwrap_or_default();
        let fingerprint = row.bytes_opt()?.unwrap_or_default();
        if let Some(room) = room {
            return Ok(Self::Earlier(index, Earlier { room, seq, position, created_at: at, fingerprint }));
        }
        let kind = row.int_opt()?.map(|k| RoomKind::from_number(k).ok_or_else(|| Row::corrupt("room kind")));
        let member_count = row.count_opt()?.unwrap_or_default();
        let counters = kind.transpose()?.map(|kind| Counters {
            kind,
            last_seq: seq,
            last_position: position,
            member_count,
            last_activity_at: at,
            deleted: false,
        });
        let role = row.int_opt()?.map(|r| Role::from_number(r).ok_or_else(|| Row::corrupt("role"))).transpose()?;
        let held = row.read()?;
        let lane = match row.count_opt()? {
            Some(last) => Some(lanes::stored(last, row)?),
            None => None,
        };
        Ok(Self::Place(index, Known { counters, role, held, lane }))
    }
}

impl FromRow for Held {
    fn from_row(row: &mut Row<'_>) -> RowResult<Self> {
        Ok(Self {
            muted_until: row.time_opt()?,
            peer_blocked: row.int_opt()?.is_some_and(|blocked| blocked > 0),
            last_sent_at: row.time_opt()?,
            slow_mode_seconds: row.count_opt()?.unwrap_or_default().try_into().unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        chat::store::tests::plan,
        config::{self, Overrides},
        db::Db,
        id::{ProjectId, RoomKey, UserId},
    };

    /// For Postgres see `tests/behaviour/postgres/search.rs`.
    #[tokio::test]
    async fn a_batch_is_looked_up_by_index_however_large_it_is() {
        let config = config::load(&Overrides::default(), std::iter::empty()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&config.database, folder.path(), Arc::default()).await.unwrap();
        let (project, user) = (ProjectId::parse("default", "").unwrap(), UserId::parse("ana", "").unwrap());
        let sender = UserKey { project: project.clone(), user: user.clone() };
        let room = RoomId::parse("r", "").unwrap();
        let lane = LaneKey { room: RoomKey::new(&project, room.clone()), sender: user, lane: "phone".into() };
        for n in [1, 256] {
            let places = || (0..n).map(|_| Place { sender: &sender, room: &room, lane: Some(&lane) });
            let halves = [
                of_places(db.dialect(), &places().collect::<Vec<_>>()),
                of_ids(db.dialect(), &vec![(&sender, Uuid::nil()); n], 0),
            ];
            for half in halves {
                let plan = plan(&db, &format!("WITH {} {}", half.table, half.select), half.args).await;
                for step in &plan {
                    let by_index = ["d", "r", "m", "l"].iter().all(|table| !step.starts_with(&format!("SCAN {table}")));
                    assert!(by_index, "{step}");
                }
                assert!(plan.iter().any(|step| step.starts_with("SEARCH")), "nothing is looked up");
            }
        }
    }
}
