//! Users who come and go: each opens a stream, stays a second, closes it, and comes again a second later on another node.
//! Every room of theirs has a watcher who is always there.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use relay_proto::chat::v1::{GetPresenceRequest, GetPresenceResponse, PresenceState, UserPresence, frame};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::NODES;
use crate::{
    error::Error,
    grpc::Call,
    latency::Latencies,
    stamp,
    subject::{Cluster, Relay, frames},
};

/// Members of a room, its watcher beside them.
const MEMBERS: usize = 50;
/// How long a visitor stays, and stays away.
const STAY: Duration = Duration::from_secs(1);
/// How long one that was refused waits.
const AGAIN: Duration = Duration::from_millis(50);
/// How long everything may take to be told right, in the end.
const SETTLE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(250);

/// The users, and the watchers of their rooms.
pub(super) struct Visitors {
    cluster: Arc<Cluster>,
    size: usize,
    tasks: JoinSet<()>,
    stage: watch::Sender<Stage>,
    counts: Arc<Counts>,
    watchers: Vec<Arc<Watcher>>,
    _watching: JoinSet<()>,
}

/// What visitors do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Moving,
    /// Every second one stays, the others are gone.
    Settled,
}

#[derive(Default)]
struct Counts {
    passages: AtomicU64,
    refused: AtomicU64,
    told: AtomicU64,
    /// Visitors who have found their place in the end.
    settled: AtomicU64,
    opening: Mutex<Vec<u64>>,
}

/// The watcher of a room.
struct Watcher {
    user: String,
    members: Vec<usize>,
    /// State and version as its stream told them.
    words: Mutex<HashMap<String, (i32, u64)>>,
}

/// How many came or went, up to a moment.
pub(super) struct Passages {
    count: u64,
    at: Instant,
}

impl Passages {
    /// How many since then, and in how many seconds.
    pub(super) fn since(&self, earlier: &Self) -> (f64, f64) {
        ((self.count - earlier.count) as f64, (self.at - earlier.at).as_secs_f64())
    }
}

/// How it ends.
pub(super) struct Settled {
    /// From the last passage until every answer and stream is right. None: they never were.
    pub(super) after: Option<Duration>,
    pub(super) wrong: usize,
    pub(super) wrong_on_streams: usize,
    pub(super) refused: f64,
    pub(super) told: f64,
    pub(super) opening: Latencies,
}

impl Visitors {
    /// Makes the users and their rooms, and lets the watchers watch.
    pub(super) async fn gather(cluster: &Arc<Cluster>, size: usize) -> Result<Self, Error> {
        let counts = Arc::new(Counts::default());
        let (mut watchers, mut watching) = (Vec::new(), JoinSet::new());
        for first in (0..size).step_by(MEMBERS) {
            let number = first / MEMBERS;
            let (room, user) = (format!("visited-{number}"), format!("watcher{number}"));
            let members: Vec<usize> = (first..size.min(first + MEMBERS)).collect();
            let node = cluster.node(number % NODES)?;
            node.create_room(&user, &room, members.iter().map(|member| name(*member)).collect()).await?;
            let call = node.watch(&user, vec![room]).await?;
            let watcher = Arc::new(Watcher { user, members, words: Mutex::default() });
            watching.spawn(listen(call, watcher.clone(), counts.clone()));
            watchers.push(watcher);
        }
        let stage = watch::Sender::new(Stage::Moving);
        Ok(Self { cluster: cluster.clone(), size, tasks: JoinSet::new(), stage, counts, watchers, _watching: watching })
    }

    /// Lets them come and go.
    pub(super) fn begin(&mut self) {
        let start = Instant::now();
        for number in 0..self.size {
            let first = start + (2 * STAY).mul_f64(number as f64 / self.size as f64);
            let visitor = Visitor {
                cluster: self.cluster.clone(),
                number,
                stage: self.stage.subscribe(),
                counts: self.counts.clone(),
            };
            self.tasks.spawn(visitor.come_and_go(first));
        }
    }

    /// How many came or went so far.
    pub(super) fn passages(&self) -> Passages {
        Passages { count: self.counts.passages.load(Relaxed), at: Instant::now() }
    }

    /// Lets every second one stay, and asks until everybody is told right about.
    pub(super) async fn settle(&mut self) -> Result<Settled, Error> {
        self.stage.send_replace(Stage::Settled);
        let deadline = Instant::now() + SETTLE;
        while self.counts.settled.load(Relaxed) < self.size as u64 && Instant::now() < deadline {
            sleep(LOOK / 10).await;
        }
        let since = Instant::now();
        let deadline = since + SETTLE;
        let (wrong, wrong_on_streams, after) = loop {
            let (wrong, streams) = (self.wrong().await?, self.wrong_on_streams());
            if wrong + streams == 0 {
                break (0, 0, Some(since.elapsed()));
            }
            if Instant::now() > deadline {
                break (wrong, streams, None);
            }
            sleep(LOOK).await;
        };
        let opening = std::mem::take(&mut *self.counts.opening.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Settled {
            after,
            wrong,
            wrong_on_streams,
            refused: self.counts.refused.load(Relaxed) as f64,
            told: self.counts.told.load(Relaxed) as f64,
            opening: Latencies::of(opening),
        })
    }

    /// How many users the nodes tell wrong.
    async fn wrong(&self) -> Result<usize, Error> {
        let mut wrong = 0;
        for node in 0..NODES {
            let node = self.cluster.node(node)?;
            let mut link = node.link().await?;
            for watcher in &self.watchers {
                let user_ids: Vec<String> = watcher.members.iter().map(|member| name(*member)).collect();
                let request = GetPresenceRequest { user_ids };
                let path = "/relay.chat.v1.PresenceService/GetPresence";
                let answer: GetPresenceResponse = link.unary(path, &node.token(&watcher.user)?, &request).await?;
                let told = |member: &usize| {
                    let one = answer.presences.iter().find(|one| one.user_id == name(*member));
                    one.map(UserPresence::state)
                };
                wrong += watcher.members.iter().filter(|member| told(member) != Some(in_the_end(**member))).count();
            }
        }
        Ok(wrong)
    }

    /// How many users streams told wrong last.
    fn wrong_on_streams(&self) -> usize {
        let wrong = |watcher: &Arc<Watcher>| {
            let words = watcher.words.lock().unwrap_or_else(PoisonError::into_inner);
            let told = |member: &usize| words.get(&name(*member)).map_or(PresenceState::Offline.into(), |word| word.0);
            watcher.members.iter().filter(|member| told(member) != i32::from(in_the_end(**member))).count()
        };
        self.watchers.iter().map(wrong).sum()
    }
}

/// A user who comes and goes.
struct Visitor {
    cluster: Arc<Cluster>,
    number: usize,
    stage: watch::Receiver<Stage>,
    counts: Arc<Counts>,
}

impl Visitor {
    async fn come_and_go(mut self, first: Instant) {
        let mut next = first;
        let mut times = self.number / 2;
        loop {
            if self.moving_until(next).await {
                let stay = next + STAY;
                next += 2 * STAY;
                times += 1;
                let Some(mut call) = self.open(times).await else { continue };
                let read = async { while call.read(|_| {}).await.is_ok() {} };
                // One that was kept waiting stays a little all the same.
                let stay = stay.max(Instant::now() + STAY / 10);
                let _ = timeout(stay.saturating_duration_since(Instant::now()), read).await;
                self.counts.passages.fetch_add(1, Relaxed);
                continue;
            }
            if in_the_end(self.number) == PresenceState::Offline {
                self.counts.settled.fetch_add(1, Relaxed);
                return;
            }
            let mut told = false;
            loop {
                let Some(mut call) = self.open(times).await else { continue };
                if !std::mem::replace(&mut told, true) {
                    self.counts.settled.fetch_add(1, Relaxed);
                }
                while call.read(|_| {}).await.is_ok() {}
            }
        }
    }

    /// Waits for the time. False: there is no coming and going any more.
    async fn moving_until(&mut self, next: Instant) -> bool {
        timeout_at(next, self.stage.wait_for(|stage| *stage == Stage::Settled)).await.is_err()
    }

    async fn open(&self, times: usize) -> Option<Call> {
        let node: &Arc<Relay> = self.cluster.node(times % NODES).ok()?;
        let since = stamp::now();
        let opened = node.resume(&node.token(&name(self.number)).ok()?, Vec::new()).await;
        let Ok((call, _)) = opened else {
            self.counts.refused.fetch_add(1, Relaxed);
            sleep(AGAIN).await;
            return None;
        };
        self.counts.passages.fetch_add(1, Relaxed);
        let mut opening = self.counts.opening.lock().unwrap_or_else(PoisonError::into_inner);
        opening.push(stamp::now() - since);
        Some(call)
    }
}

/// Notes what a stream tells of presence.
async fn listen(mut call: Call, watcher: Arc<Watcher>, counts: Arc<Counts>) {
    let note = |one: UserPresence| {
        let mut words = watcher.words.lock().unwrap_or_else(PoisonError::into_inner);
        let known = words.entry(one.user_id).or_default();
        if known.1 <= one.version {
            *known = (one.state, one.version);
        }
    };
    let take = |message: &[u8]| match frames::presence(message) {
        Some(frame::Kind::Presence(changed)) => {
            counts.told.fetch_add(1, Relaxed);
            changed.presence.into_iter().for_each(note);
        }
        Some(frame::Kind::RoomPresence(told)) => told.present.into_iter().for_each(note),
        _ => {}
    };
    while call.read(take).await.is_ok() {}
}

fn in_the_end(member: usize) -> PresenceState {
    if member.is_multiple_of(2) { PresenceState::Online } else { PresenceState::Offline }
}

fn name(member: usize) -> String {
    format!("visitor{member}")
}
