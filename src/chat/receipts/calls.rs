//! What callers ask of receipts and of their own standing in rooms.

use super::{Cursors, Membership, MessageStatus, SettingsChange};
use crate::{
    chat::{
        Chat,
        membership::require_reader,
        page::{self, Page},
        room::RoomSummary,
        store,
    },
    error::{Error, Reason, Result},
    id::{RoomId, RoomKey, UserId, UserKey},
};

/// Cursors that wait and are looked through for one answer: what is beyond is seen once it is written.
const MAX_WAITING: usize = 4_000;

impl Chat {
    /// Moves the caller's cursors in a room; lower ones change nothing. Answers how they stand now.
    ///
    /// # Errors
    /// FIELD_INVALID, RECEIPT_BEYOND_ROOM, ROOM_NOT_FOUND, NOT_A_MEMBER, OVERLOADED.
    pub async fn update_receipts(
        &self,
        caller: &UserKey,
        room: RoomId,
        delivered: u64,
        read: u64,
    ) -> Result<Membership> {
        if delivered == 0 && read == 0 {
            return Err(Error::field("read_seq", "is 0, and delivered_seq too: one of them must say something"));
        }
        let key = caller.room(room);
        let before = self.standing(&key, &caller.user).await?;
        for (seq, field) in [(delivered, "delivered_seq"), (read, "read_seq")] {
            if seq > before.last_seq {
                let what = format!("is {seq}, the newest message is {}", before.last_seq);
                return Err(Error::field_for(Reason::ReceiptBeyondRoom, field, what));
            }
        }
        let cursors = Cursors::new(delivered, read);
        self.receipts().reaches(&key, before.last_seq);
        self.receipts().report(&key, &caller.user, cursors)?;
        Ok(before.raised(cursors))
    }

    /// How the caller stands in a room.
    async fn standing(&self, room: &RoomKey, user: &UserId) -> Result<Membership> {
        let view = self.receipts().view();
        let mut found = store::receipts::states(self.db(), &[(room, user)]).await?;
        match found.remove(&(room.clone(), user.clone())) {
            Some(state) => Ok(state.raised(view.of(room, user))),
            // Why there is none. They may have come since.
            None => Err(require_reader(self, room, user).await.err().unwrap_or_else(Error::room_not_found)),
        }
    }

    /// A page of a room's cursors, by user id; only of those who have read up to `min_read`.
    pub async fn list_receipts(
        &self,
        caller: &UserKey,
        room: RoomId,
        min_read: u64,
        limit: usize,
        token: &str,
    ) -> Result<Page<(UserId, Cursors)>> {
        let key = caller.room(room);
        let list = ["receipts", key.project.as_str(), key.room.as_str(), &min_read.to_string()];
        let view = self.receipts().view();
        require_reader(self, &key, &caller.user).await?;
        let after = match self.pages().open(token, &list)?.as_slice() {
            [] => None,
            [user] => Some(UserId::parse(user, "page_token").map_err(|_| page::invalid())?),
            _ => return Err(page::invalid()),
        };
        let waiting = view.in_room(&key, MAX_WAITING, |_| true);
        let found = store::receipts::list(self.db(), &key, &waiting, min_read, after.as_ref(), limit + 1).await?;
        Ok(Page::cut(found, limit, |(last, _)| self.pages().seal(&list, &[last.as_str()])))
    }

    /// How far a message of a room has come.
    pub(in crate::chat) async fn message_status(
        &self,
        room: &RoomKey,
        seq: u64,
        sender: &UserId,
    ) -> Result<MessageStatus> {
        let waiting = self.receipts().view().in_room(room, MAX_WAITING, |cursors| cursors.delivered >= seq);
        store::receipts::status(self.db(), room, &waiting, seq, sender).await
    }

    /// Changes what the caller has set for a room. The same again changes nothing, and is told again: the call that changed
    /// it may not have got so far.
    ///
    /// # Errors
    /// ROOM_NOT_FOUND, NOT_A_MEMBER.
    pub async fn update_settings(&self, caller: UserKey, room: RoomId, change: SettingsChange) -> Result<Membership> {
        let key = caller.room(room);
        self.standing(&key, &caller.user).await?;
        let (chat, of, user) = (self.clone(), key.clone(), caller.user.clone());
        // By itself: a caller that hangs up would have it written and not told.
        tokio::spawn(async move { chat.set_and_tell(&of, &user, change).await })
            .await
            .map_err(|error| Error::internal(&error))??;
        self.standing(&key, &caller.user).await
    }

    async fn set_and_tell(&self, room: &RoomKey, user: &UserId, change: SettingsChange) -> Result<()> {
        let (key, member) = (room.clone(), user.clone());
        // It makes no event, and needs no other of the room's writes to wait.
        let write = self.log().write(None, 0, move |unit| {
            Box::pin(async move {
                let Some(before) = store::receipts::settings(&mut unit.tx, &key, &member).await? else { return Ok(()) };
                let after = change.of(before);
                if after != before {
                    store::receipts::set(&mut unit.tx, &key, &member, after).await?;
                }
                Ok(())
            })
        });
        write.await?;
        self.receipts().settings_changed(room, user);
        Ok(())
    }

    /// Adds to rooms how the caller, where they are a member, stands in them.
    pub(in crate::chat) async fn with_states(
        &self,
        caller: &UserKey,
        mut rooms: Vec<RoomSummary>,
    ) -> Result<Vec<RoomSummary>> {
        let view = self.receipts().view();
        let keys: Vec<RoomKey> = rooms
            .iter()
            .filter(|summary| summary.membership.is_some())
            .map(|summary| caller.room(summary.room.id.clone()))
            .collect();
        let wanted: Vec<_> = keys.iter().map(|key| (key, &caller.user)).collect();
        let mut found = store::receipts::states(self.db(), &wanted).await?;
        for summary in &mut rooms {
            let key = (caller.room(summary.room.id.clone()), caller.user.clone());
            summary.state = found.remove(&key).map(|state| state.raised(view.of(&key.0, &key.1)));
        }
        Ok(rooms)
    }
}
