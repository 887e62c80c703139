//! The position check: what the bus lost is found in the database.
//!
//! It compares where the rooms that anybody here follows stand in the database with where they stand here, in one
//! statement for all of them: every `chat.check_interval` while the bus delivers, every `chat.check_interval_alone` while
//! it does not, and whenever the bus begins to deliver something. In the same way it looks for users who joined rooms.
//!
//! A node that is cut off from the bus is not heard by the others, and they do not know. So it says so in the database, and
//! all look there, one row by its key, every `chat.check_interval_alone`: as long as one is cut off, all compare as often.

use std::{collections::HashSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    publish::{Finding, Links},
    room_of, store, topic,
};
use crate::{
    bus::{Bus, Health},
    clock::{Clock, Timestamp},
    db::Db,
    error::Result,
    hub::{Hub, Topic},
    telemetry::Metrics,
};

/// Joinings read at once.
const PAGE_JOININGS: u64 = 1_000;
/// How far back joinings are looked for, beside the time since they were looked for: as long as a transaction may take to
/// be committed after its time was taken, with the difference of nodes' clocks.
const OVERLAP: Duration = Duration::from_secs(30);
/// What begins to be delivered within this time is looked up together.
const GATHER: Duration = Duration::from_millis(20);

/// How often the positions are compared.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// While the bus delivers.
    pub interval: Duration,
    /// While it does not.
    pub interval_alone: Duration,
}

/// The one task that compares.
pub struct Watch {
    options: WatchOptions,
    db: Db,
    hub: Arc<Hub>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    found: mpsc::Sender<Finding>,
    agenda: Arc<Agenda>,
    /// Joinings before this were seen.
    joined_until: Timestamp,
    /// When they were looked for last.
    joined_at: Instant,
    /// The last look failed: all is to be looked at again soon.
    failed: bool,
    /// What a node that is cut off said last, and until when it is believed to be so.
    unlinked: Option<Timestamp>,
    unlinked_until: Instant,
    /// When that was last looked for.
    looked: Instant,
}

/// What is to be looked at before its time: of each topic it is said once, however often the bus says so.
#[derive(Default)]
pub(super) struct Agenda {
    due: Mutex<Due>,
    changed: Notify,
}

/// What to look at.
#[derive(Default)]
struct Due {
    all: bool,
    topics: HashSet<Topic>,
    users: bool,
}

impl Agenda {
    /// What happens on these topics is heard from now on, and what happens to some users: channels that are no topics are
    /// theirs.
    pub(super) fn look_at(&self, topics: impl Iterator<Item = Topic>) {
        {
            let mut due = self.due.lock();
            due.users = true;
            due.topics.extend(topics);
        }
        self.changed.notify_one();
    }

    /// Users' channels are heard, and it was too soon to look.
    fn look_for_users_soon(&self) {
        self.due.lock().users = true;
    }

    /// Something was lost; it may be again and again.
    pub(super) fn look_at_all_soon(&self) {
        self.due.lock().all = true;
    }

    /// The bus went or came.
    pub(super) fn look_at_all(&self) {
        self.due.lock().all = true;
        self.changed.notify_one();
    }

    fn take(&self) -> Due {
        std::mem::take(&mut *self.due.lock())
    }
}

impl Due {
    fn is_something(&self) -> bool {
        self.all || self.users || !self.topics.is_empty()
    }
}

impl Watch {
    /// Tells the publisher that `links` came from what it finds.
    pub fn new(
        options: WatchOptions,
        db: Db,
        hub: Arc<Hub>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        links: Links,
    ) -> Self {
        let Links { found, agenda } = links;
        let (joined_until, unlinked_until) = (clock.now(), Instant::now());
        Self {
            options,
            db,
            hub,
            bus,
            clock,
            metrics,
            found,
            agenda,
            joined_until,
            joined_at: unlinked_until,
            failed: false,
            unlinked: None,
            unlinked_until,
            looked: unlinked_until,
        }
    }

    /// Compares until `stop`. A node that is alone has nothing to compare.
    pub async fn run(mut self, stop: CancellationToken) {
        if self.bus.health() == Health::Alone {
            return stop.cancelled().await;
        }
        let mut last = Instant::now();
        while let Some(due) = stop.run_until_cancelled(self.next(last)).await {
            if due.all {
                last = Instant::now();
            }
            // It was logged where it failed.
            self.failed = self.check(due).await.is_err();
        }
    }

    /// Waits until there is something to look at.
    async fn next(&mut self, last: Instant) -> Due {
        loop {
            let look = self.looked + self.options.interval_alone;
            let early = tokio::time::timeout_at(look, async {
                self.agenda.changed.notified().await;
                tokio::time::sleep(GATHER).await;
            });
            // Also where something is due again and again.
            if early.await.is_err() || Instant::now() >= look {
                self.look_for_unlinked().await;
                self.looked = Instant::now();
            }
            let mut due = self.agenda.take();
            due.all |= last.elapsed() >= self.interval();
            // After a failure all is looked at soon, and this with it. Else it is due now, however the waiting ended.
            if due.all || (due.is_something() && !self.failed) {
                return due;
            }
        }
    }

    /// How often all is looked at, as things are.
    fn interval(&self) -> Duration {
        let calm = self.bus.health().delivers() && !self.failed && Instant::now() >= self.unlinked_until;
        if calm { self.options.interval } else { self.options.interval_alone }
    }

    /// Finds out whether a node is cut off from the bus, and says so if it is this one.
    async fn look_for_unlinked(&mut self) {
        let found = match self.bus.health() {
            // Without Redis all look as often anyway.
            Health::Alone | Health::Silent => return,
            Health::Up => store::links::unlinked(&self.db).await,
            Health::Down | Health::Deaf => {
                let now = self.clock.now();
                store::links::say_unlinked(&self.db, now).await.map(|()| Some(now))
            }
        };
        // It was logged where it failed. Without the database there is nothing to compare either.
        if let Ok(found) = found
            && found != self.unlinked
        {
            self.unlinked = found;
            self.unlinked_until = Instant::now() + 3 * self.options.interval_alone;
        }
    }

    async fn check(&mut self, due: Due) -> Result<()> {
        let topics = if due.all { self.hub.topics() } else { due.topics.into_iter().collect() };
        if due.all || self.joined_at.elapsed() >= self.options.interval_alone / 4 {
            if due.all || due.users {
                self.joined_at = Instant::now();
                self.check_joinings().await?;
            }
        } else if due.users {
            // In a rush of streams not for each: they are looked for with what is due next.
            self.agenda.look_for_users_soon();
        }
        self.check_positions(topics).await
    }

    /// One statement for all topics.
    async fn check_positions(&self, topics: Vec<Topic>) -> Result<()> {
        if topics.is_empty() {
            return Ok(());
        }
        self.metrics.checks.inc();
        let rooms: Vec<_> = topics.iter().map(room_of).collect();
        let mut gone: HashSet<Topic> = topics.into_iter().collect();
        for (room, last) in store::rooms::positions(&self.db, &rooms).await? {
            let topic = topic(&room);
            gone.remove(&topic);
            if self.hub.observe(&topic, last) {
                self.tell(Finding::Lags(topic)).await;
            }
        }
        for topic in gone {
            self.tell(Finding::Gone(topic)).await;
        }
        Ok(())
    }

    /// Finds users of this node who joined rooms by another, since this was last looked at.
    async fn check_joinings(&mut self) -> Result<()> {
        let started = self.clock.now();
        let mut since = self.joined_until.min(started).minus(OVERLAP);
        loop {
            let page = store::events::joinings(&self.db, since, PAGE_JOININGS).await?;
            let full = page.len() as u64 == PAGE_JOININGS;
            let last = page.last().map(|joining| joining.at);
            for joining in page {
                let user = joining.room.user(&joining.user);
                if self.hub.lacks(&user, &topic(&joining.room)) {
                    self.tell(Finding::Joined(user, joining.room, joining.position)).await;
                }
            }
            match last.filter(|_| full) {
                // Those of one moment may be more than a page: then go on after it, rather than never.
                Some(last) if last > since => since = last,
                Some(last) => since = Timestamp(last.0 + 1),
                None => break,
            }
        }
        self.joined_until = started;
        Ok(())
    }

    async fn tell(&self, finding: Finding) {
        // If nobody takes it, the node is on its way out.
        let _ = self.found.send(finding).await;
    }
}
