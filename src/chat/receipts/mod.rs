//! Receipts: how far the members of a room have got and read.
//!
//! # Contract
//! - A member has two cursors in a room. They never go back, and never pass the room's newest message.
//! - What is reported waits in memory, for each member the greatest, and is written each `chat.receipt_interval` by one
//!   statement for all: at most one row update a member and room in that time, however much is reported. A clean stop
//!   writes what waits; a crash may lose it, and clients report it again.
//! - Who reads through this node sees what waits here as if it were written.
//! - What moved is told after it is on disk: to the followers of the room, at most 100 cursors in a frame; and to
//!   the user's own streams, as their whole standing in the room. Neither is in the log: a frame that is not read in time is
//!   replaced by the next one.
//! - Other nodes are told over the bus, also of settings, and of users who are blocked. What it may have lost is told again
//!   when it is back, and a node that was away tells its readers that something is missing. Nodes without a bus are not told: their streams hear of receipts that
//!   were reported to their own node alone, and everybody who asks gets what is on disk.
//!
//! | file      | job                                                              |
//! |-----------|------------------------------------------------------------------|
//! | `state`   | what cursors, settings and memberships are                       |
//! | `pending` | what is reported and not on disk yet                             |
//! | `heads`   | up to where rooms go, so that most reports ask no database       |
//! | `flush`   | the task that writes                                             |
//! | `tell`    | what moved goes to followers, here and on other nodes            |
//! | `untold`  | what other nodes may have missed                                 |
//! | `devices` | the task that tells users how they stand, on all their streams   |
//! | `calls`   | what callers ask for                                             |

mod calls;
mod devices;
mod flush;
mod heads;
mod pending;
mod state;
mod tell;
mod untold;

use std::{sync::Arc, time::Duration};

pub use devices::Devices;
pub use flush::Flusher;
use parking_lot::Mutex;
pub(super) use pending::{Reported, View};
pub(super) use state::MAX_MENTIONS_SHOWN;
pub use state::{Cursors, Membership, MessageStatus, RoomSettings, SettingsChange};

use self::{devices::Stale, heads::Heads, pending::Pending, untold::Untold};
use super::{
    bulletin::NodeId,
    event::{Event, EventBody},
    frame::Encoder,
    gather::Gather,
    notice::Teller,
    store, topic,
};
use crate::{
    bus::Bus,
    db::Db,
    error::{Error, Result},
    hub::{Hub, Session},
    id::{RoomKey, UserId, UserKey},
    telemetry::Metrics,
};

/// The most cursors in one frame.
const MAX_TOLD: usize = 100;
/// Memberships in one frame.
const MEMBERSHIPS_PER_FRAME: usize = 500;

/// The limits of receipts.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptOptions {
    /// How often they are written.
    pub interval: Duration,
    /// Members whose cursors wait to be written.
    pub queue: usize,
}

/// What receipts work with.
pub struct ReceiptParts {
    /// Which node this is.
    pub node: NodeId,
    /// The database.
    pub db: Db,
    /// This node's sessions.
    pub hub: Arc<Hub>,
    /// The other nodes.
    pub bus: Arc<dyn Bus>,
    /// How frames become bytes.
    pub encoder: Arc<dyn Encoder>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// A handle on receipts; clones share them.
#[derive(Clone)]
pub struct Receipts {
    shared: Arc<Shared>,
    states: Arc<Gather<UserKey, Vec<Membership>>>,
}

struct Shared {
    options: ReceiptOptions,
    db: Db,
    hub: Arc<Hub>,
    encoder: Arc<dyn Encoder>,
    metrics: Arc<Metrics>,
    teller: Teller,
    pending: Pending,
    heads: Heads,
    untold: Mutex<Untold>,
    stale: Stale,
}

impl Receipts {
    /// Receipts, with the task that writes them and the one that tells users how they stand.
    pub fn new(options: ReceiptOptions, parts: ReceiptParts) -> (Self, Flusher, Devices) {
        let ReceiptParts { node, db, hub, bus, encoder, metrics } = parts;
        let reads = db.clone();
        let states = Gather::start(move |users: Vec<UserKey>| {
            let db = reads.clone();
            Box::pin(async move { store::receipts::states_of(&db, &users).await })
        });
        let shared = Arc::new(Shared {
            options,
            db,
            hub,
            encoder,
            metrics,
            teller: Teller::new(node, bus),
            pending: Pending::new(options.queue),
            heads: Heads::new(),
            untold: Mutex::new(Untold::new(options.queue)),
            stale: Stale::default(),
        });
        let (flusher, devices) = (Flusher::new(shared.clone()), Devices::new(shared.clone()));
        (Self { shared, states: Arc::new(states) }, flusher, devices)
    }

    /// Takes in cursors of a member, which the room reaches.
    ///
    /// # Errors
    /// OVERLOADED.
    fn report(&self, room: &RoomKey, user: &UserId, cursors: Cursors) -> Result<()> {
        match self.shared.pending.report(room, user, cursors) {
            true => Ok(()),
            false => Err(Error::overloaded("more receipts wait to be written than the server holds")),
        }
    }

    /// Takes in cursors of a session's user, if no database need be asked: `None`, it must.
    ///
    /// # Errors
    /// OVERLOADED.
    pub fn report_followed(&self, session: &Session, room: &RoomKey, cursors: Cursors) -> Option<Result<()>> {
        // Who follows a room is a member.
        let known = cursors.delivered > 0
            && self.shared.heads.reach(room, cursors.delivered)
            && self.shared.hub.follows(session, &topic(room));
        known.then(|| self.report(room, &session.owner().user, cursors))
    }

    /// Messages were committed here: who sends one has read the room up to it, unless it says otherwise.
    pub(super) fn committed(&self, events: &[Event]) {
        let sent = events.iter().filter_map(|event| match &event.body {
            EventBody::MessageCreated(message) if !message.keeps_unread => {
                Some((&event.room, &message.sender, Cursors::new(message.seq, message.seq)))
            }
            _ => None,
        });
        let mut sent = sent.peekable();
        if sent.peek().is_some() {
            self.shared.pending.keep(sent);
        }
    }

    /// A room has a message with this number.
    pub(super) fn reaches(&self, room: &RoomKey, seq: u64) {
        self.shared.heads.raise(room, seq);
    }

    /// What waits from now on.
    pub(super) fn view(&self) -> View {
        self.shared.pending.view()
    }

    /// Queues how the user of a session that is being opened stands in all the rooms that it follows.
    pub(super) async fn tell_all(&self, session: &Session) -> Result<()> {
        // Before they are looked up: whatever this node may not have heard of since is looked up again.
        session.wants_states();
        let view = self.view();
        let owner = session.owner();
        let mut states = self.states.ask(owner.clone()).await?;
        states = states
            .into_iter()
            .map(|state| {
                let waiting = view.of(&owner.room(state.room.clone()), &owner.user);
                state.raised(waiting)
            })
            .collect();
        self.shared.hub.tell(session, |follows| {
            // The user may have been taken off some since they were looked up, and the client told so.
            states.retain(|state| follows(&topic(&owner.room(state.room.clone()))));
            let frames = states.chunks(MEMBERSHIPS_PER_FRAME);
            frames.map(|some| self.shared.encoder.frame(&super::Frame::Memberships(some.to_vec()))).collect()
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::atomic::{AtomicBool, Ordering},
    };

    use bytes::Bytes;

    use super::*;
    use crate::{
        bus::LocalBus,
        chat::{Frame, message::Message},
        clock::Timestamp,
        config::{self, Overrides},
        hub::{Batch, HubOptions},
        id::ProjectId,
    };

    /// Makes nothing of anything.
    struct Mute;

    impl Encoder for Mute {
        fn frame(&self, _: &Frame) -> Bytes {
            Bytes::new()
        }

        fn events(&self, _: &[Event]) -> Batch {
            Batch::new(1, Bytes::new(), Vec::new())
        }

        fn message(&self, _: &[u8]) -> Option<Message> {
            None
        }
    }

    #[tokio::test]
    async fn a_session_is_told_what_changes_from_before_its_rooms_are_looked_up() {
        let config = config::load(&Overrides::default(), std::iter::empty()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&config.database, folder.path(), Arc::default()).await.unwrap();
        let bus = Arc::new(LocalBus::Alone);
        let options = HubOptions {
            queue_bytes: 1_000,
            max_streams_per_user: 1,
            heartbeat_interval: Duration::from_secs(15),
            renew_warning: Duration::from_secs(60),
        };
        let hub = Arc::new(Hub::new(options, bus.clone()));
        let ana = UserKey { project: ProjectId::stored("p".into()), user: UserId::stored("ana".into()) };
        let session = hub.open(ana, Timestamp(0), Timestamp(0), |_| Bytes::new()).unwrap();
        let node = NodeId::nil();
        let parts = ReceiptParts { node, db, hub, bus, encoder: Arc::new(Mute), metrics: Arc::default() };
        let (mut receipts, ..) = Receipts::new(ReceiptOptions { interval: Duration::from_secs(1), queue: 1 }, parts);
        let (looked_up, early) = (session.clone(), Arc::new(AtomicBool::new(false)));
        let seen = early.clone();
        receipts.states = Arc::new(Gather::start(move |_| {
            seen.store(looked_up.has_states(), Ordering::Relaxed);
            Box::pin(async { Ok(HashMap::new()) })
        }));
        receipts.tell_all(&session).await.unwrap();
        assert!(early.load(Ordering::Relaxed));
    }
}
