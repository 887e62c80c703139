//! Reading back: from memory, from Redis, from the database, in this order, and each thing once however many want it.
//!
//! The first two are believed only where they prove contiguous with what the database called the room's last position.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{
    bulletin::Bulletin,
    event::fitting,
    flight::Flights,
    frame::Encoder,
    hot::{Created, Found, Hot},
    message::Message,
    piece::{Mark, Piece},
    publish::pieces,
    store, topic,
};
use crate::{
    bus::Bus,
    db::Db,
    error::{Error, Result},
    hub::{Hub, names},
    id::RoomKey,
    telemetry::{HistorySource, Metrics},
};

/// Events that are read from the database at least when a room's tail is fetched.
const FETCHED_EVENTS: u64 = 64;

/// Where history is read, and what it is read with.
pub struct History {
    db: Db,
    hub: Arc<Hub>,
    bus: Arc<dyn Bus>,
    hot: Arc<Hot>,
    encoder: Arc<dyn Encoder>,
    metrics: Arc<Metrics>,
    /// Reads of the log at once.
    turns: Arc<Semaphore>,
    /// Tails being fetched.
    fetches: Flights<RoomKey, ()>,
    /// Pages being read: the room, the position before it, the last position in it.
    pages: Flights<(RoomKey, u64, u64), Result<Option<Piece>>>,
}

/// What comes after a position.
#[derive(Clone, Debug)]
pub(super) enum Page {
    /// These events, at least one unless there are none.
    Events(Events),
    /// Some of what comes next has been forgotten.
    Pruned,
}

/// Some events, as bytes.
#[derive(Clone, Debug)]
pub(super) struct Events {
    /// The frames, in order.
    pub(super) frames: Vec<Bytes>,
    /// How many events they are.
    pub(super) events: u64,
    /// The position that they lead to.
    pub(super) reached: u64,
    /// Whether more was read than fitted.
    pub(super) cut: bool,
}

impl History {
    /// Reads from `hot`, `bus` and `db`; at most `concurrency` reads of the database's log at once.
    pub fn new(
        db: Db,
        hub: Arc<Hub>,
        bus: Arc<dyn Bus>,
        hot: Arc<Hot>,
        encoder: Arc<dyn Encoder>,
        metrics: Arc<Metrics>,
        concurrency: usize,
    ) -> Arc<Self> {
        let turns = Arc::new(Semaphore::new(concurrency));
        let (fetches, pages) = (Flights::default(), Flights::default());
        Arc::new(Self { db, hub, bus, hot, encoder, metrics, turns, fetches, pages })
    }

    /// The events of a room after `cursor`, at most `limit` if the database is read, and about `bytes`. The database has
    /// called `until` a position of the room: nothing beyond it is asked of the database.
    pub(super) async fn after(
        self: &Arc<Self>,
        room: &RoomKey,
        cursor: u64,
        until: u64,
        limit: u64,
        bytes: usize,
    ) -> Result<Page> {
        if cursor >= until {
            return Ok(Page::Events(Events { frames: Vec::new(), events: 0, reached: cursor, cut: false }));
        }
        if let Some(found) = self.hot.read(room, cursor, until, bytes) {
            self.count(HistorySource::Memory);
            return Ok(found.into());
        }
        if until - cursor <= self.hot.events() as u64 {
            self.fetch(room, Some((cursor, until))).await;
            if let Some(found) = self.hot.read(room, cursor, until, bytes) {
                self.count(HistorySource::Memory);
                return Ok(found.into());
            }
        }
        let last = until.min(cursor + limit);
        let piece = self.page(room, cursor, last, bytes).await?;
        Ok(match piece {
            None => Page::Pruned,
            Some(piece) => Page::Events(Events {
                frames: vec![piece.batch().bytes().clone()],
                events: piece.marks().len() as u64,
                reached: piece.last(),
                cut: piece.last() < last,
            }),
        })
    }

    /// The messages from `from` to `to`, oldest first, without reactions, if memory or Redis has them as they are at the
    /// room's `position`, or later, and nobody has reacted.
    pub(super) async fn messages(
        self: &Arc<Self>,
        room: &RoomKey,
        position: u64,
        from: u64,
        to: u64,
    ) -> Option<Vec<Message>> {
        let found = match self.hot.created(room, position, from, to) {
            Created::Unknown if to - from < self.hot.events() as u64 && self.bus.health().is_up() => {
                self.fetch(room, None).await;
                self.hot.created(room, position, from, to)
            }
            found => found,
        };
        let Created::Found(found) = found else { return None };
        let messages: Option<Vec<Message>> = found.iter().map(|frame| self.encoder.message(frame)).collect();
        if messages.is_some() {
            self.count(HistorySource::Memory);
        }
        messages
    }

    fn count(&self, source: HistorySource) {
        self.metrics.read_history(source);
    }

    /// Puts the last events of a room into memory: from Redis, or else, from `wanted.0` to `wanted.1`, from the database.
    async fn fetch(self: &Arc<Self>, room: &RoomKey, wanted: Option<(u64, u64)>) {
        let (history, key) = (self.clone(), room.clone());
        let fetch = async move {
            let kept = history.kept(&key).await;
            let enough = match (kept.first(), kept.last(), wanted) {
                (Some(first), Some(last), Some((cursor, until))) => first.first() <= cursor + 1 && last.last() >= until,
                (first, ..) => first.is_some() && wanted.is_none(),
            };
            if enough {
                history.count(HistorySource::Redis);
                history.seed(&key, kept);
            } else if let Some((cursor, until)) = wanted {
                // A little more than is wanted now: the next to come back may have been away for longer.
                let after = cursor.min(until.saturating_sub(FETCHED_EVENTS));
                if let Ok(Some(pieces)) = history.read(&key, after, until).await {
                    history.seed(&key, pieces);
                }
            }
        };
        self.fetches.join(room.clone(), fetch).await;
    }

    /// What Redis has of a room: the longest run of pieces without a hole that ends with its newest event.
    async fn kept(&self, room: &RoomKey) -> Vec<Piece> {
        // Never closed.
        let Ok(_turn) = self.turns.acquire().await else { return Vec::new() };
        // It was logged where it failed; the database has all of it.
        let payloads = self.bus.recent(&names::of_topic(&topic(room))).await.unwrap_or_default();
        let mut pieces: Vec<Piece> = payloads
            .iter()
            .filter_map(|payload| match Bulletin::decode(payload) {
                Some((_, Bulletin::Events(piece))) => Some(piece),
                _ => None,
            })
            .collect();
        pieces.sort_by_key(Piece::first);
        let whole = pieces.windows(2).rposition(|pair| pair[0].last() + 1 != pair[1].first());
        pieces.split_off(whole.map_or(0, |hole| hole + 1))
    }

    fn seed(&self, room: &RoomKey, pieces: Vec<Piece>) {
        let topic = topic(room);
        // Whoever left is taken off first: nobody is given what came after it.
        for (position, mark) in pieces.iter().flat_map(Piece::marked) {
            if let Mark::Left(user) = mark {
                let left = super::frame::left(&*self.encoder, &room.room);
                self.hub.unfollow(&room.user(user), &topic, position, &left);
            }
        }
        self.hot.seed(room, pieces);
    }

    /// Events from the database as one piece, cut to about `bytes`. `None`: some have been forgotten.
    async fn page(self: &Arc<Self>, room: &RoomKey, after: u64, last: u64, bytes: usize) -> Result<Option<Piece>> {
        let (history, key) = (self.clone(), room.clone());
        let read = async move {
            let events = history.events(&key, after, last).await?;
            Ok(events.map(|events| Piece::encode(&events[..fitting(&events, bytes)], &*history.encoder)))
        };
        self.pages.join((room.clone(), after, last), read).await
    }

    async fn read(&self, room: &RoomKey, after: u64, last: u64) -> Result<Option<Vec<Piece>>> {
        let events = self.events(room, after, last).await?;
        Ok(events.map(|events| pieces(&events, &*self.encoder)))
    }

    async fn events(&self, room: &RoomKey, after: u64, last: u64) -> Result<Option<Vec<super::Event>>> {
        // Never closed.
        let _turn = self.turns.acquire().await.map_err(|closed| Error::internal(&closed))?;
        // It counts by itself where it reads.
        store::events::read(&self.db, room, after, last).await
    }
}

impl From<Found> for Page {
    fn from(Found { frames, events, reached }: Found) -> Self {
        Self::Events(Events { frames, events, reached, cut: false })
    }
}
