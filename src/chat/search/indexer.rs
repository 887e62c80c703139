//! Keeps the search index up to date, beside the sends and not in their way: what was sent is indexed a moment later, by the
//! node that wrote it, or at the latest when somebody searches its room.
//!
//! # Contract
//! - A room's messages are indexed in their order; the room's place says how far. Nodes that index the same room take turns.
//! - Who changes a message that may be indexed changes its entry in the same transaction: [`reflect`]. Both first take the
//!   room's place, so an old text is never written after a new one.
//! - An index that lags, because a node was killed, is found when its room is searched, and by a look at all rooms now and then.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::terms::terms;
use crate::{
    chat::{
        event::{Event, EventBody},
        log::Unit,
        message::Message,
        store::index::{self, Entry, Unindexed},
    },
    clock::Timestamp,
    db::{Db, Tx},
    error::{Error, Result},
    id::RoomKey,
};

/// Messages indexed in one transaction: few, because an edit in the room waits for it, and on SQLite all writes do.
const BATCH: u64 = 500;
/// Bytes of text in one transaction, about.
const BATCH_BYTES: u64 = 1 << 20;
/// While messages are sent, the task rests so many times as long as a batch took: sends come first.
const REST: u32 = 4;
/// Bytes of text after which others get their turn.
const TURN_BYTES: usize = 64 * 1024;
/// Rooms indexed together.
const ROOMS_TOGETHER: usize = 64;
/// Transactions at once.
const AT_ONCE: usize = 2;
/// Messages that a search indexes before it answers.
const MOST_BEHIND: u64 = 20_000;
/// Rooms that are remembered to be indexed; of more, only that there are some.
const MOST_NOTED: usize = 10_000;
/// Rooms looked at together when all are.
const LOOK: u64 = 5_000;

/// How often it works.
#[derive(Clone, Debug)]
pub struct IndexerOptions {
    /// How long new messages wait for more.
    pub delay: Duration,
    /// How often it looks at all rooms.
    pub look_interval: Duration,
}

/// Indexes rooms. One task runs it; searches call it.
pub struct Indexer {
    options: IndexerOptions,
    db: Db,
    noted: Mutex<Noted>,
    some: Notify,
    /// How many messages are about as long as a batch may be, going by the last one.
    fits: AtomicU64,
    /// Of rooms that are being indexed here: how far they are. Who wants the same room waits for its turn.
    reached: Mutex<HashMap<RoomKey, Arc<tokio::sync::Mutex<u64>>>>,
}

/// A room to index.
#[derive(Clone)]
struct Wanted {
    room: RoomKey,
    /// Up to here, for somebody who waits for it.
    seq: Option<u64>,
}

impl Wanted {
    /// Whether more is wanted than what is indexed, up to `reached`.
    fn is_ahead_of(&self, reached: u64) -> bool {
        self.seq.is_none_or(|seq| seq > reached)
    }
}

/// The turn at a room, and how far it is.
type Turn = tokio::sync::OwnedMutexGuard<u64>;

#[derive(Default)]
struct Noted {
    rooms: HashSet<RoomKey>,
    /// More than are remembered.
    more: bool,
}

impl Indexer {
    /// An index in `db`.
    pub fn new(options: IndexerOptions, db: Db) -> Arc<Self> {
        let fits = AtomicU64::new(BATCH);
        Arc::new(Self { options, db, noted: Mutex::default(), some: Notify::new(), fits, reached: Mutex::default() })
    }

    /// Indexes what is noted until `stop`; and, at its start and now and then, all that lags.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut looks = tokio::time::interval(self.options.look_interval);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let work = async {
            loop {
                let look = tokio::select! {
                    _ = looks.tick() => true,
                    () = self.some.notified() => false,
                };
                tokio::time::sleep(self.options.delay).await;
                let noted = std::mem::take(&mut *self.noted.lock());
                self.index_all(noted.rooms).await;
                if look || noted.more {
                    self.look().await;
                }
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Notes the rooms that have new messages.
    pub(in crate::chat) fn note(&self, events: &[Event]) {
        let new = events.iter().filter(|event| matches!(event.body, EventBody::MessageCreated(_)));
        self.note_rooms(new.map(|event| &event.room));
    }

    fn note_rooms<'r>(&self, rooms: impl Iterator<Item = &'r RoomKey>) {
        let mut noted = self.noted.lock();
        for room in rooms {
            if noted.rooms.contains(room) {
                continue;
            }
            match noted.rooms.len() < MOST_NOTED {
                true => drop(noted.rooms.insert(room.clone())),
                false => noted.more = true,
            }
        }
        if !noted.rooms.is_empty() {
            self.some.notify_one();
        }
    }

    /// Makes sure that these rooms are indexed up to what is named: `(room, indexed, wanted)`.
    ///
    /// # Errors
    /// OVERLOADED if that takes too long; it goes on nevertheless.
    pub(super) async fn reach(self: &Arc<Self>, rooms: Vec<(RoomKey, u64, u64)>) -> Result<()> {
        let behind: u64 = rooms.iter().map(|(_, indexed, wanted)| wanted.saturating_sub(*indexed)).sum();
        if behind > MOST_BEHIND {
            self.note_rooms(rooms.iter().map(|(room, ..)| room));
            return Err(Error::retryable(
                crate::error::Reason::Overloaded,
                "the messages are being indexed; search again",
                Duration::from_secs(2),
            ));
        }
        let indexer = self.clone();
        let rooms = rooms.into_iter().map(|(room, _, wanted)| Wanted { room, seq: Some(wanted) }).collect();
        // By itself: a caller that hangs up would end a transaction, and with it a connection.
        tokio::spawn(async move { indexer.index_together(rooms).await })
            .await
            .map_err(|error| Error::internal(&error))?
    }

    async fn index_all(&self, rooms: impl IntoIterator<Item = RoomKey>) {
        let mut rooms = rooms.into_iter().map(|room| Wanted { room, seq: None });
        let parts = std::iter::from_fn(move || {
            let part: Vec<Wanted> = rooms.by_ref().take(ROOMS_TOGETHER).collect();
            (!part.is_empty()).then_some(part)
        });
        let work = parts.map(|part| async move {
            let first = part[0].room.room.clone();
            if let Err(error) = self.index_together(part).await {
                // Whoever searches the rooms does it, or the next look.
                tracing::warn!(%error, room = first.as_str(), "rooms could not be indexed, this one among them");
            }
        });
        stream::iter(work).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    /// Looks at all rooms, and indexes those that lag.
    async fn look(&self) {
        let mut after = None;
        loop {
            match index::behind(&self.db, after.as_ref(), LOOK).await {
                Ok((last, behind)) => {
                    self.index_all(behind).await;
                    if last.is_none() {
                        return;
                    }
                    after = last;
                }
                Err(error) => {
                    tracing::warn!(%error, "the search index was not compared; it is at the next interval");
                    return;
                }
            }
        }
    }

    /// Indexes rooms up to what is wanted of them, for somebody who waits for it, or to their ends, with rests while messages
    /// are sent.
    async fn index_together(&self, mut rooms: Vec<Wanted>) -> Result<()> {
        loop {
            let began = Instant::now();
            rooms = self.index_some(rooms).await?;
            let Some(first) = rooms.first() else { return Ok(()) };
            if first.seq.is_none() && !self.noted.lock().rooms.is_empty() {
                tokio::time::sleep(began.elapsed() * REST).await;
                rooms = self.with_noted(rooms);
            }
        }
    }

    /// Before what is unfinished, rooms that were noted meanwhile, as many as fit: else they would wait for a room that gets
    /// messages faster than they are indexed.
    fn with_noted(&self, unfinished: Vec<Wanted>) -> Vec<Wanted> {
        let mut noted = self.noted.lock();
        for wanted in &unfinished {
            noted.rooms.remove(&wanted.room);
        }
        let space = ROOMS_TOGETHER.saturating_sub(unfinished.len());
        let new: Vec<RoomKey> = noted.rooms.iter().take(space).cloned().collect();
        for room in &new {
            noted.rooms.remove(room);
        }
        new.into_iter().map(|room| Wanted { room, seq: None }).chain(unfinished).collect()
    }

    /// Indexes the next messages of these rooms in one transaction; answers the rooms that may have more. It waits for one
    /// room alone, and before the transaction begins, so it is never part of a circle: others that are busy are left.
    async fn index_some(&self, rooms: Vec<Wanted>) -> Result<Vec<Wanted>> {
        let limit = self.fits.load(Ordering::Relaxed);
        let (mut left, mut length) = (limit, 0);
        let (mut more, mut unfinished, mut done) = (Vec::new(), None, Vec::new());
        let mut rooms = rooms.into_iter();
        let Some((mut wanted, mut turn)) = self.first(&mut rooms).await else { return Ok(more) };
        let mut tx = self.db.begin_aside().await?;
        loop {
            let indexed = match done.is_empty() {
                true => Some(index::lock(&mut tx, &wanted.room).await?),
                false => index::lock_free(&mut tx, &wanted.room).await?,
            };
            if let Some(indexed) = indexed {
                let messages = index::unindexed(&mut tx, &wanted.room, indexed, left).await?;
                let last = messages.last().map_or(indexed, |message| message.seq);
                length += messages.iter().map(|message| message.text.len() as u64).sum::<u64>();
                left -= messages.len() as u64;
                enter(&mut tx, &wanted.room, messages).await?;
                done.push((turn, last));
            }
            match indexed {
                None => more.push(wanted),
                Some(_) if left == 0 => unfinished = Some(wanted),
                Some(_) => {}
            }
            (wanted, turn) = match self.next_free(&mut rooms, left, &mut more) {
                Some(next) => next,
                None => break,
            };
        }
        tx.commit().await?;
        // Last: others get their turn, however much there is in one room.
        more.extend(unfinished);
        for (mut turn, last) in done {
            *turn = last;
        }
        // Those that nobody waits for.
        self.reached.lock().retain(|_, turn| Arc::strong_count(turn) > 1);
        if let Some(average) = length.checked_div(limit - left) {
            self.fits.store((BATCH_BYTES / average.max(1)).clamp(1, BATCH), Ordering::Relaxed);
            self.db.metrics().search_indexed.inc_by(limit - left);
        }
        Ok(more)
    }

    /// The first of these rooms that is not as far as is wanted, once it is this one's turn.
    async fn first(&self, rooms: &mut impl Iterator<Item = Wanted>) -> Option<(Wanted, Turn)> {
        for wanted in rooms {
            let turn = self.turn(&wanted.room).lock_owned().await;
            if wanted.is_ahead_of(*turn) {
                return Some((wanted, turn));
            }
        }
        None
    }

    /// The same without waiting, as long as there is space `left`. Those that are busy, or do not fit, are `more`.
    fn next_free(
        &self,
        rooms: &mut impl Iterator<Item = Wanted>,
        left: u64,
        more: &mut Vec<Wanted>,
    ) -> Option<(Wanted, Turn)> {
        for wanted in rooms {
            match self.turn(&wanted.room).try_lock_owned() {
                Ok(turn) if !wanted.is_ahead_of(*turn) => {}
                Ok(turn) if left > 0 => return Some((wanted, turn)),
                _ => more.push(wanted),
            }
        }
        None
    }

    fn turn(&self, room: &RoomKey) -> Arc<tokio::sync::Mutex<u64>> {
        self.reached.lock().entry(room.clone()).or_default().clone()
    }
}

/// Enters the next messages of a room.
async fn enter(tx: &mut Tx, room: &RoomKey, messages: Vec<Unindexed>) -> Result<()> {
    let (Some(last), mut newest) = (messages.last().map(|message| message.seq), Timestamp::default()) else {
        return Ok(());
    };
    let mut entries = Vec::with_capacity(messages.len());
    let mut bytes = 0;
    for message in messages {
        bytes += message.text.len();
        if bytes > TURN_BYTES {
            bytes = 0;
            tokio::task::yield_now().await;
        }
        newest = newest.max(message.sent_at);
        let terms = terms(&message.text);
        entries.push(Entry { seq: message.seq, sender: message.sender, sent_at: message.sent_at, terms });
    }
    index::insert(tx, room, &entries).await?;
    index::advance(tx, room, last, newest).await
}

/// Shows in the index, in the same transaction, that a message now has this text; an empty one is found by nothing.
pub(in crate::chat) async fn reflect(unit: &mut Unit, room: &RoomKey, message: &Message, text: &str) -> Result<()> {
    // What is not indexed yet will be with its new text.
    if index::lock(&mut unit.tx, room).await? < message.seq {
        return Ok(());
    }
    let (sender, sent_at) = (message.sender.clone(), message.created_at);
    let entry = Entry { seq: message.seq, sender, sent_at, terms: terms(text) };
    index::replace(&mut unit.tx, room, entry).await
}
