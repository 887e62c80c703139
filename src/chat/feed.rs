//! Opening a session and serving it from the log: the one way to resume, to catch up after falling behind, and to go live.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{
    frame::{Encoder, Frame, RoomResume, Verdict},
    message::MAX_TEXT_BYTES,
    room_of,
    store::{self, events::Tail, rooms::Followed},
    topic,
};
use crate::{
    chat::{Event, EventBody},
    clock::{Clock, Timestamp},
    db::Db,
    error::{Error, Result},
    hub::{Follow, Hub, Session, Step, Topic},
    id::{RoomId, UserKey},
    telemetry::Metrics,
};

/// Rooms that a client may name when it opens a stream.
pub const MAX_RESUMED_ROOMS: usize = 5_000;
/// Rooms in one `resumed` frame.
const RESUMED_PER_FRAME: usize = 500;
/// Events read from the log at once.
const PAGE_EVENTS: u64 = 256;
/// About how many bytes an event takes beside its content.
const EVENT_WEIGHT: usize = 256;

/// The feed's limits.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// A client that missed more events of a room gets the verdict `gap`.
    pub max_replay_events: u64,
    /// Bytes that wait for one reader.
    pub queue_bytes: usize,
    /// Readers served at once.
    pub concurrency: usize,
    /// What Hello tells.
    pub heartbeat_interval: Duration,
}

/// Opens sessions and serves them from the log.
pub struct Feed {
    options: FeedOptions,
    db: Db,
    hub: Arc<Hub>,
    encoder: Arc<dyn Encoder>,
    clock: Arc<dyn Clock>,
    turns: Semaphore,
    tasks: TaskTracker,
    metrics: Arc<Metrics>,
}

impl Feed {
    /// A feed of `hub`, which calls it when sessions fall behind.
    pub fn start(
        options: FeedOptions,
        db: Db,
        hub: Arc<Hub>,
        encoder: Arc<dyn Encoder>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let turns = Semaphore::new(options.concurrency);
        let feed = Arc::new(Self { options, db, hub, encoder, clock, turns, tasks: TaskTracker::new(), metrics });
        let weak = Arc::downgrade(&feed);
        feed.hub.on_behind(Box::new(move |session| {
            if let Some(feed) = weak.upgrade() {
                feed.metrics.fell_behind.inc();
                feed.tasks.clone().spawn(async move { feed.serve(session).await });
            }
        }));
        feed
    }

    /// Opens a session that carries everything in the caller's rooms from `positions` on. Its first frame waits at once;
    /// what was missed follows.
    ///
    /// # Errors
    /// FIELD_INVALID for a room that is listed twice, TOO_MANY_STREAMS.
    pub fn open(
        self: &Arc<Self>,
        caller: UserKey,
        expires_at: Timestamp,
        positions: Vec<(RoomId, u64)>,
    ) -> Result<Arc<Session>> {
        let mut held = HashMap::with_capacity(positions.len());
        for (i, (room, position)) in positions.into_iter().enumerate() {
            if held.insert(room, position).is_some() {
                return Err(Error::field(format!("open.positions[{i}].room_id"), "is listed twice"));
            }
        }
        let now = self.clock.now();
        let session = self.hub.open(caller.clone(), expires_at, now)?;
        let heartbeat_interval = self.options.heartbeat_interval;
        let hello = Frame::Hello { session: session.id(), user: caller, heartbeat_interval, now, expires_at };
        session.push(self.encoder.frame(&hello));
        let (feed, opened) = (self.clone(), session.clone());
        self.tasks.spawn(async move {
            match feed.resume(&opened, held).await {
                Ok(()) => feed.serve_opening(opened).await,
                Err(error) => opened.end(Err(error)),
            }
        });
        Ok(session)
    }

    /// Lets the session follow the user's rooms, says how it stands to each, and finds out which it is behind in.
    async fn resume(&self, session: &Arc<Session>, mut held: HashMap<RoomId, u64>) -> Result<()> {
        let user = session.owner().clone();
        let mut verdicts = Vec::new();
        let mut cursors: HashMap<Topic, u64> = HashMap::new();
        for followed in store::rooms::followed(&self.db, &user).await? {
            let topic = topic(&user.room(followed.room.clone()));
            let resume = self.judge(&followed, held.remove(&followed.room));
            match self.hub.follow_behind(session, &topic, resume.position) {
                Follow::New => {
                    cursors.insert(topic, resume.position);
                    verdicts.push(resume);
                }
                // The publisher said `joined`, ahead of the events.
                Follow::Already => {}
                Follow::TakenOff => verdicts.push(RoomResume::left(followed.room)),
            }
        }
        let strange = held.into_keys().filter(|room| !self.hub.follows(session, &topic(&user.room(room.clone()))));
        verdicts.extend(strange.map(RoomResume::left));
        for some in verdicts.chunks(RESUMED_PER_FRAME) {
            session.push(self.encoder.frame(&Frame::Resumed(some.to_vec())));
        }
        self.hub.opened(session);
        // Read again, now that the session follows: what was committed before it did is in this answer, what comes after
        // is published to it. Between the two there is nothing.
        for Followed { room, last_position, .. } in store::rooms::followed(&self.db, &user).await? {
            let topic = topic(&user.room(room));
            if let Some(cursor) = cursors.remove(&topic) {
                let step = Step { frames: None, reached: cursor, end: last_position };
                self.hub.advance(session, &topic, cursor, step);
            }
        }
        Ok(())
    }

    /// How a session that holds `held` of a room stands to it.
    fn judge(&self, followed: &Followed, held: Option<u64>) -> RoomResume {
        let last = followed.last_position;
        let room = followed.room.clone();
        match held {
            None => RoomResume::at(room, Verdict::Joined, last),
            Some(held)
                if held > last || held < followed.pruned_position || last - held > self.options.max_replay_events =>
            {
                RoomResume::at(room, Verdict::Gap, last)
            }
            Some(held) => RoomResume { room, verdict: Verdict::Complete, position: held, last_position: last },
        }
    }

    async fn serve_opening(&self, session: Arc<Session>) {
        self.drain_behind(&session).await;
        session.push(self.encoder.frame(&Frame::CaughtUp));
        if session.finish_catching_up() {
            self.serve(session).await;
        }
    }

    /// Serves a session that has taken the task of catching up.
    async fn serve(&self, session: Arc<Session>) {
        loop {
            self.drain_behind(&session).await;
            if session.is_over() || !session.finish_catching_up() {
                return;
            }
        }
    }

    /// Serves the session, room after room and page by page, as fast as its reader takes it, until it is behind nowhere.
    async fn drain_behind(&self, session: &Arc<Session>) {
        while let Some(topic) = session.next_behind() {
            session.wait_for_space().await;
            if session.is_over() {
                return;
            }
            if let Err(error) = self.serve_page(session, &topic).await {
                session.end(Err(error));
                return;
            }
        }
    }

    async fn serve_page(&self, session: &Session, topic: &Topic) -> Result<()> {
        let Some(cursor) = self.hub.behind_at(session, topic) else { return Ok(()) };
        let room = room_of(topic);
        let tail = {
            // Never closed.
            let _turn = self.turns.acquire().await.map_err(|closed| Error::internal(&closed))?;
            store::events::read(&self.db, &room, cursor, PAGE_EVENTS).await?
        };
        let step = match tail {
            Tail::Gone => return Ok(()),
            Tail::Pruned { end } => {
                let gap = RoomResume::at(room.room, Verdict::Gap, end);
                Step { frames: Some(self.encoder.frame(&Frame::Resumed(vec![gap]))), reached: end, end }
            }
            Tail::Events { events, end } => {
                let events = fitting(&events, self.options.queue_bytes / 2);
                self.metrics.replayed.inc_by(events.len() as u64);
                let batch = (!events.is_empty()).then(|| self.encoder.events(events));
                let reached = batch.as_ref().map_or(cursor, crate::hub::Batch::last);
                Step { frames: batch.map(|b| b.after(cursor)), reached, end }
            }
        };
        self.hub.advance(session, topic, cursor, step);
        Ok(())
    }
}

/// As many events from the start as weigh at most `bytes`; at least one.
fn fitting(events: &[Event], bytes: usize) -> &[Event] {
    let mut sum = 0;
    let fits = events.iter().take_while(|event| {
        sum += EVENT_WEIGHT + weight(event);
        sum <= bytes
    });
    let count = fits.count().max(1).min(events.len());
    &events[..count]
}

fn weight(event: &Event) -> usize {
    match &event.body {
        EventBody::MessageCreated(message) | EventBody::MessageEdited(message) => {
            message.content.weight().min(2 * MAX_TEXT_BYTES)
        }
        EventBody::RoomUpdated(room) => room.title.len() + room.description.len(),
        _ => 0,
    }
}
