//! Opening a session and serving it from the log: the one way to resume, to catch up after falling behind, and to go live.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio_util::task::TaskTracker;

use super::{
    frame::{self, Encoder, Frame, RoomResume, Verdict},
    gather::Gather,
    history::{History, Page},
    presence::Presence,
    receipts::Receipts,
    room_of,
    store::{self, rooms::Followed as Standing},
    topic,
    typing::Typing,
};
use crate::{
    clock::{Clock, Timestamp},
    db::Db,
    error::{Error, Result},
    hub::{Advance, Behind, Followed, Hub, Session, Step, Topic},
    id::{RoomId, UserKey},
    telemetry::Metrics,
};

/// Rooms that a client may name when it opens a stream.
pub const MAX_RESUMED_ROOMS: usize = 5_000;
/// Rooms in one `resumed` frame.
const RESUMED_PER_FRAME: usize = 500;
/// Events read from the log at once.
const PAGE_EVENTS: u64 = 256;

/// The feed's limits.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// A client that missed more events of a room gets the verdict `gap`.
    pub max_replay_events: u64,
    /// Bytes that wait for one reader.
    pub queue_bytes: usize,
    /// What Hello tells.
    pub heartbeat_interval: Duration,
}

/// What a feed works with.
pub struct FeedParts {
    /// The database.
    pub db: Db,
    /// The sessions.
    pub hub: Arc<Hub>,
    /// What was missed.
    pub history: Arc<History>,
    /// Who types.
    pub typing: Arc<Typing>,
    /// Who is there.
    pub presence: Arc<Presence>,
    /// How far members have got and read.
    pub receipts: Receipts,
    /// How it becomes bytes.
    pub encoder: Arc<dyn Encoder>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
}

/// What a client wants of a session.
#[derive(Debug, Default)]
pub struct Opening {
    /// What it holds of each room.
    pub positions: Vec<(RoomId, u64)>,
    /// Whether it wants to be told how the caller stands in each room.
    pub memberships: bool,
    /// The rooms that it watches: see [`Presence::watch`].
    pub watch: Vec<RoomId>,
}

/// What `caught_up` waits for.
struct Missed {
    /// Up to where something was missed.
    ends: HashMap<Topic, u64>,
    /// Whether how the user stands in each room is to be told.
    memberships: bool,
}

/// Opens sessions and serves them from the log.
pub struct Feed {
    options: FeedOptions,
    db: Db,
    hub: Arc<Hub>,
    history: Arc<History>,
    encoder: Arc<dyn Encoder>,
    clock: Arc<dyn Clock>,
    looks: Gather<UserKey, Vec<Standing>>,
    typing: Arc<Typing>,
    presence: Arc<Presence>,
    receipts: Receipts,
    tasks: TaskTracker,
    metrics: Arc<Metrics>,
}

impl Feed {
    /// A feed of `hub`, which calls it when sessions fall behind.
    pub fn start(options: FeedOptions, parts: FeedParts) -> Arc<Self> {
        let FeedParts { db, hub, history, typing, presence, receipts, encoder, clock, metrics } = parts;
        let reads = db.clone();
        let looks = Gather::start(move |users: Vec<UserKey>| {
            let db = reads.clone();
            Box::pin(async move { store::rooms::followed(&db, &users).await })
        });
        let tasks = TaskTracker::new();
        let feed = Arc::new(Self {
            options,
            db,
            hub,
            history,
            encoder,
            clock,
            looks,
            typing,
            presence,
            receipts,
            tasks,
            metrics,
        });
        let weak = Arc::downgrade(&feed);
        feed.hub.on_behind(Box::new(move |session| {
            if let Some(feed) = weak.upgrade() {
                feed.metrics.fell_behind.inc();
                feed.tasks.clone().spawn(async move { feed.serve(session, None).await });
            }
        }));
        feed
    }

    /// Opens a session that carries everything in the caller's rooms from the positions on. Its first frame waits at once;
    /// what was missed follows; with `memberships`, before how the caller stands in each room.
    ///
    /// # Errors
    /// FIELD_INVALID for a room that is listed twice, TOO_MANY_STREAMS.
    pub fn open(self: &Arc<Self>, caller: UserKey, expires_at: Timestamp, opening: Opening) -> Result<Arc<Session>> {
        let Opening { positions, memberships, watch } = opening;
        let mut held = HashMap::with_capacity(positions.len());
        for (i, (room, position)) in positions.into_iter().enumerate() {
            if held.insert(room, position).is_some() {
                return Err(Error::field(format!("open.positions[{i}].room_id"), "is listed twice"));
            }
        }
        let now = self.clock.now();
        let heartbeat_interval = self.options.heartbeat_interval;
        let session = self.hub.open(caller.clone(), expires_at, now, |session| {
            let session = session.id();
            self.encoder.frame(&Frame::Hello { session, user: caller, heartbeat_interval, now, expires_at })
        })?;
        let (feed, opened) = (self.clone(), session.clone());
        self.tasks.spawn(async move {
            match feed.resume(&opened, held).await {
                Ok(missed) => {
                    feed.typing.greet(&opened);
                    feed.watch(&opened, watch);
                    feed.serve(opened, Some(Missed { ends: missed, memberships })).await;
                }
                Err(error) => opened.end(error),
            }
        });
        Ok(session)
    }

    /// Lets the session watch who is there, and tells it beside what else it waits for.
    fn watch(self: &Arc<Self>, session: &Arc<Session>, rooms: Vec<RoomId>) {
        let watched = self.presence.watch_at_opening(session, rooms);
        if !watched.is_empty() {
            let (feed, session) = (self.clone(), session.clone());
            // What failed was logged, and is told later.
            self.tasks.spawn(async move { drop(feed.presence.tell_watched(&session, watched).await) });
        }
    }

    /// Lets the session follow the user's rooms, says how it stands to each, and answers up to where it missed something.
    ///
    /// The first look gives the rooms, and where they stand. Where this node has published a room's events before the session
    /// followed it, nothing falls between: what came after the look was published to the session, or lies between the look
    /// and what was published, and is read from the log. A room of which this node knew nothing is looked at once more, now that
    /// the session follows it.
    async fn resume(&self, session: &Arc<Session>, mut held: HashMap<RoomId, u64>) -> Result<HashMap<Topic, u64>> {
        let user = session.owner().clone();
        let mut missed = HashMap::new();
        let mut followed_at: HashMap<Topic, u64> = HashMap::new();
        loop {
            self.hub.look(session);
            let (mut verdicts, mut fresh) = (Vec::new(), HashMap::new());
            let mut known = Vec::new();
            for followed in self.looks.ask(user.clone()).await? {
                let topic = topic(&user.room(followed.room.clone()));
                match followed_at.remove(&topic).filter(|_| self.hub.follows(session, &topic)) {
                    Some(cursor) => known.push((topic, cursor, followed.last_position)),
                    None if self.hub.follows(session, &topic) => {}
                    None => {
                        let resume = self.judge(&followed, held.get(&followed.room).copied());
                        let (cursor, end) = (resume.position, followed.last_position);
                        match self.hub.follow_behind(session, &topic, cursor, end) {
                            Followed::Not => continue,
                            Followed::Known => known.push((topic, cursor, end)),
                            Followed::New => drop(fresh.insert(topic, cursor)),
                        }
                        held.remove(&followed.room);
                        verdicts.push(resume);
                    }
                }
            }
            // The user was taken off these between the looks.
            for (topic, cursor) in followed_at.drain() {
                self.hub.take_off_behind(session, &topic, cursor, &self.left(room_of(&topic).room));
            }
            // The verdict goes ahead of the events.
            self.tell(session, verdicts);
            for (topic, cursor, end) in known {
                let step = Step { frames: Vec::new(), reached: cursor, end };
                if self.hub.advance(session, &topic, cursor, step) == Advance::Behind {
                    missed.insert(topic, end);
                }
            }
            followed_at = fresh;
            if followed_at.is_empty() && self.hub.opened(session) {
                break;
            }
        }
        self.tell(session, held.into_keys().map(RoomResume::left).collect());
        Ok(missed)
    }

    /// Queues those verdicts that still hold.
    fn tell(&self, session: &Session, mut verdicts: Vec<RoomResume>) {
        let user = session.owner();
        self.hub.tell(session, |follows| {
            verdicts.retain(|v| follows(&topic(&user.room(v.room.clone()))) == (v.verdict != Verdict::Left));
            let frames = verdicts.chunks(RESUMED_PER_FRAME);
            frames.map(|some| self.encoder.frame(&Frame::Resumed(some.to_vec()))).collect()
        });
    }

    fn left(&self, room: RoomId) -> Bytes {
        frame::left(&*self.encoder, &room)
    }

    /// How a session that holds `held` of a room stands to it.
    fn judge(&self, followed: &Standing, held: Option<u64>) -> RoomResume {
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

    /// Serves a session, whose task of catching up the caller has, room after room and page by page, as fast as its reader
    /// takes it, until it is behind nowhere. While it is being opened, `missed` says what `caught_up` waits for.
    async fn serve(&self, session: Arc<Session>, mut missed: Option<Missed>) {
        let mut limit = PAGE_EVENTS;
        loop {
            if let Some(missed) = missed.take_if(|missed| missed.ends.is_empty())
                && let Err(error) = self.caught_up(&session, missed.memberships).await
            {
                return session.end(error);
            }
            let Some(topic) = session.next_behind() else {
                if session.finish_catching_up() { continue } else { return }
            };
            session.wait_for_space().await;
            if session.is_over() {
                return;
            }
            match self.serve_page(&session, &topic, &mut limit).await {
                Ok(reached) => {
                    if let Some(missed) = &mut missed {
                        missed.ends.retain(|t, end| *t != topic || reached.is_some_and(|reached| reached < *end));
                    }
                }
                Err(error) => return session.end(error),
            }
        }
    }

    /// Says that everything that was missed was sent; with `memberships`, after how the user stands in each room. Not sooner:
    /// a client forgets a room by the event that its user left it, though another that they came back may follow. What
    /// changes from here on comes as it happens.
    async fn caught_up(&self, session: &Session, memberships: bool) -> Result<()> {
        if memberships {
            self.receipts.tell_all(session).await?;
        }
        session.push(self.encoder.frame(&Frame::CaughtUp));
        Ok(())
    }

    /// Serves a page of at most `limit` events, which it fits to what the reader's queue takes. Answers the position that
    /// was reached; `None` if the session does not follow the topic any more.
    async fn serve_page(&self, session: &Session, topic: &Topic, limit: &mut u64) -> Result<Option<u64>> {
        let Some(Behind { cursor, until }) = self.hub.behind(session, topic) else { return Ok(None) };
        let room = room_of(topic);
        let until = match until {
            Some(until) => Some(until),
            None => {
                let end = store::events::end_for(&self.db, &room, &session.owner().user).await?;
                if let Some(end) = end {
                    self.hub.vouch(session, topic, end);
                }
                end
            }
        };
        let Some(until) = until else {
            self.hub.take_off_behind(session, topic, cursor, &self.left(room.room));
            return Ok(None);
        };
        let found = self.history.after(&room, cursor, until.max(cursor), *limit, self.options.queue_bytes / 2).await?;
        let step = match found {
            Page::Events(found) => {
                // What did not fit was read in vain: read less the next time, and more again while it fits.
                *limit = if found.cut { found.events.max(4) } else { (*limit * 2).min(PAGE_EVENTS) };
                self.metrics.replayed.inc_by(found.events);
                Step { frames: found.frames, reached: found.reached, end: until }
            }
            Page::Pruned => {
                let gap = RoomResume::at(room.room, Verdict::Gap, until);
                Step { frames: vec![self.encoder.frame(&Frame::Resumed(vec![gap]))], reached: until, end: until }
            }
        };
        let reached = step.reached;
        let advance = self.hub.advance(session, topic, cursor, step);
        Ok((advance != Advance::Gone).then_some(reached))
    }
}
