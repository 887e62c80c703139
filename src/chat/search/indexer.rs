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
        store::index::{self, Entry},
    },
    clock::Timestamp,
    db::Db,
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
/// Rooms indexed at once.
const ROOMS_AT_ONCE: usize = 2;
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
        // By itself: a caller that hangs up would end a transaction, and with it a connection.
        let work = tokio::spawn(async move {
            let indexer = &indexer;
            let work =
                rooms.into_iter().map(|(room, _, wanted)| async move { indexer.catch_up(&room, Some(wanted)).await });
            let outcomes: Vec<Result<()>> = stream::iter(work).buffer_unordered(ROOMS_AT_ONCE).collect().await;
            outcomes.into_iter().collect()
        });
        work.await.map_err(|error| Error::internal(&error))?
    }

    async fn index_all(&self, rooms: HashSet<RoomKey>) {
        let work = rooms.into_iter().map(|room| async move {
            if let Err(error) = self.catch_up(&room, None).await {
                // Whoever searches the room does it, or the next look.
                tracing::warn!(%error, room = room.room.as_str(), "a room could not be indexed");
            }
        });
        stream::iter(work).buffer_unordered(ROOMS_AT_ONCE).collect::<()>().await;
    }

    /// Looks at all rooms, and indexes those that lag.
    async fn look(&self) {
        let mut after = None;
        loop {
            match index::behind(&self.db, after.as_ref(), LOOK).await {
                Ok((last, behind)) => {
                    self.index_all(behind.into_iter().collect()).await;
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

    /// Indexes a room up to `wanted`, for somebody who waits for it, or to its end, with rests while messages are sent.
    async fn catch_up(&self, room: &RoomKey, wanted: Option<u64>) -> Result<()> {
        let turn = self.reached.lock().entry(room.clone()).or_default().clone();
        let outcome = async {
            loop {
                let began = Instant::now();
                {
                    let mut reached = turn.lock().await;
                    if wanted.is_some_and(|wanted| *reached >= wanted) {
                        return Ok(());
                    }
                    let (seq, more) = self.index_some(room).await?;
                    *reached = seq;
                    if !more {
                        return Ok(());
                    }
                }
                if wanted.is_none() && !self.noted.lock().rooms.is_empty() {
                    tokio::time::sleep(began.elapsed() * REST).await;
                }
            }
        };
        let outcome = outcome.await;
        let mut all = self.reached.lock();
        // This one, and the map's.
        if Arc::strong_count(&turn) <= 2 {
            all.remove(room);
        }
        outcome
    }

    /// Indexes the next messages of a room; answers how far it is, and whether there may be more.
    async fn index_some(&self, room: &RoomKey) -> Result<(u64, bool)> {
        let mut tx = self.db.begin_aside().await?;
        let indexed = index::lock(&mut tx, room).await?;
        let limit = self.fits.load(Ordering::Relaxed);
        let messages = index::unindexed(&mut tx, room, indexed, limit).await?;
        let (Some(last), more) = (messages.last().map(|message| message.seq), messages.len() as u64 == limit) else {
            tx.commit().await?;
            return Ok((indexed, false));
        };
        let length = messages.iter().map(|message| message.text.len() as u64).sum::<u64>() / messages.len() as u64;
        self.fits.store((BATCH_BYTES / length.max(1)).clamp(1, BATCH), Ordering::Relaxed);
        let mut newest = Timestamp::default();
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
        index::insert(&mut tx, room, &entries).await?;
        index::advance(&mut tx, room, last, newest).await?;
        tx.commit().await?;
        self.db.metrics().search_indexed.inc_by(entries.len() as u64);
        Ok((last, more))
    }
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
