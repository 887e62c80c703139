//! The messages of a room: from the file, and from the server what the file lacks.

use std::{collections::BTreeMap, ops::RangeInclusive};

use relay_proto::chat::v1::{Message, RoomKind};

use super::{
    Offline,
    cache::Cached,
    rooms::summary_of,
    store::{begin, storage},
};
use crate::{Error, History};

/// A part of a room's messages.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Timeline {
    /// The messages, ascending; deleted ones as tombstones.
    pub messages: Vec<Message>,
    /// The numbers of messages in between, ascending, that are neither in the file nor could be read from the server.
    pub missing: Vec<RangeInclusive<u64>>,
    /// Whether messages may have been changed since in a way that the file does not know.
    pub stale: bool,
    /// How many messages of blocked users were left out.
    pub hidden: usize,
    /// Whether there are older messages than these.
    pub more: bool,
}

/// How many messages are read from the server at once.
const PAGE: u64 = 200;

impl Offline {
    /// The newest messages of a room, at most `limit`, that come before the number `before`; with 0, the newest of all.
    ///
    /// What the file lacks, because it was never seen or lies behind a gap, is read from the server while an event stream of
    /// the client is open; otherwise, and if that fails, the answer says what is missing.
    ///
    /// # Errors
    /// [`Storage`](crate::ErrorKind::Storage).
    pub async fn timeline(&self, room_id: &str, before: u64, limit: usize) -> Result<Timeline, Error> {
        let online = self.0.client.live().uplink.is_open();
        let mut last = self.0.store.last_seq(room_id).await?;
        if last == 0 && online {
            last = self.newest(room_id).await.unwrap_or_default();
        }
        let end = if before == 0 { last } else { last.min(before - 1) };
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let begin = end.saturating_sub(limit) + 1;
        if end == 0 || limit == 0 {
            return Ok(Timeline { more: end > 0, ..Timeline::default() });
        }
        let held = self.0.store.messages(room_id, begin..=end).await?;
        let mut found: BTreeMap<u64, Cached> = held.into_iter().map(|held| (held.message.seq, held)).collect();
        if online {
            // Without an answer, what is held is what there is.
            let _ = self.fill(room_id, begin..=end, last, &mut found).await;
        }
        self.shown(room_id, begin..=end, found).await
    }

    /// The number of a room's newest message, of which the file knows nothing.
    async fn newest(&self, room_id: &str) -> Result<u64, Error> {
        let page = self.0.client.history(History::older(room_id).page_size(1)).await?;
        Ok(page.messages.first().map_or(0, |message| message.seq))
    }

    /// Reads what is missing or in doubt from the server, and keeps what belongs to the newest of the room.
    async fn fill(
        &self,
        room_id: &str,
        range: RangeInclusive<u64>,
        last: u64,
        found: &mut BTreeMap<u64, Cached>,
    ) -> Result<(), Error> {
        let above = last.saturating_sub(self.0.kept);
        let lacks = |found: &BTreeMap<u64, Cached>, from: u64| {
            (from..=*range.end()).find(|seq| found.get(seq).is_none_or(|held| held.stale))
        };
        let mut next = lacks(found, *range.start());
        while let Some(start) = next {
            let size = (range.end() - start + 1).min(PAGE);
            let history = History::newer(room_id).start(start).page_size(i32::try_from(size).unwrap_or(i32::MAX));
            let page = self.0.client.history(history).await?;
            self.0.store.keep(&page.messages, page.position, above).await?;
            let Some(end) = page.messages.last().map(|message| message.seq) else { return Ok(()) };
            for message in page.messages {
                let newer = found.get(&message.seq).is_some_and(|held| !held.stale && held.as_of > page.position);
                if !newer && range.contains(&message.seq) {
                    found.insert(message.seq, Cached { message, as_of: page.position, stale: false });
                }
            }
            next = lacks(found, end + 1);
        }
        Ok(())
    }

    async fn shown(
        &self,
        room_id: &str,
        range: RangeInclusive<u64>,
        found: BTreeMap<u64, Cached>,
    ) -> Result<Timeline, Error> {
        let mut timeline = Timeline { more: *range.start() > 1, ..Timeline::default() };
        let mut next = *range.start();
        for seq in found.keys().copied().chain([range.end() + 1]) {
            if seq > next {
                timeline.missing.push(next..=seq - 1);
            }
            next = seq + 1;
        }
        timeline.stale = found.values().any(|held| held.stale);
        timeline.messages = found.into_values().map(|held| held.message).collect();
        if self.0.hide_blocked && !self.is_direct(room_id).await? {
            let blocked = self.0.store.blocked().await?;
            let all = timeline.messages.len();
            timeline.messages.retain(|message| !blocked.contains(&message.sender_id));
            timeline.hidden = all - timeline.messages.len();
        }
        Ok(timeline)
    }

    async fn is_direct(&self, room_id: &str) -> Result<bool, Error> {
        let mut connection = self.0.store.connection().await;
        let mut tx = begin(&mut connection).await?;
        let summary = summary_of(&mut tx, room_id).await?;
        tx.rollback().await.map_err(storage)?;
        Ok(summary.and_then(|summary| summary.room).is_some_and(|room| room.kind() == RoomKind::Direct))
    }
}
