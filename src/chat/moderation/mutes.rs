//! Mutes: a member only reads for a time.

use super::subject;
use crate::{
    chat::{Chat, event::EventBody, room::Member, store},
    clock::Timestamp,
    error::{Error, Reason, Result},
    id::{RoomId, UserId, UserKey},
};

impl Chat {
    /// Lets a member only read until then; `None`, or what is past, lets them speak again.
    pub async fn mute(
        &self,
        caller: UserKey,
        room: RoomId,
        user: UserId,
        muted_until: Option<Timestamp>,
    ) -> Result<Member> {
        if user == caller.user {
            return Err(Error::field("user_id", "is the caller"));
        }
        self.log()
            .write(Some(caller.room(room.clone())), 0, move |unit| {
                Box::pin(async move {
                    let key = caller.room(room);
                    let missing = || Error::new(Reason::MemberNotFound, "the user is not in the room");
                    let member = subject(unit, &key, &caller.user, &user).await?.ok_or_else(missing)?;
                    let now = unit.now;
                    let ahead = |until: Option<Timestamp>| until.filter(|until| *until > now);
                    if ahead(muted_until) == ahead(member.muted_until) {
                        return Ok(member);
                    }
                    let member = Member { muted_until: ahead(muted_until), ..member };
                    store::moderation::mute(&mut unit.tx, &key, &user, member.muted_until).await?;
                    unit.append(&key, &caller.user, EventBody::MemberUpdated(member.clone())).await?;
                    Ok(member)
                })
            })
            .await
    }
}
