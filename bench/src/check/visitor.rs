//! A visitor: a member of every room who opens streams on random nodes, closes them, is away and comes back. In the end some
//! stay, and some are gone.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use relay_proto::chat::v1::{PresenceState, SetPresenceRequest, SetPresenceResponse};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    Stage,
    caller::{self, Answer, Caller},
    stream::{News, Opening, Stream},
    violation::Promise,
};

/// How long those who stay may take to be there.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Who is away says so again after this: streams on other nodes cannot be told while Redis is away.
const SAID_AGAIN: Duration = Duration::from_secs(3);

/// A visitor.
pub(super) struct Visitor {
    stage: Arc<Stage>,
    caller: Caller,
    random: Rng,
}

/// How a visitor ends.
pub(super) struct Settled {
    pub(super) user: String,
    pub(super) state: PresenceState,
    /// How often they came.
    pub(super) visits: usize,
    /// The streams that stay open until this is dropped.
    _devices: JoinSet<()>,
}

impl Visitor {
    pub(super) fn new(stage: Arc<Stage>, caller: Caller, random: Rng) -> Self {
        Self { stage, caller, random }
    }

    /// Comes and goes until the load is over, then stays or not.
    pub(super) async fn work(mut self) -> Settled {
        let mut visits = 0;
        while Instant::now() < self.stage.until {
            sleep(Duration::from_millis(self.random.u64(20..1_200))).await;
            visits += self.visit().await;
        }
        let devices = self.random.usize(0..=2);
        let away = devices > 0 && self.random.u8(0..3) == 0;
        let mut tasks = JoinSet::new();
        let mut opened = Vec::new();
        for _ in 0..devices {
            let (tell, told) = watch::channel(false);
            tasks.spawn(stay(self.stage.clone(), self.caller.clone(), self.random.fork(), away, tell));
            opened.push(told);
        }
        for mut one in opened {
            if !matches!(timeout(ARRIVAL, one.wait_for(|there| *there)).await, Ok(Ok(_))) {
                let what = format!("{} could not come in the end", self.caller.user.name);
                self.stage.violations.add(Promise::Progress, what);
            }
        }
        let state = match (devices, away) {
            (0, _) => PresenceState::Offline,
            (_, true) => PresenceState::Away,
            (_, false) => PresenceState::Online,
        };
        Settled { user: self.caller.user.name.clone(), state, visits, _devices: tasks }
    }

    /// One or two devices come, stay for a while, and go. Answers how many came.
    async fn visit(&mut self) -> usize {
        let mut streams = Vec::new();
        for _ in 0..self.random.usize(1..=2) {
            streams.extend(open(&self.stage, &self.caller, &mut self.random).await);
        }
        let visits = streams.len();
        let until = Instant::now() + Duration::from_millis(self.random.u64(1..1_500));
        if self.random.u8(0..4) == 0 {
            set_away(&self.stage, &self.caller, &mut self.random).await;
        }
        for stream in &mut streams {
            let read = async { while !is_over(stream.next().await) {} };
            let _ = timeout(until.saturating_duration_since(Instant::now()), read).await;
        }
        visits
    }
}

/// Keeps a device there, whatever happens to its streams. Says so once it is.
async fn stay(stage: Arc<Stage>, caller: Caller, mut random: Rng, away: bool, there: watch::Sender<bool>) {
    loop {
        if let Some(mut stream) = open(&stage, &caller, &mut random).await {
            let read = async {
                let mut hello = false;
                while !hello {
                    let news = stream.next().await;
                    hello = news.iter().any(|news| matches!(news, News::Hello(_)));
                    if is_over(news) {
                        return;
                    }
                }
                loop {
                    if away {
                        set_away(&stage, &caller, &mut random).await;
                    }
                    there.send_replace(true);
                    let over = async { while !is_over(stream.next().await) {} };
                    if timeout(SAID_AGAIN, over).await.is_ok() {
                        return;
                    }
                }
            };
            read.await;
        }
        sleep(Duration::from_millis(random.u64(50..200))).await;
    }
}

async fn open(stage: &Stage, caller: &Caller, random: &mut Rng) -> Option<Stream> {
    let (held, node) = (BTreeMap::new(), caller.any(random));
    let opening = Opening { held: &held, watch: None, both_ways: random.bool() };
    match Stream::open(&stage.urls[node], &caller.user, opening).await {
        Ok(stream) => Some(stream),
        Err(News::Refused(why)) => {
            let what = format!("{}: the stream was refused: {why}", caller.user.name);
            stage.violations.add(Promise::Contract, what);
            None
        }
        Err(_) => None,
    }
}

/// All devices of the visitor that are there now are not in use.
async fn set_away(stage: &Stage, caller: &Caller, random: &mut Rng) {
    let request = SetPresenceRequest { state: PresenceState::Away.into(), ..Default::default() };
    let answer: Option<Answer<SetPresenceResponse>> = caller.call(random, caller::SET_PRESENCE, &request).await;
    let name = &caller.user.name;
    match answer.map(|answer| answer.result) {
        Some(Ok(_)) => {}
        // Other nodes cannot be told now. Who stays says it again.
        Some(Err(refusal)) if refusal.reason == "SESSION_NOT_FOUND" => {}
        Some(Err(refusal)) => {
            stage.violations.add(Promise::Contract, format!("{name} may not be away: {}", refusal.text));
        }
        None => stage.violations.add(Promise::Progress, format!("SetPresence of {name} was not answered")),
    }
}

fn is_over(news: Vec<News>) -> bool {
    news.into_iter().any(|news| matches!(news, News::Over(_) | News::Refused(_)))
}
