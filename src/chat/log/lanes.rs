//! The lanes of one batch of sends: read together, moved in memory, written together.

use std::collections::HashMap;

use super::{PendingSend, unit::Unit};
use crate::{
    chat::{
        lane::{Lane, LaneKey},
        message::LanePlace,
        store,
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
    /// Reads the lanes of these sends.
    pub(super) async fn load(unit: &mut Unit, sends: &[&PendingSend]) -> Result<Self> {
        let mut lanes = HashMap::new();
        for key in sends.iter().filter_map(|send| send.lane.as_ref()) {
            if !lanes.contains_key(key) {
                lanes.insert(key.clone(), Loaded { lane: Lane::default(), stored: false, moved: false });
            }
        }
        if lanes.is_empty() {
            return Ok(Self::default());
        }
        let keys: Vec<&LaneKey> = lanes.keys().collect();
        let stored = store::lanes::read(&mut unit.tx, &keys).await?;
        for (loaded, stored) in lanes.values_mut().zip(stored) {
            if let Some(lane) = stored {
                (loaded.lane, loaded.stored) = (lane, true);
            }
        }
        Ok(Self(lanes))
    }

    /// Whether it is the send's turn; if so, its number is taken.
    ///
    /// # Errors
    /// `LANE_NUMBER_USED`, `LANE_JUMP_TOO_FAR`.
    pub(super) fn turn(&mut self, send: &PendingSend) -> Result<Turn> {
        let Some((number, loaded)) = send.message.lane.as_ref().zip(self.of(send)) else { return Ok(Turn::Now(None)) };
        let Some(missing_before) = loaded.lane.take(number.number, send.pass)? else { return Ok(Turn::Later) };
        loaded.moved = true;
        Ok(Turn::Now(Some(LanePlace(number.lane.clone(), number.number, missing_before))))
    }

    /// The number that the send's lane expects next, if it has one.
    pub(super) fn next(&mut self, send: &PendingSend) -> Option<u64> {
        self.of(send).map(|loaded| loaded.lane.next())
    }

    fn of(&mut self, send: &PendingSend) -> Option<&mut Loaded> {
        self.0.get_mut(send.lane.as_ref()?)
    }

    /// Writes the lanes that moved.
    pub(super) async fn save(self, unit: &mut Unit) -> Result<()> {
        let moved: Vec<_> = self.0.iter().filter(|(_, loaded)| loaded.moved).map(|(k, l)| (k, &l.lane)).collect();
        store::lanes::write(&mut unit.tx, &moved, unit.now).await?;
        for (key, _) in self.0.iter().filter(|(_, loaded)| loaded.moved && !loaded.stored) {
            store::lanes::forget_oldest(&mut unit.tx, key).await?;
        }
        unit.moved.extend(self.0.into_iter().filter(|(_, l)| l.moved).map(|(key, loaded)| (key, loaded.lane.last)));
        Ok(())
    }
}
