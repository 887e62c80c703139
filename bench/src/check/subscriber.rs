//! A subscriber: keeps a stream open, and writes down what comes. A restless one stops reading for a while, or moves to
//! another node with its positions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use relay_proto::{
    chat::v1::UpdateReceiptsRequest,
    error::v1::{Error as WireError, ErrorReason},
};
use relay_sdk::Client;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Stage,
    cast::User,
    receipt::Cursor,
    stream::{News, Opening, Stream},
    view::View,
    violation::Promise,
    words::LastWords,
};

/// How long one that has everything listens on: what is delivered twice may come late.
const GRACE: Duration = Duration::from_millis(300);

/// Where every subscriber must arrive.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    pub(super) rooms: BTreeMap<String, RoomEnd>,
    /// What streams must have said by then.
    pub(super) last: LastWords,
    pub(super) deadline: Instant,
    /// Those who have arrived may go: until then each is there for the others to see.
    pub(super) over: bool,
}

impl Goal {
    /// To have all of these rooms, and to go.
    pub(super) fn of_rooms(rooms: BTreeMap<String, RoomEnd>, deadline: Instant) -> Self {
        Self { rooms, last: LastWords::default(), deadline, over: true }
    }
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
    /// It opens its streams by Connect, and reports over them what it has got.
    pub(super) both_ways: bool,
    pub(super) has_arrived: bool,
    /// What its stream has not said yet that it must.
    pub(super) lack: Option<String>,
    pub(super) random: Rng,
}

impl Subscriber {
    /// One that subscribes over the wire, to any node, and stays there.
    pub(super) fn new(stage: Arc<Stage>, user: Arc<User>, view: View) -> Self {
        let random = Rng::with_seed(0);
        let (sdk, node, restless, both_ways) = (Vec::new(), None, false, false);
        Self { stage, user, view, sdk, node, restless, both_ways, random, has_arrived: false, lack: None }
    }

    /// Follows until it is where the goal says, or the goal's deadline is over.
    pub(super) async fn follow(mut self, mut goal: watch::Receiver<Option<Goal>>) -> View {
        loop {
            let over = async {
                loop {
                    let now = goal.borrow_and_update().clone();
                    let deadline = now.as_ref().map_or_else(Instant::now, |goal| goal.deadline);
                    tokio::select! {
                        () = sleep_until(deadline), if now.is_some() => break,
                        changed = goal.changed() => if changed.is_err() { break },
                    }
                }
            };
            let goals = self.stage.goal.subscribe();
            tokio::select! {
                () = over => {
                    if let Some(lack) = self.lack.take().filter(|_| !self.has_arrived) {
                        let what = format!("{}: in the end {lack}", self.view.at());
                        self.stage.violations.add(Promise::Agreement, what);
                    }
                    return self.view;
                }
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
        let mut report = self.next_report();
        let mut arrived: Option<Instant> = None;
        loop {
            let (settled, over) = goal.borrow().as_ref().map_or((false, false), |goal| (true, goal.over));
            if arrived.is_none() && goal.borrow().as_ref().is_some_and(|goal| self.is_there(goal)) {
                arrived = Some(Instant::now() + GRACE);
                self.arrive();
            }
            tokio::select! {
                news = stream.next() => {
                    for news in news {
                        if self.take(news) {
                            return false;
                        }
                    }
                }
                _ = goal.changed(), if !over => {}
                () = sleep_until(arrived.unwrap_or_else(Instant::now)), if over && arrived.is_some() => return true,
                () = sleep_until(report), if stream.has_way_up() && report < self.stage.until => {
                    self.report(&stream);
                    report = self.next_report();
                }
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
            None => {
                let rooms = || self.stage.cast.rooms.iter().map(|room| room.id.clone()).collect();
                let watch = self.view.words.watches.then(rooms);
                let opening = Opening { held: &self.view.held, watch, both_ways: self.both_ways };
                Stream::open(&self.stage.urls[node], &self.user, opening).await
            }
        }
    }

    /// Reports what it has got of a room, by a frame.
    fn report(&mut self, stream: &Stream) {
        let rooms = &self.stage.cast.rooms;
        let room = rooms[self.random.usize(0..rooms.len())].id.clone();
        let newest = self.stage.receipts.newest(&self.user.name, &room);
        if newest == 0 {
            return;
        }
        let read = if self.random.bool() { newest } else { self.random.u64(0..=newest) };
        let cursor = Cursor { delivered: newest, read };
        let place = self.stage.receipts.reporting(&self.user.name, &room, cursor, true);
        let request = UpdateReceiptsRequest { room_id: room, delivered_seq: newest, read_seq: read };
        stream.report(place.to_string(), request);
    }

    fn reported(&self, id: &str, error: Option<WireError>) {
        let what = match (id.parse(), error) {
            (Ok(place), None) => return self.stage.receipts.reported(place),
            // It may be tried again: the next report says more anyway.
            (Ok(_), Some(error)) if error.retry_after.is_some() => return,
            // A guest may have been removed meanwhile.
            (Ok(_), Some(error)) if !self.view.steady && is_outside(&error) => return,
            (_, error) => format!("{}: report {id} was answered with {error:?}", self.view.at()),
        };
        self.stage.violations.add(Promise::Contract, what);
    }

    /// Takes in what came. Answers whether the stream is over.
    fn take(&mut self, news: News) -> bool {
        match news {
            News::Opened => self.view.opened_again(),
            News::Hello(session) => {
                self.view.words.opened();
                self.view.note(format!("session {session}"));
            }
            News::Receipts(changed) => {
                let at = self.view.at();
                let node = self.view.node();
                self.view.words.receipts(&self.stage, (&at, node), changed);
            }
            News::Memberships(changed) => {
                let at = self.view.at();
                self.view.words.memberships(&self.stage, &at, &changed);
            }
            News::Presence(told) => self.view.words.presence(told),
            News::RoomPresence(told) => {
                let at = self.view.at();
                self.view.words.room_presence(&self.stage, &at, told);
            }
            News::Reported(id, error) => self.reported(&id, error),
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

    fn is_there(&mut self, goal: &Goal) -> bool {
        let has_all = goal.rooms.iter().all(|(room, end)| match self.view.held.get(room) {
            Some(held) => end.members.contains(&self.user.name) && *held >= end.position,
            None => !end.members.contains(&self.user.name),
        });
        // Once they may go, presence changes.
        if !goal.over {
            self.lack = self.lacks(goal);
        }
        has_all && self.lack.is_none()
    }

    /// What its stream has not said yet.
    fn lacks(&self, goal: &Goal) -> Option<String> {
        let own = goal.rooms.iter().filter(|(_, end)| end.members.contains(&self.user.name));
        let rooms = own.map(|(room, end)| (room.clone(), end.members.clone())).collect();
        self.view.words.lacks(&goal.last, &self.user.name, &rooms)
    }

    /// Says once that it has arrived.
    fn arrive(&mut self) {
        if !std::mem::replace(&mut self.has_arrived, true) {
            self.stage.arrived.send_modify(|arrived| *arrived += 1);
        }
    }

    fn next_report(&mut self) -> Instant {
        Instant::now() + Duration::from_millis(self.random.u64(20..500))
    }

    fn next_disruption(&mut self) -> Instant {
        Instant::now() + Duration::from_millis(self.random.u64(300..2_500))
    }
}

/// Whether it says that the caller is not in the room.
fn is_outside(error: &WireError) -> bool {
    matches!(error.reason(), ErrorReason::NotAMember | ErrorReason::RoomNotFound)
}
