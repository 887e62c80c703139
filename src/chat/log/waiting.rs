//! Messages that came before their turn: an appender's own, in memory, until those before them are written, on this node or
//! another, or until they have waited long enough.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};

use super::{PendingSend, sends};
use crate::{
    chat::{lane::LaneKey, store},
    db::Db,
    error::{Error, Reason, Result},
    telemetry::Metrics,
};

/// The most messages of one lane that wait.
const MAX_IN_LANE: usize = 256;
/// The most lanes of one sender in a room in which messages wait: as many as are remembered.
const MAX_OF_SENDER: usize = store::lanes::MAX_LANES as usize;
/// The most lanes in which messages wait. The database is asked for all of them at once.
const MAX_LANES: usize = 1_024;
/// How long after the first message began to wait the database is asked how far the lanes are, and then again after twice
/// that, and so on: another node may have moved them.
const FIRST_LOOK: Duration = Duration::from_millis(10);
/// The longest time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// What a caller is told to wait when no more may wait here.
const FULL_FOR: Duration = Duration::from_secs(1);

/// A message, and those that carry the same id: retries that came while it waits. They are done one after the other, and only
/// the first is written.
type Slot = Vec<Box<PendingSend>>;

/// What waits.
pub(super) struct Waiting {
    lanes: HashMap<LaneKey, BTreeMap<u64, Slot>>,
    /// Those whose turn has come, or whose time is over.
    ready: VecDeque<Box<PendingSend>>,
    /// Bytes that may wait on this node.
    budget: Arc<Semaphore>,
    /// When the first has waited long enough.
    deadline: Option<Instant>,
    look: Look,
    look_interval: Duration,
    metrics: Arc<Metrics>,
}

/// Asking the database how far lanes are.
enum Look {
    /// Next at this time.
    At(Instant),
    /// It is being asked.
    Under(oneshot::Receiver<Found>),
}

/// How far lanes are.
type Found = Vec<(LaneKey, u64)>;

impl Waiting {
    /// Nothing waits yet. `budget` are the bytes that may.
    pub(super) fn new(budget: Arc<Semaphore>, metrics: Arc<Metrics>) -> Self {
        Self {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            budget,
            deadline: None,
            look: Look::At(Instant::now()),
            look_interval: FIRST_LOOK,
            metrics,
        }
    }

    /// Whether nothing waits for others.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Lets a message wait for its turn, or answers why it may not.
    pub(super) fn park(&mut self, mut send: Box<PendingSend>) {
        let (Some(key), Some(number)) = (send.lane.clone(), send.number()) else { return };
        let same = match self.same(&key, number, &send) {
            Ok(same) => same,
            Err(error) => return (send.reply)(Err(error)),
        };
        if let Err(error) = self.admit(&key, &mut send) {
            return (send.reply)(Err(error));
        }
        if self.lanes.is_empty() {
            self.look_interval = FIRST_LOOK;
            if let Look::At(at) = &mut self.look {
                *at = Instant::now() + FIRST_LOOK;
            }
        }
        self.deadline = Some(self.deadline.map_or(send.until, |deadline| deadline.min(send.until)));
        let lane = self.lanes.entry(key).or_default();
        let mut slot = same.and_then(|place| lane.remove(&place)).unwrap_or_default();
        // The first of them is the one whose number they wait under: the lowest.
        let (place, at) = same.filter(|place| *place <= number).map_or((number, 0), |place| (place, slot.len()));
        slot.insert(at, send);
        lane.insert(place, slot);
        self.metrics.lane_waiting.inc();
    }

    /// The number under which those wait that carry the same id as this message, whatever number it carries itself.
    fn same(&self, key: &LaneKey, number: u64, send: &PendingSend) -> Result<Option<u64>> {
        let Some(lane) = self.lanes.get(key) else { return Ok(None) };
        let same = lane.iter().find(|(_, slot)| slot[0].is_same(send));
        if same.is_some_and(|(_, slot)| slot[0].fingerprint != send.fingerprint) {
            return Err(sends::reused());
        }
        let same = same.map(|(place, _)| *place);
        if same.is_none_or(|place| number < place) && lane.contains_key(&number) {
            let text = format!("{number} is the number of another message, which waits for those before it");
            return Err(Error::field_for(Reason::LaneNumberUsed, "client_seq", text));
        }
        Ok(same)
    }

    /// Counts a message's bytes here instead of as those of the queue, which others need. One that has waited before goes on.
    fn admit(&self, key: &LaneKey, send: &mut PendingSend) -> Result<()> {
        if send.admitted {
            return Ok(());
        }
        match self.lanes.get(key) {
            Some(lane) if lane.values().map(Vec::len).sum::<usize>() >= MAX_IN_LANE => {
                return Err(full("as many messages of the lane wait for a number before them as may"));
            }
            None if self.lanes.len() >= MAX_LANES || self.lanes_beside(key) >= MAX_OF_SENDER => {
                return Err(full("messages wait for a number before them in as many lanes as may"));
            }
            _ => {}
        }
        let bytes = u32::try_from(send.permit.num_permits()).unwrap_or(u32::MAX);
        let permit = self.budget.clone().try_acquire_many_owned(bytes);
        send.permit = permit.map_err(|_| full("as many messages wait for a number before them as may"))?;
        send.admitted = true;
        Ok(())
    }

    /// The lanes of the same sender in the same room in which messages wait.
    fn lanes_beside(&self, key: &LaneKey) -> usize {
        self.lanes.keys().filter(|other| other.sender == key.sender && other.room == key.room).count()
    }

    /// A lane has come to `last`: those whose turn it is are ready.
    pub(super) fn moved(&mut self, key: &LaneKey, mut last: u64) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        while let Some(first) = lane.first_entry().filter(|first| *first.key() <= last + 1) {
            last = last.max(*first.key());
            let slot = first.remove();
            self.metrics.lane_waiting.dec_by(slot.len() as i64);
            self.ready.extend(slot);
        }
        if lane.is_empty() {
            self.lanes.remove(key);
        }
    }

    /// Takes at most `limit` that are ready.
    pub(super) fn take(&mut self, limit: usize) -> impl Iterator<Item = Box<PendingSend>> + '_ {
        self.ready.drain(..limit.min(self.ready.len()))
    }

    /// Those that have waited long enough are ready to pass, each after those of its lane that wait before it.
    fn expire(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        let over = |slot: &Slot| slot.iter().any(|send| send.until <= now);
        let mut lanes = std::mem::take(&mut self.lanes);
        lanes.retain(|_, lane| {
            if let Some(last) = lane.iter().rev().find(|(_, slot)| over(slot)).map(|(number, _)| *number) {
                let later = lane.split_off(&(last + 1));
                self.pass(std::mem::replace(lane, later));
            }
            !lane.is_empty()
        });
        self.lanes = lanes;
        let left = self.lanes.values().flat_map(BTreeMap::values).flatten().map(|send| send.until);
        self.deadline = left.min();
    }

    /// Nothing waits any longer: all are ready to pass.
    pub(super) fn release(&mut self) {
        for lane in std::mem::take(&mut self.lanes).into_values() {
            self.pass(lane);
        }
        self.deadline = None;
    }

    /// All of these are ready to pass, in the order of their numbers.
    fn pass(&mut self, lane: BTreeMap<u64, Slot>) {
        for mut send in lane.into_values().flatten() {
            send.pass = true;
            self.metrics.lane_waiting.dec();
            self.ready.push_back(send);
        }
    }

    /// Does what is due: lets those pass that have waited long enough, and asks `db` how far the lanes are.
    pub(super) fn tend(&mut self, db: &Db) {
        let now = Instant::now();
        if let Look::Under(found) = &mut self.look {
            match found.try_recv() {
                Ok(found) => self.found(found),
                Err(oneshot::error::TryRecvError::Empty) => {}
                Err(oneshot::error::TryRecvError::Closed) => self.found(Vec::new()),
            }
        }
        self.expire(now);
        if !self.lanes.is_empty() && matches!(self.look, Look::At(at) if at <= now) {
            self.look = Look::Under(ask(db, self.lanes.keys().cloned().collect()));
        }
    }

    fn found(&mut self, found: Found) {
        for (key, last) in found {
            self.moved(&key, last);
        }
        self.look_interval = (self.look_interval * 2).min(LOOK_INTERVAL);
        self.look = Look::At(Instant::now() + self.look_interval);
    }

    /// Waits until [`Waiting::tend`] has something to do. May be cancelled.
    pub(super) async fn due(&mut self) {
        let deadline = self.deadline.unwrap_or_else(Instant::now);
        match &mut self.look {
            Look::At(at) => tokio::time::sleep_until(deadline.min(*at)).await,
            Look::Under(answer) => {
                let found = tokio::select! {
                    found = answer => found.unwrap_or_default(),
                    () = tokio::time::sleep_until(deadline) => return,
                };
                self.found(found);
            }
        }
    }
}

/// Asks how far lanes are, beside whatever is written meanwhile. What fails is asked again at the next look.
fn ask(db: &Db, keys: Vec<LaneKey>) -> oneshot::Receiver<Found> {
    let (answer, answered) = oneshot::channel();
    let db = db.clone();
    tokio::spawn(async move {
        let last = store::lanes::last(&db, &keys.iter().collect::<Vec<_>>()).await.unwrap_or_default();
        let found = last.into_iter().filter_map(|(index, last)| Some((keys.get(index)?.clone(), last)));
        // An appender that is gone does not need it.
        let _ = answer.send(found.collect());
    });
    answered
}

fn full(text: &'static str) -> Error {
    Error::retryable(Reason::LaneFull, text, FULL_FOR)
}
