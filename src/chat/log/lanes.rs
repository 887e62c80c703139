//! The lanes of one batch of sends, moved in memory between their reading and their writing.

use std::collections::HashMap;

use super::{PendingSend, unit::Unit};
use crate::{
    chat::{
        lane::{Lane, LaneKey},
        message::LanePlace,
        store::{self, append::Known},
    },
    error::Result,
};

/// The lanes that the sends of a batch are numbered in. Empty, as it is for most, it costs nothing.
#[derive(Default)]
pub(super) struct Lanes(HashMap<LaneKey, Loaded>);

struct Loaded {
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

impl Lanes {
    /// The lanes of these sends, of which each is known by the first send that is in it.
    pub(super) fn of(sends: &[&PendingSend], known: &[Known]) -> Self {
        let mut lanes = HashMap::new();
        for (send, known) in sends.iter().zip(known) {
            if let Some(key) = &send.lane
                && !lanes.contains_key(key)
            {
                let (stored, lane) = (known.lane.is_some(), known.lane.clone().unwrap_or_default());
                lanes.insert(key.clone(), Loaded { lane, stored, moved: false });
            }
        }
        Self(lanes)
    }

    /// Whether it is the send's turn; if so, its number is taken.
    ///
    /// # Errors
    /// `LANE_NUMBER_USED`, `LANE_JUMP_TOO_FAR`.
    pub(super) fn turn(&mut self, send: &PendingSend) -> Result<Turn> {
        let Some((number, loaded)) = send.message.lane.as_ref().zip(self.of_send(send)) else {
            return Ok(Turn::Now(None));
        };
        let Some(missing_before) = loaded.lane.take(number.number, send.pass)? else { return Ok(Turn::Later) };
        loaded.moved = true;
        Ok(Turn::Now(Some(LanePlace(number.lane.clone(), number.number, missing_before))))
    }

    /// The number that the send's lane expects next, if it has one.
    pub(super) fn next(&mut self, send: &PendingSend) -> Option<u64> {
        self.of_send(send).map(|loaded| loaded.lane.next())
    }

    fn of_send(&mut self, send: &PendingSend) -> Option<&mut Loaded> {
        self.0.get_mut(send.lane.as_ref()?)
    }

    /// Those that moved and stand in the database.
    pub(super) fn moved(&self) -> Vec<(&LaneKey, &Lane)> {
        self.some(|loaded| loaded.moved && loaded.stored)
    }

    /// The lanes that moved are written but for new ones: adds these, and forgets old ones for them.
    pub(super) async fn add(self, unit: &mut Unit) -> Result<()> {
        let new = self.some(|loaded| loaded.moved && !loaded.stored);
        store::lanes::write(&mut unit.tx, &new, unit.now).await?;
        for (key, _) in new {
            store::lanes::forget_oldest(&mut unit.tx, key).await?;
        }
        unit.moved.extend(self.0.into_iter().filter(|(_, l)| l.moved).map(|(key, loaded)| (key, loaded.lane.last)));
        Ok(())
    }

    fn some(&self, which: impl Fn(&Loaded) -> bool) -> Vec<(&LaneKey, &Lane)> {
        self.0.iter().filter(|(_, loaded)| which(loaded)).map(|(key, loaded)| (key, &loaded.lane)).collect()
    }
}
