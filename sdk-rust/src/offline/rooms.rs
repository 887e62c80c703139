//! The list of rooms, as it was last seen.

use std::{collections::BTreeSet, future::Future, sync::Arc};

use prost::Message as _;
use relay_proto::chat::v1::{Message, Room, RoomSummary};

use super::{
    Offline,
    apply::changed,
    cache::{decode, forget_room, put_blocked},
    store::{Store, Tx, begin, run, storage},
};
use crate::{Error, RoomEvent, RoomEventKind, RoomScope};

impl Offline {
    /// The user's rooms as they were last seen, the most recently active first. Read from the file alone.
    ///
    /// # Errors
    /// [`Storage`](crate::ErrorKind::Storage).
    pub async fn rooms(&self) -> Result<Vec<RoomSummary>, Error> {
        self.0.store.rooms().await
    }

    /// Reads the user's rooms and blocks from the server into the file. [`events`](Self::events) has it done at each
    /// opening of the stream.
    ///
    /// # Errors
    /// As [`list_rooms`](crate::Client::list_rooms), and [`Storage`](crate::ErrorKind::Storage).
    pub async fn refresh(&self) -> Result<(), Error> {
        self.0.store.refresh(|| self.lists()).await
    }

    async fn lists(&self) -> Result<Lists, Error> {
        let (mut rooms, mut page) = (Vec::new(), None);
        loop {
            let read = self.0.client.list_rooms(RoomScope::Joined, 200, page).await?;
            rooms.extend(read.items);
            page = read.next;
            if page.is_none() {
                break;
            }
        }
        Ok(Lists { rooms, blocked: self.0.client.blocked_users().await? })
    }
}

/// What the server has answered, page after page.
#[derive(Default)]
struct Lists {
    rooms: Vec<RoomSummary>,
    blocked: Arc<BTreeSet<String>>,
}

impl Store {
    async fn rooms(&self) -> Result<Vec<RoomSummary>, Error> {
        let mut connection = self.connection().await;
        let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT summary FROM rooms ORDER BY last_activity DESC, room_id")
            .fetch_all(&mut *connection)
            .await
            .map_err(storage)?;
        rows.iter().map(|row| decode(row)).collect()
    }

    /// Reads lists and stores them. If an event has outdated them meanwhile they are read once more: they would bring back
    /// what it took away.
    async fn refresh<F>(&self, read: impl Fn() -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<Lists, Error>>,
    {
        loop {
            let before = self.outdated();
            let lists = read().await?;
            let mut connection = self.connection().await;
            if self.outdated() != before {
                continue;
            }
            let mut tx = begin(&mut connection).await?;
            put_rooms(&mut tx, &lists.rooms).await?;
            put_blocked(&mut tx, &lists.blocked).await?;
            return tx.commit().await.map_err(storage);
        }
    }
}

/// Puts what the server has listed in place of what was held, unless events have told something newer meanwhile.
async fn put_rooms(tx: &mut Tx<'_>, rooms: &[RoomSummary]) -> Result<(), Error> {
    for summary in rooms {
        let held = summary_of(tx, id(summary)).await?;
        if held.is_none_or(|held| at(&held) <= at(summary)) {
            put_summary(tx, summary).await?;
        }
    }
    let held: Vec<String> =
        sqlx::query_scalar("SELECT room_id FROM rooms").fetch_all(&mut **tx).await.map_err(storage)?;
    for room_id in held {
        // One that the stream has told of since is not in the list, and yet the user is in it.
        if rooms.iter().all(|summary| id(summary) != room_id) {
            forget_unless_followed(tx, &room_id).await?;
        }
    }
    Ok(())
}

async fn forget_unless_followed(tx: &mut Tx<'_>, room_id: &str) -> Result<(), Error> {
    match super::cache::position(tx, room_id).await? {
        Some(_) => Ok(()),
        None => forget_room(tx, room_id).await,
    }
}

/// What an event changes in its room's summary.
pub(super) fn apply(summary: &mut RoomSummary, event: &RoomEvent) {
    let user_id = summary.membership.as_ref().map(|member| member.user_id.clone()).unwrap_or_default();
    let room = summary.room.get_or_insert_default();
    if event.position <= room.last_position {
        return;
    }
    room.last_position = event.position;
    match &event.kind {
        RoomEventKind::MessageCreated(message) => {
            room.last_seq = room.last_seq.max(message.seq);
            room.last_activity_at = message.created_at.or(room.last_activity_at);
            summary.last_message = Some(message.clone());
        }
        RoomEventKind::MessageEdited(Message { seq, .. }) | RoomEventKind::MessageDeleted { seq, .. } => {
            if let Some(last) = summary.last_message.take_if(|last| last.seq == *seq) {
                summary.last_message = Some(changed(last, event, &user_id));
            }
        }
        RoomEventKind::MemberJoined(_) => room.member_count += 1,
        RoomEventKind::MemberLeft { .. } => room.member_count = room.member_count.saturating_sub(1),
        RoomEventKind::MemberUpdated(member) if member.user_id == user_id => {
            summary.membership = Some(member.clone());
        }
        RoomEventKind::RoomUpdated(updated) => {
            let Room { title, description, metadata, slow_mode_seconds, updated_at, .. } = updated.clone();
            (room.title, room.description, room.metadata) = (title, description, metadata);
            (room.slow_mode_seconds, room.updated_at) = (slow_mode_seconds, updated_at);
        }
        _ => {}
    }
}

/// Changes the summary of a room, if there is one.
pub(super) async fn change_room(
    tx: &mut Tx<'_>,
    room_id: &str,
    change: impl FnOnce(&mut RoomSummary),
) -> Result<(), Error> {
    let Some(mut summary) = summary_of(tx, room_id).await? else { return Ok(()) };
    change(&mut summary);
    put_summary(tx, &summary).await
}

pub(super) async fn summary_of(tx: &mut Tx<'_>, room_id: &str) -> Result<Option<RoomSummary>, Error> {
    let row: Option<Vec<u8>> = sqlx::query_scalar("SELECT summary FROM rooms WHERE room_id = $1")
        .bind(room_id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(storage)?;
    row.map(|row| decode(&row)).transpose()
}

async fn put_summary(tx: &mut Tx<'_>, summary: &RoomSummary) -> Result<(), Error> {
    let activity = summary.room.as_ref().and_then(|room| room.last_activity_at).unwrap_or_default();
    let nanos = activity.seconds.saturating_mul(1_000_000_000).saturating_add(activity.nanos.into());
    let query = sqlx::query("INSERT OR REPLACE INTO rooms (room_id, last_activity, summary) VALUES ($1, $2, $3)")
        .bind(id(summary))
        .bind(nanos)
        .bind(summary.encode_to_vec());
    run(tx, query).await.map(drop)
}

fn id(summary: &RoomSummary) -> &str {
    summary.room.as_ref().map_or("", |room| room.room_id.as_str())
}

fn at(summary: &RoomSummary) -> u64 {
    summary.room.as_ref().map_or(0, |room| room.last_position)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use relay_proto::chat::v1::{ResumeVerdict, RoomResume};

    use super::*;
    use crate::{Event, Unread};

    fn lists(rooms: &[&str], blocked: &[&str]) -> Lists {
        let room = |id: &&str| Room { room_id: (*id).to_owned(), ..Room::default() };
        let rooms = rooms.iter().map(|id| RoomSummary { room: Some(room(id)), ..RoomSummary::default() }).collect();
        Lists { rooms, blocked: Arc::new(blocked.iter().map(|id| (*id).to_owned()).collect()) }
    }

    fn left(room_id: &str) -> Event {
        let verdict = ResumeVerdict::Left.into();
        Event::Resumed(RoomResume { room_id: room_id.to_owned(), verdict, ..RoomResume::default() })
    }

    fn removed(room_id: &str, user_id: &str) -> Event {
        let kind = RoomEventKind::MemberLeft { user_id: user_id.to_owned(), banned: false };
        let (room_id, actor_id) = (room_id.to_owned(), "ben".to_owned());
        Event::Room(RoomEvent { room_id, position: 9, occurred_at: None, actor_id, kind })
    }

    fn unblocked(user_id: &str) -> Event {
        Event::Block { user_id: user_id.to_owned(), blocked: false }
    }

    /// Refreshes while an event comes between the reading of old lists and their arrival. Answers with the rooms and blocks
    /// that are stored then, and how often the lists were read.
    async fn refreshed(event: Event) -> (Vec<String>, Vec<String>, u32) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("ana.db")).await.unwrap();
        let reads = Cell::new(0);
        let read = || async {
            reads.set(reads.get() + 1);
            if reads.get() > 1 {
                return Ok(lists(&["b"], &["dan"]));
            }
            let mut unread = Unread::restore("ana".into(), Vec::new());
            store.apply(std::slice::from_ref(&event), &mut unread, 10).await?;
            Ok(lists(&["a", "b"], &["dan", "eve"]))
        };
        store.refresh(read).await.unwrap();
        let rooms = store.rooms().await.unwrap();
        let blocked = store.blocked().await.unwrap().into_iter().collect();
        (rooms.iter().map(|summary| id(summary).to_owned()).collect(), blocked, reads.get())
    }

    #[tokio::test]
    async fn lists_that_an_event_has_outdated_are_read_again() {
        for event in [left("a"), removed("a", "ana"), unblocked("eve")] {
            let said = format!("{event:?}");
            assert_eq!(refreshed(event).await, (vec!["b".to_owned()], vec!["dan".to_owned()], 2), "{said}");
        }
        // What happens to others does not.
        assert_eq!(refreshed(removed("a", "ben")).await.2, 1);
    }
}
