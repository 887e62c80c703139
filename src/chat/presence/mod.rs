//! Who is there: online, away or offline, over all devices of a user and all nodes.
//!
//! The truth is in the database, as everywhere: which devices each user has at which node, and what is told of them. Nodes
//! tell each other of changes on the rooms' channels; what such a word loses, a look at the room makes up for.
//!
//! | file    | job                                                                     |
//! |---------|-------------------------------------------------------------------------|
//! | `user`  | what is told of a user                                                  |
//! | `dirty` | whose presence is to be written                                         |
//! | `flush` | writing it, many users at once, and telling who shares a room with them |
//! | `lease` | saying that this node lives; taking the devices of dead nodes away      |
//! | `rooms` | who of a room is there, for those who watch it                          |
//! | `tell`  | what changed goes to those who watch, in order                          |
//! | `set`   | what callers ask for                                                    |

mod dirty;
mod flush;
mod lease;
mod rooms;
mod set;
mod tell;
mod user;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub(super) use self::dirty::Change;
use self::{
    dirty::Dirty,
    rooms::Looks,
    tell::{Heard, Watched},
};
pub use self::{
    set::{PresenceChange, check_watched},
    user::{Availability, UserPresence},
};
use super::{bulletin::NodeId, frame::Encoder, notice::Teller, renewals::Renewals};
use crate::{
    bus::{Bus, Health},
    clock::Clock,
    db::Db,
    hub::{Attendance, Hub},
    id::UserKey,
};

/// How long a client whose stream the server ended has to come back before it counts as gone.
const COME_BACK: Duration = Duration::from_secs(10);
/// Words of other nodes that wait.
const HEARD: usize = 1_024;

/// Status texts that are written and told at once.
const SETTING: usize = 16;

/// What presence is like.
#[derive(Clone, Copy, Debug)]
pub struct PresenceOptions {
    /// A node that has not said for so long that it lives is dead.
    pub node_lease: Duration,
    /// Who closes their last stream is gone after this.
    pub close_delay: Duration,
    /// In rooms with more members not every change is told.
    pub full_room_members: u64,
    /// How often who is there is told anew, in those.
    pub room_interval: Duration,
}

/// What presence works with.
pub struct PresenceParts {
    /// Which node this is.
    pub node: NodeId,
    /// The database.
    pub db: Db,
    /// This node's sessions.
    pub hub: Arc<Hub>,
    /// The other nodes.
    pub bus: Arc<dyn Bus>,
    /// Questions to the node that has a session.
    pub renewals: Arc<Renewals>,
    /// How it becomes bytes.
    pub encoder: Arc<dyn Encoder>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Who is there.
pub struct Presence {
    options: PresenceOptions,
    node: NodeId,
    db: Db,
    hub: Arc<Hub>,
    bus: Arc<dyn Bus>,
    renewals: Arc<Renewals>,
    encoder: Arc<dyn Encoder>,
    clock: Arc<dyn Clock>,
    teller: Teller,
    /// Whether there are other nodes that can be told.
    linked: bool,
    dirty: Mutex<Dirty>,
    /// One transaction at a time: the database's few connections for writing are there for messages, too.
    writing: Semaphore,
    /// Status texts that are being written and told.
    setting: Arc<Semaphore>,
    /// The node is on its way out: its users are about to come back elsewhere, and who is there stays as it is.
    leaving: AtomicBool,
    looks: Looks,
    watched: Mutex<Watched>,
    heard: mpsc::Sender<Heard>,
    /// Something may have been lost: all rooms that are watched are to be looked at.
    doubt: AtomicBool,
}

/// The task of presence.
pub struct PresenceTask {
    presence: Arc<Presence>,
    heard: mpsc::Receiver<Heard>,
}

impl Presence {
    /// Presence as `options` say, and the task that must run for it.
    pub fn new(options: PresenceOptions, parts: PresenceParts) -> (Arc<Self>, PresenceTask) {
        let PresenceParts { node, db, hub, bus, renewals, encoder, clock } = parts;
        let (heard, hears) = mpsc::channel(HEARD);
        let looks = Looks::start(options, db.clone(), encoder.clone());
        let presence = Arc::new(Self {
            options,
            node,
            teller: Teller::new(node, bus.clone()),
            linked: !matches!(bus.health(), Health::Alone | Health::Silent),
            db,
            hub,
            bus,
            renewals,
            encoder,
            clock,
            dirty: Mutex::default(),
            writing: Semaphore::new(1),
            setting: Arc::new(Semaphore::new(SETTING)),
            leaving: AtomicBool::new(false),
            looks,
            watched: Mutex::default(),
            heard,
            doubt: AtomicBool::new(false),
        });
        (presence.clone(), PresenceTask { presence, heard: hears })
    }

    /// A user's sessions at this node changed.
    pub fn attend(&self, user: &UserKey, what: Attendance) {
        let now = Instant::now();
        match what {
            _ if self.is_leaving() => {}
            Attendance::Opened | Attendance::Changed => self.dirty.lock().changed(user, now),
            Attendance::Closed { by_server, .. } => {
                let delay = if by_server { COME_BACK } else { self.options.close_delay };
                self.dirty.lock().closed(user, now + delay, self.clock.now());
            }
        }
    }

    /// The node is on its way out: from now on nobody's presence changes by what happens here.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
}

impl PresenceTask {
    /// Runs until `stop`. Then the node's users have a while to come back to another.
    pub async fn run(self, stop: CancellationToken) {
        let Self { presence, heard } = self;
        let all = async {
            tokio::join!(presence.flush(), presence.keep_lease(), presence.listen(heard), presence.look_after())
        };
        stop.run_until_cancelled(all).await;
        presence.release().await;
    }
}
