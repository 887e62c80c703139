//! Pinning messages.

use super::{
    Chat,
    event::EventBody,
    log::Unit,
    membership::{refuse_silenced, require, require_reader},
    message::Message,
    messages::{find, refuse_deleted},
    policy::{self, Action},
    room::RoomKind,
    store,
};
use crate::{
    clock::Timestamp,
    error::{Error, Reason, Result},
    id::{RoomId, RoomKey, UserId, UserKey},
};

/// The most pinned messages of a room: they are listed at once, and as large as messages may be they stay below the 4 MiB that
/// clients take.
const MAX_PINS: i64 = 50;

/// A pinned message.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The message as it is now.
    pub message: Message,
    /// Who pinned it.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
}

impl Chat {
    /// Pins a message. Again, changes nothing.
    pub async fn pin(&self, caller: UserKey, room: RoomId, seq: u64) -> Result<()> {
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    require_pinner(unit, &key, &caller.user).await?;
                    refuse_deleted(&find(unit, &key, seq).await?)?;
                    if store::pins::is_pinned(&mut unit.tx, &key, seq).await? {
                        return Ok(());
                    }
                    if store::pins::count(&mut unit.tx, &key).await? >= MAX_PINS {
                        let message = format!("the room has {MAX_PINS} pinned messages, which is the limit");
                        return Err(Error::new(Reason::TooManyPins, message));
                    }
                    let position = unit.append(&key, &caller.user, EventBody::MessagePinned { seq }).await?;
                    store::pins::insert(&mut unit.tx, &key, seq, &caller.user, unit.now, position).await
                })
            })
            .await
    }

    /// Unpins a message. Without a pin, changes nothing.
    pub async fn unpin(&self, caller: UserKey, room: RoomId, seq: u64) -> Result<()> {
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    require_pinner(unit, &key, &caller.user).await?;
                    find(unit, &key, seq).await?;
                    drop_pin(unit, &key, &caller.user, seq).await
                })
            })
            .await
    }

    /// The pinned messages of a room, the last pinned first.
    pub async fn list_pinned(&self, caller: &UserKey, room: RoomId) -> Result<Vec<Pinned>> {
        let key = caller.room(room);
        let standing = require_reader(self, &key, &caller.user).await?;
        let room = &key;
        let list = |db| async move { store::pins::list(&db, room).await };
        store::history::read(self.db(), room, standing.last_position, list).await
    }
}

/// Takes the pin off a message, if there is one, and tells everyone.
pub(super) async fn drop_pin(unit: &mut Unit, room: &RoomKey, actor: &UserId, seq: u64) -> Result<()> {
    match store::pins::delete(&mut unit.tx, room, seq).await? {
        true => unit.append(room, actor, EventBody::MessageUnpinned { seq }).await.map(drop),
        false => Ok(()),
    }
}

/// Checks that the caller may pin. In direct rooms both may.
async fn require_pinner(unit: &mut Unit, room: &RoomKey, caller: &UserId) -> Result<()> {
    let member = require(unit, room, caller, Action::Read).await?;
    if unit.counters(room).await?.kind != RoomKind::Direct {
        policy::require(member.role, Action::PinMessage)?;
    }
    refuse_silenced(unit, room, &member).await
}
