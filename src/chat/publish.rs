//! What happened in rooms goes to the sessions of this node: what was committed here, what other nodes tell, and what the
//! log has beyond both. In each room in the order of positions, without holes.
//!
//! One task does it, so that nothing overtakes: a piece that arrives before what belongs before it waits in [`Ahead`], and
//! if the missing does not come soon, the log is read.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use indexmap::IndexMap;
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use super::{
    ahead::Ahead,
    bulletin::{Bulletin, NodeId},
    event::{Event, fitting},
    frame::{self, Encoder, Frame, RoomResume, Verdict},
    hot::Hot,
    moderation::Blocks,
    notice::Notice,
    piece::{Mark, Piece},
    presence::Presence,
    receipts::Receipts,
    renewals::Renewals,
    room_of,
    search::Indexer,
    store, topic,
    typing::Typing,
    watch::Agenda,
};
use crate::{
    bus::{Bus, Ear, Health, Heard},
    db::Db,
    error::Result,
    hub::{Hub, Topic, names},
    id::{RoomKey, UserId, UserKey},
    telemetry::Metrics,
};

/// About how many bytes are encoded together.
const PIECE_BYTES: usize = 64 * 1024;
/// A piece that is larger is not kept in Redis: whoever came back would read hundreds of them at once.
const KEPT_BYTES: usize = 16 * 1024;
/// Events read from the log at once.
const PAGE_EVENTS: u64 = 512;
/// How long to wait after a read of the log that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Logs read at once: after an outage very many rooms may lag, and each page is held until it is published.
const REPAIRS: usize = 16;
/// Findings that wait.
const FINDINGS: usize = 1_024;

/// What was found out about rooms beside the bus.
#[derive(Debug)]
pub(super) enum Finding {
    /// The log of a topic has more than was published here.
    Lags(Topic),
    /// What the log of a topic has after a position.
    Log(Topic, u64, Result<Tail>),
    /// A user joined a room, by the event of that position.
    Joined(UserKey, RoomKey, u64),
    /// There is no such room any more.
    Gone(Topic),
}

/// What a room's log has after a position.
#[derive(Debug)]
pub(super) enum Tail {
    /// These events; `end` is the newest position.
    Events { events: Vec<Event>, end: u64 },
    /// Some have been forgotten.
    Pruned { end: u64 },
    /// The room is no more.
    Gone,
}

/// What a publisher works with.
pub struct PublisherParts {
    /// Which node this is.
    pub node: NodeId,
    /// The database.
    pub db: Db,
    /// This node's sessions.
    pub hub: Arc<Hub>,
    /// The other nodes.
    pub bus: Arc<dyn Bus>,
    /// What is kept for readers who come back.
    pub hot: Arc<Hot>,
    /// The search index.
    pub indexer: Arc<Indexer>,
    /// Renewals of sessions on other nodes.
    pub renewals: Arc<Renewals>,
    /// Whom users have blocked.
    pub blocks: Arc<Blocks>,
    /// Who types.
    pub typing: Arc<Typing>,
    /// Who is there.
    pub presence: Arc<Presence>,
    /// How far members have got and read.
    pub receipts: Receipts,
    /// How events become bytes.
    pub encoder: Arc<dyn Encoder>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
}

/// The one task that publishes rooms' events.
pub struct Publisher {
    parts: PublisherParts,
    committed: mpsc::Receiver<Vec<Event>>,
    ear: Ear,
    findings: mpsc::Receiver<Finding>,
    found: mpsc::Sender<Finding>,
    agenda: Arc<Agenda>,
    ahead: Ahead,
    repairs: Arc<Semaphore>,
    /// Whether there are other nodes.
    linked: bool,
}

/// What the position check needs of the publisher.
pub struct Links {
    pub(super) found: mpsc::Sender<Finding>,
    pub(super) agenda: Arc<Agenda>,
}

impl Publisher {
    /// Publishes what arrives on `committed` and `ear`.
    pub fn new(parts: PublisherParts, committed: mpsc::Receiver<Vec<Event>>, ear: Ear) -> (Self, Links) {
        let (found, findings) = mpsc::channel(FINDINGS);
        let agenda = Arc::new(Agenda::default());
        let links = Links { found: found.clone(), agenda: agenda.clone() };
        let linked = !matches!(parts.bus.health(), Health::Alone | Health::Silent);
        let (ahead, repairs) = (Ahead::default(), Arc::new(Semaphore::new(REPAIRS)));
        (Self { parts, committed, ear, findings, found, agenda, ahead, repairs, linked }, links)
    }

    /// Publishes until the log is closed.
    pub async fn run(mut self) {
        loop {
            let due = self.ahead.due();
            tokio::select! {
                committed = self.committed.recv() => match committed {
                    Some(events) => self.committed(events),
                    None => return,
                },
                Some(heard) = self.ear.next() => self.heard(heard),
                Some(finding) = self.findings.recv() => self.found(finding),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.read_logs(),
            }
        }
    }

    /// Events of this node's own commits.
    fn committed(&mut self, events: Vec<Event>) {
        self.parts.indexer.note(&events);
        let mut rooms: IndexMap<RoomKey, Vec<Event>> = IndexMap::new();
        for event in events {
            rooms.entry(event.room.clone()).or_default().push(event);
        }
        for (room, events) in rooms {
            let topic = topic(&room);
            for piece in pieces(&events, &*self.parts.encoder) {
                self.tell(&topic, &room, &piece);
                self.deliver(&topic, piece);
            }
        }
    }

    /// Tells other nodes: whoever follows the room, and the users who joined it.
    fn tell(&self, topic: &Topic, room: &RoomKey, piece: &Piece) {
        if !self.linked {
            return;
        }
        let (bus, node) = (&self.parts.bus, self.parts.node);
        let channel = names::of_topic(topic);
        let keep = piece.size() <= KEPT_BYTES;
        if !keep || piece.marks().iter().any(Mark::is_change) {
            // What is kept has a hole now, or shows something as it is no more.
            bus.forget(&channel);
        }
        bus.publish(&channel, Bulletin::Events(piece.clone()).encode(node), keep);
        for (position, mark) in piece.marked() {
            if let Mark::Joined(user) = mark {
                let user = room.user(user);
                let channel = names::of_user(&user);
                let joined = Bulletin::Joined { user, room: room.clone(), position };
                bus.publish(&channel, joined.encode(node), false);
            }
        }
    }

    fn heard(&mut self, heard: Heard) {
        self.parts.receipts.heard(&heard);
        match heard {
            Heard::Message(channel, payload) => match Bulletin::decode(&payload) {
                Some((origin, _)) if origin == self.parts.node => {}
                Some((origin, bulletin)) => self.read(origin, &channel, bulletin),
                None => tracing::debug!(%channel, "a node told what this one does not understand"),
            },
            Heard::Watching(channels) => {
                let topics = channels.iter().filter_map(|channel| match names::subject(channel) {
                    names::Subject::Topic(topic) => Some(topic),
                    names::Subject::User | names::Subject::Other => None,
                });
                let topics: Vec<Topic> = topics.collect();
                self.agenda.look_at(topics.iter().cloned());
                self.parts.presence.hears(topics);
            }
            Heard::Up | Heard::Down => {
                self.agenda.look_at_all();
                self.parts.presence.doubt();
            }
            Heard::Lost => {
                self.agenda.look_at_all_soon();
                self.parts.presence.doubt();
            }
            // Other nodes find events and presence by themselves.
            Heard::Unsent => {}
        }
    }

    /// What another node tells.
    fn read(&mut self, origin: NodeId, channel: &str, bulletin: Bulletin) {
        match bulletin {
            Bulletin::Events(piece) => {
                if let names::Subject::Topic(topic) = names::subject(channel)
                    && self.parts.hub.head(&topic).is_some()
                {
                    self.deliver(&topic, piece);
                }
            }
            Bulletin::Notice(notice) => self.notice(origin, notice),
            Bulletin::Joined { user, room, position } => self.found(Finding::Joined(user, room, position)),
            Bulletin::Renew { user, session, expires_at } => {
                self.parts.renewals.asked(origin, &self.parts.hub, &user, session, expires_at);
            }
            Bulletin::Renewed { session, renewed } => self.parts.renewals.answered(session, renewed),
        }
    }

    /// How another node says that something is.
    fn notice(&self, origin: NodeId, notice: Notice) {
        match notice {
            Notice::Typing { room, user, typing } => self.parts.typing.heard(&room, &user, typing),
            Notice::Presence { room, users } => self.parts.presence.heard(room, users),
            Notice::Devices { user, away } => self.parts.hub.set_all_away(&user, away),
            Notice::Block { user, other } => self.parts.blocks.heard(user, other),
            Notice::Receipts { .. } | Notice::Settings { .. } => self.parts.receipts.noticed(notice),
            Notice::Device { user, session, away, question } => {
                self.parts.presence.asked(origin, &user, session, away, question);
            }
        }
    }

    fn found(&mut self, finding: Finding) {
        match finding {
            Finding::Lags(topic) => self.ahead.read(&topic, false),
            Finding::Log(topic, after, Ok(tail)) => self.read_log(&topic, after, tail),
            // It was logged where it failed.
            Finding::Log(topic, _, Err(_)) => self.ahead.done(&topic, Some(AGAIN)),
            Finding::Joined(user, room, position) => self.enter(&room, &topic(&room), &user.user, position, false),
            Finding::Gone(topic) => match self.parts.hub.head(&topic) {
                // Its last event may be on its way here.
                Some(Some(_)) => self.ahead.read(&topic, self.parts.bus.health().delivers()),
                _ => self.end(&topic),
            },
        }
    }

    /// Gives a piece to all who follow, or lets it wait for what belongs before it.
    fn deliver(&mut self, topic: &Topic, piece: Piece) {
        match self.parts.hub.head(topic) {
            Some(Some(head)) if piece.first() > head + 1 => {
                self.parts.metrics.gaps.inc();
                self.ahead.put(topic, piece, self.parts.bus.health().delivers());
            }
            Some(_) => {
                self.give(topic, &piece);
                while let Some(Some(head)) = self.parts.hub.head(topic)
                    && let Some(next) = self.ahead.next(topic, head)
                {
                    self.give(topic, &next);
                }
            }
            None => {
                self.ahead.forget(topic);
                self.give(topic, &piece);
            }
        }
    }

    /// Gives a piece to all who follow. Who joins follows from just before their joining, who leaves until just after
    /// their leaving.
    fn give(&self, topic: &Topic, piece: &Piece) {
        let room = room_of(topic);
        if let Some(newest) = piece.newest_message() {
            // Before anybody has it: whoever reports it is not to wait for the database.
            self.parts.receipts.reaches(&room, newest);
        }
        let mut start = piece.first();
        for (position, mark) in piece.marked() {
            match mark {
                Mark::Joined(user) => {
                    self.publish(topic, piece, start, position - 1);
                    start = position;
                    let next = !matches!(self.parts.hub.head(topic), Some(Some(head)) if head >= position);
                    self.enter(&room, topic, user, position, next);
                    self.parts.presence.members_changed(topic);
                }
                Mark::Left(user) => {
                    self.publish(topic, piece, start, position);
                    start = position + 1;
                    self.parts.typing.left(&room, user);
                    self.parts.presence.members_changed(topic);
                    self.parts.hub.unfollow(&room.user(user), topic, position, &self.left(&room));
                }
                Mark::Created(_) => self.parts.typing.sent(&room, || piece.batch().frame(position)),
                Mark::Ended => {
                    self.parts.typing.ended(&room);
                    self.publish(topic, piece, start, position);
                    start = position + 1;
                    self.end(topic);
                }
                _ => {}
            }
        }
        self.publish(topic, piece, start, piece.last());
        self.parts.hot.insert(&room, piece);
    }

    /// Gives the events of a piece from one position to another, both included, to all who follow and lack them.
    fn publish(&self, topic: &Topic, piece: &Piece, from: u64, to: u64) {
        if from > to {
            return;
        }
        let reached = self.parts.hub.publish(topic, &piece.batch().part(from, to));
        self.parts.metrics.deliveries.inc_by(reached as u64 * (to - from + 1));
    }

    fn enter(&self, room: &RoomKey, topic: &Topic, user: &UserId, position: u64, next: bool) {
        let joined = RoomResume::at(room.room.clone(), Verdict::Joined, position - 1);
        let frame = self.parts.encoder.frame(&Frame::Resumed(vec![joined]));
        // The verdict goes ahead of the first event: nothing else is published until this returns.
        self.parts.hub.follow(&room.user(user), topic, position, &frame, next);
        self.parts.receipts.joined(room, user);
    }

    fn end(&self, topic: &Topic) {
        self.parts.hub.dissolve(topic, &self.left(&room_of(topic)));
    }

    fn left(&self, room: &RoomKey) -> Bytes {
        frame::left(&*self.parts.encoder, &room.room)
    }

    /// Has the logs read whose missing events did not come by themselves.
    fn read_logs(&mut self) {
        for topic in self.ahead.take_due(Instant::now()) {
            let Some(Some(head)) = self.parts.hub.head(&topic) else {
                self.ahead.forget(&topic);
                continue;
            };
            self.parts.metrics.repairs.inc();
            let (db, found, repairs) = (self.parts.db.clone(), self.found.clone(), self.repairs.clone());
            tokio::spawn(async move {
                // Never closed. Held until the page is taken.
                let Ok(_turn) = repairs.acquire().await else { return };
                let tail = tail(&db, &room_of(&topic), head).await;
                // If nobody takes it, the node is on its way out.
                let _ = found.send(Finding::Log(topic, head, tail)).await;
            });
        }
    }

    /// Publishes what the log has after a position.
    fn read_log(&mut self, topic: &Topic, after: u64, tail: Tail) {
        match tail {
            Tail::Gone => self.end(topic),
            Tail::Pruned { end } => self.parts.hub.skip_to(topic, end),
            Tail::Events { events, end } => {
                let reached = events.last().map_or(after, |event| event.position);
                for piece in pieces(&events, &*self.parts.encoder) {
                    self.deliver(topic, piece);
                }
                if reached < end {
                    return self.ahead.done(topic, Some(Duration::ZERO));
                }
            }
        }
        self.ahead.done(topic, None);
    }
}

/// Events in pieces that fit a reader's queue: a commit may hold far more.
pub(super) fn pieces(mut events: &[Event], encoder: &dyn Encoder) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while !events.is_empty() {
        let (some, rest) = events.split_at(fitting(events, PIECE_BYTES));
        pieces.push(Piece::encode(some, encoder));
        events = rest;
    }
    pieces
}

async fn tail(db: &Db, room: &RoomKey, after: u64) -> Result<Tail> {
    let Some(end) = store::events::end(db, room).await? else { return Ok(Tail::Gone) };
    let last = end.min(after + PAGE_EVENTS);
    Ok(match store::events::read(db, room, after, last.max(after)).await? {
        Some(events) => Tail::Events { events, end },
        None => Tail::Pruned { end },
    })
}
