//! A subscriber: keeps a stream open, and writes down what comes. A restless one stops reading for a while, or moves to
//! another node with its positions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use relay_sdk::Client;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Stage,
    cast::User,
    stream::{News, Stream},
    view::View,
    violation::Promise,
};

/// How long one that has everything listens on: what is delivered twice may come late.
const GRACE: Duration = Duration::from_millis(300);

/// Where every subscriber must arrive.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    pub(super) rooms: BTreeMap<String, RoomEnd>,
    pub(super) deadline: Instant,
}

/// How a room ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoomEnd {
    pub(super) position: u64,
    pub(super) seq: u64,
    pub(super) members: BTreeSet<String>,
}

/// A subscriber.
pub(super) struct Subscriber {
    pub(super) stage: Arc<Stage>,
    pub(super) user: Arc<User>,
    pub(super) view: View,
    /// Clients of the SDK for each node, if it uses it.
    pub(super) sdk: Vec<Client>,
    /// The one node that it uses; `None`: any.
    pub(super) node: Option<usize>,
    pub(super) restless: bool,
    pub(super) random: Rng,
}

impl Subscriber {
    /// Follows until it is where the goal says, or the goal's deadline is over.
    pub(super) async fn follow(mut self, mut goal: watch::Receiver<Option<Goal>>) -> View {
        loop {
            let over = async {
                loop {
                    let now = goal.borrow_and_update().clone();
                    match now {
                        Some(goal) => break sleep_until(goal.deadline).await,
                        None if goal.changed().await.is_err() => break,
                        None => {}
                    }
                }
            };
            let goals = self.stage.goal.subscribe();
            tokio::select! {
                () = over => return self.view,
                arrived = self.one_stream(goals) => if arrived { return self.view },
            }
        }
    }

    /// Whether it arrived before the stream ended.
    async fn one_stream(&mut self, mut goal: watch::Receiver<Option<Goal>>) -> bool {
        let node = self.node.unwrap_or_else(|| self.random.usize(0..self.stage.urls.len()));
        self.view.opening(node);
        let mut stream = match self.open(node).await {
            Ok(stream) => stream,
            Err(news) => {
                self.take(news);
                sleep(Duration::from_millis(self.random.u64(30..200))).await;
                return false;
            }
        };
        let mut disruption = self.next_disruption();
        let mut arrived: Option<Instant> = None;
        loop {
            if arrived.is_none() && goal.borrow().as_ref().is_some_and(|goal| self.is_there(goal)) {
                arrived = Some(Instant::now() + GRACE);
            }
            let settled = goal.borrow().is_some();
            tokio::select! {
                news = stream.next() => {
                    for news in news {
                        if self.take(news) {
                            return false;
                        }
                    }
                }
                _ = goal.changed(), if !settled => {}
                () = sleep_until(arrived.unwrap_or_else(Instant::now)), if arrived.is_some() => return true,
                () = sleep_until(disruption), if self.restless && !settled && disruption < self.stage.until => {
                    if self.random.bool() {
                        self.view.note("moves".into());
                        return false;
                    }
                    let pause = Duration::from_millis(self.random.u64(200..2_500));
                    self.view.note(format!("stops reading for {pause:?}"));
                    sleep(pause).await;
                    disruption = self.next_disruption();
                }
            }
        }
    }

    async fn open(&self, node: usize) -> Result<Stream, News> {
        match self.sdk.get(node) {
            Some(client) => Ok(Stream::open_by_sdk(client, &self.view.held)),
            None => Stream::open(&self.stage.urls[node], &self.user, &self.view.held).await,
        }
    }

    /// Takes in what came. Answers whether the stream is over.
    fn take(&mut self, news: News) -> bool {
        match news {
            News::Opened => self.view.opened_again(),
            News::Verdict(room, verdict, position) => self.view.verdict(&room, verdict, position),
            News::Event { room, position, previous, event } => self.view.event(&room, position, previous, event),
            News::Carried(room, position) => self.view.heartbeat(&room, position),
            News::Word(word) => self.view.note(word),
            News::Skipped => {
                self.stage.violations.add(Promise::Lost, format!("{}: the stream skipped something", self.view.at()));
            }
            News::Over(why) => {
                self.view.note(why);
                return true;
            }
            News::Refused(why) => {
                let what = format!("{}: the stream was refused: {why}", self.view.at());
                self.stage.violations.add(Promise::Contract, what);
                return true;
            }
        }
        false
    }

    fn is_there(&self, goal: &Goal) -> bool {
        goal.rooms.iter().all(|(room, end)| match self.view.held.get(room) {
            Some(held) => end.members.contains(&self.user.name) && *held >= end.position,
            None => !end.members.contains(&self.user.name),
        })
    }

    fn next_disruption(&mut self) -> Instant {
        Instant::now() + Duration::from_millis(self.random.u64(300..2_500))
    }
}
