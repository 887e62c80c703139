//! The places that the sends of one batch are written to: read together, moved in memory, and written together.

use std::collections::HashMap;

use super::{PendingSend, unit::Unit};
use crate::{
    chat::{
        lane::{Lane, LaneKey},
        message::LanePlace,
        store::{
            self,
            known::{self, Earlier, Known},
        },
    },
    error::Result,
    id::{RoomId, UserKey},
};

/// Places, and which of them each send of the batch is written to.
pub(super) struct Places<'a> {
    of_sends: Vec<usize>,
    places: Vec<Place<'a>>,
}

/// A sender in a room, in a lane of theirs if they number their messages there.
pub(super) struct Place<'a> {
    pub(super) known: Known,
    lane: Option<Loaded<'a>>,
}

struct Loaded<'a> {
    key: &'a LaneKey,
    lane: Lane,
    /// It stands in the database.
    stored: bool,
    moved: bool,
}

/// Where a send stands in the order of its sender.
pub(super) enum Turn {
    /// It is to be written now, at this place of its lane if it has one.
    Now(Option<LanePlace>),
    /// After others that have not come yet.
    Later,
}

impl<'a> Places<'a> {
    /// Looks up the places of these sends, and which of their ids were used before, by the index of the send.
    pub(super) async fn look_up(unit: &mut Unit, sends: &[&'a PendingSend]) -> Result<(Self, HashMap<usize, Earlier>)> {
        let (wanted, of_sends) = wanted(sends);
        let ids: Vec<_> = sends.iter().map(|send| (&send.sender, send.message.client_message_id)).collect();
        let (known, earlier) = known::known(&mut unit.tx, &wanted, &ids).await?;
        let places = wanted.iter().zip(known).map(|(wanted, known)| Place::new(wanted.lane, known)).collect();
        Ok((Self { of_sends, places }, earlier))
    }

    /// The place of a send.
    pub(super) fn of(&mut self, send: usize) -> &mut Place<'a> {
        &mut self.places[self.of_sends[send]]
    }

    /// The lanes that moved and stand in the database.
    pub(super) fn moved(&self) -> Vec<(&LaneKey, &Lane)> {
        self.lanes(|loaded| loaded.moved && loaded.stored)
    }

    /// The lanes that moved are written but for new ones: adds these, and forgets old ones for them.
    pub(super) async fn add(self, unit: &mut Unit) -> Result<()> {
        let new = self.lanes(|loaded| loaded.moved && !loaded.stored);
        store::lanes::write(&mut unit.tx, &new, unit.now).await?;
        for (key, _) in new {
            store::lanes::forget_oldest(&mut unit.tx, key).await?;
        }
        unit.moved.extend(self.lanes(|loaded| loaded.moved).into_iter().map(|(key, lane)| (key.clone(), lane.last)));
        Ok(())
    }

    fn lanes(&self, which: impl Fn(&Loaded<'_>) -> bool) -> Vec<(&LaneKey, &Lane)> {
        let lanes = self.places.iter().filter_map(|place| place.lane.as_ref());
        lanes.filter(|loaded| which(loaded)).map(|loaded| (loaded.key, &loaded.lane)).collect()
    }
}

/// Each place once, and which of them each send is written to.
fn wanted<'a>(sends: &[&'a PendingSend]) -> (Vec<known::Place<'a>>, Vec<usize>) {
    type Name<'a> = (&'a UserKey, &'a RoomId, Option<&'a str>);
    let mut wanted = Vec::new();
    let mut found: HashMap<Name<'a>, usize> = HashMap::new();
    let mut last: Option<(Name<'a>, usize)> = None;
    let place = |send: &&'a PendingSend| {
        let (sender, room, lane) = (&send.sender, &send.message.room, send.lane.as_ref());
        let name: Name<'a> = (sender, room, lane.map(|key| &*key.lane));
        // Messages of one sender often come in a row.
        if let Some((_, at)) = last.filter(|(same, _)| *same == name) {
            return at;
        }
        let at = *found.entry(name).or_insert_with(|| {
            wanted.push(known::Place { sender, room, lane });
            wanted.len() - 1
        });
        last = Some((name, at));
        at
    };
    let of_sends = sends.iter().map(place).collect();
    (wanted, of_sends)
}

impl<'a> Place<'a> {
    fn new(lane: Option<&'a LaneKey>, mut known: Known) -> Self {
        let stored = known.lane.take();
        let lane =
            lane.map(|key| Loaded { key, stored: stored.is_some(), lane: stored.unwrap_or_default(), moved: false });
        Self { known, lane }
    }

    /// Whether it is the send's turn; if so, its number is taken.
    ///
    /// # Errors
    /// `LANE_NUMBER_USED`, `LANE_JUMP_TOO_FAR`.
    pub(super) fn turn(&mut self, send: &PendingSend) -> Result<Turn> {
        let Some((number, loaded)) = send.message.lane.as_ref().zip(self.lane.as_mut()) else {
            return Ok(Turn::Now(None));
        };
        let Some(missing_before) = loaded.lane.take(number.number, send.pass)? else { return Ok(Turn::Later) };
        loaded.moved = true;
        Ok(Turn::Now(Some(LanePlace(number.lane.clone(), number.number, missing_before))))
    }

    /// The number that the lane expects next, if there is one.
    pub(super) fn next(&self) -> Option<u64> {
        self.lane.as_ref().map(|loaded| loaded.lane.next())
    }
}
