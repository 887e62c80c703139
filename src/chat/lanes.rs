//! Numbers of a lane are declared skipped.

use std::sync::Arc;

use super::{
    Chat,
    lane::{LaneKey, MAX_LANE_SKIP},
    membership::require,
    policy::Action,
    store,
};
use crate::{
    error::{Error, Result},
    id::{RoomId, UserKey},
};

impl Chat {
    /// Declares the numbers `first` to `last` of a lane of the caller's as skipped: nothing waits for them any more. Answers
    /// with the number that the lane expects next.
    ///
    /// # Errors
    /// `FIELD_INVALID`, `LANE_JUMP_TOO_FAR`, and those of a send.
    pub async fn skip_lane(
        &self,
        caller: UserKey,
        room: RoomId,
        lane: Arc<str>,
        (first, last): (u64, u64),
    ) -> Result<u64> {
        if last < first || last - first >= MAX_LANE_SKIP {
            let limit = format!("is 0, or first_client_seq and up to {} after it", MAX_LANE_SKIP - 1);
            return Err(Error::field("last_client_seq", limit));
        }
        let key = LaneKey { room: caller.room(room), sender: caller.user.clone(), lane };
        self.log()
            .write(Some(key.room.clone()), key.lane.len(), move |unit| {
                Box::pin(async move {
                    require(unit, &key.room, &key.sender, Action::Send).await?;
                    let stored = store::lanes::read(&mut unit.tx, &key).await?;
                    let fresh = stored.is_none();
                    let mut lane = stored.unwrap_or_default();
                    if lane.skip(first, last)? {
                        store::lanes::write(&mut unit.tx, &[(&key, &lane)], unit.now).await?;
                    }
                    if fresh {
                        store::lanes::forget_oldest(&mut unit.tx, &key).await?;
                    }
                    unit.moved.push((key, lane.last));
                    Ok(lane.next())
                })
            })
            .await
    }
}
