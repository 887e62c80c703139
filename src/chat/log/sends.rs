//! Sends that wait together: looked up, numbered and inserted in one go.

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

use super::{
    PendingSend,
    mentions::Mentioned,
    places::{Place, Places, Turn},
    restrictions::Pace,
    unit::Unit,
};
use crate::{
    chat::{
        event::{Event, EventBody},
        message::{Message, Receipt},
        policy::{self, Action},
        room::RoomKind,
        store::{
            append::{self, NewRow},
            known::Earlier,
        },
    },
    error::{Error, Reason, Result},
    id::UserKey,
};

/// What becomes of a send.
pub(super) enum Outcome {
    /// This is answered.
    Done(Result<Receipt>),
    /// It waits for others of its lane.
    Early,
}

/// The outcome of each send, in the same order. An error of the whole is the database's.
pub(super) async fn run(unit: &mut Unit, sends: &[&PendingSend]) -> Result<Vec<Outcome>> {
    let (mut places, mut known) = Places::look_up(unit, sends).await?;
    let mentioned = Mentioned::look_up(unit, sends).await?;
    let mut rows: Vec<NewRow> = Vec::new();
    // The same id twice in one batch: the second is a duplicate of a row that is not in the database yet.
    let mut fresh: HashMap<(&UserKey, Uuid), usize> = HashMap::new();
    let mut pace = Pace::default();
    let mut outcomes = Vec::with_capacity(sends.len());
    for (at, send) in sends.iter().enumerate() {
        let key = (&send.sender, send.message.client_message_id);
        let place = places.of(at);
        let earlier = known.remove(&at).or_else(|| fresh.get(&key).map(|&row| rows[row].as_earlier()));
        let mut outcome = match earlier {
            Some(earlier) => Outcome::Done(repeated(send, earlier)),
            None => match accept(unit, send, place, &mentioned, &mut pace) {
                Ok(Some(row)) => {
                    let receipt = row.receipt();
                    fresh.insert(key, rows.len());
                    rows.push(row);
                    Outcome::Done(Ok(receipt))
                }
                Ok(None) => Outcome::Early,
                Err(error) => Outcome::Done(Err(error)),
            },
        };
        if let Outcome::Done(Ok(receipt)) = &mut outcome {
            receipt.next_in_lane = place.next();
        }
        outcomes.push(outcome);
    }
    if !rows.is_empty() {
        append::insert(&mut unit.tx, &rows, &places.moved(), unit.now).await?;
        places.add(unit).await?;
        super::mentions::insert(unit, &rows).await?;
    }
    pace.save(&mut unit.tx, unit.now).await?;
    unit.events.extend(rows.into_iter().map(|row| Event {
        position: row.message.position,
        at: row.message.created_at,
        actor: row.message.sender.clone(),
        room: row.room,
        body: EventBody::MessageCreated(Box::new(row.message)),
    }));
    Ok(outcomes)
}

/// The answer to an id that the sender used before.
fn repeated(send: &PendingSend, earlier: Earlier) -> Result<Receipt> {
    if earlier.fingerprint != send.fingerprint {
        return Err(reused());
    }
    Ok(Receipt {
        room: earlier.room,
        client_message_id: send.message.client_message_id,
        seq: earlier.seq,
        position: earlier.position,
        created_at: earlier.created_at,
        duplicate: true,
        next_in_lane: None,
    })
}

/// The sender's id stands for another message.
pub(super) fn reused() -> Error {
    Error::new(Reason::ClientMessageIdReused, "client_message_id: was used by this sender for another message")
}

/// Checks that the sender may, and gives the message its numbers; `None` if its turn in its lane has not come.
fn accept(
    unit: &mut Unit,
    send: &PendingSend,
    place: &mut Place<'_>,
    mentioned: &Mentioned,
    pace: &mut Pace,
) -> Result<Option<NewRow>> {
    let room = send.sender.room(send.message.room.clone());
    let known = &place.known;
    let Some(loaded) = &known.counters else { return Err(Error::room_not_found()) };
    let Some(role) = known.role else { return Err(not_a_member(loaded.kind)) };
    policy::require(role, Action::Send)?;
    mentioned.check(&room, &send.message.content.mentions, loaded.kind, role)?;
    let (now, held) = (unit.now, known.held);
    pace.check(&room, &send.sender, role, &held, now)?;
    let counters = unit.track(&room, loaded);
    if let Some(seq) = send.message.reply_to.filter(|seq| *seq > counters.last_seq) {
        return Err(Error::field("reply_to_seq", format!("is {seq}, the newest message is {}", counters.last_seq)));
    }
    // Last of all checks: what is refused does not use its number up.
    let Turn::Now(lane) = place.turn(send)? else { return Ok(None) };
    pace.sent(&room, &send.sender, role, &held);
    counters.last_seq += 1;
    counters.last_position += 1;
    counters.last_activity_at = now;
    let message = Message {
        seq: counters.last_seq,
        position: counters.last_position,
        sender: send.sender.user.clone(),
        client_message_id: send.message.client_message_id,
        content: Arc::new(send.message.content.clone()),
        reply_to: send.message.reply_to,
        created_at: now,
        edited_at: None,
        deleted: None,
        lane,
        keeps_unread: send.message.written_after.is_some_and(|after| after.saturating_add(1) < counters.last_seq),
    };
    Ok(Some(NewRow { room, message, fingerprint: send.fingerprint.clone() }))
}

/// What somebody who is not in a room is told: a room that they may not know of does not exist.
pub(in crate::chat) fn not_a_member(kind: RoomKind) -> Error {
    match kind {
        RoomKind::Public => Error::new(Reason::NotAMember, "the caller has not joined the room"),
        RoomKind::Private | RoomKind::Direct => Error::room_not_found(),
    }
}

impl NewRow {
    fn as_earlier(&self) -> Earlier {
        Earlier {
            room: self.room.room.clone(),
            seq: self.message.seq,
            position: self.message.position,
            created_at: self.message.created_at,
            fingerprint: self.fingerprint.clone(),
        }
    }
    fn receipt(&self) -> Receipt {
        Receipt {
            room: self.room.room.clone(),
            client_message_id: self.message.client_message_id,
            seq: self.message.seq,
            position: self.message.position,
            created_at: self.message.created_at,
            duplicate: false,
            next_in_lane: None,
        }
    }
}
