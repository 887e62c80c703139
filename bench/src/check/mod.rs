//! `check`: proves on a deployment under load and faults that nothing acknowledged is lost, doubled or put out of order.

mod archive;
mod args;
mod brief;
mod caller;
mod cast;
mod closing;
mod fault;
mod guest;
mod judge;
mod lane;
mod lane_judge;
mod ledger;
mod member;
mod play;
mod reader;
mod receipt;
mod receipt_judge;
mod stream;
mod subscriber;
mod summary;
mod view;
mod violation;
mod visitor;
mod words;
mod world;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fastrand::Rng;
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

pub(crate) use self::args::CheckArgs;
use self::{
    args::{Credentials, HELP},
    caller::Caller,
    cast::{Cast, User},
    fault::FaultKind,
    ledger::Ledger,
    receipt::Receipts,
    subscriber::Goal,
    summary::Figures,
    violation::Violations,
    world::{LANE_WAIT, World},
};
use crate::{error::Error, report::say};

/// What all who take part in a run share.
struct Stage {
    cast: Cast,
    urls: Vec<String>,
    ledger: Ledger,
    receipts: Receipts,
    violations: Violations,
    /// How long a message waits for those before it in its lane. None: it is not known.
    lane_wait: Option<Duration>,
    /// Whether callers hang up in mid-call.
    hangs_up: bool,
    /// Whether its log may have been pruned: then `gap` is an answer.
    may_forget: bool,
    began: Instant,
    /// The end of the load.
    until: Instant,
    goal: watch::Sender<Option<Goal>>,
    /// How many subscribers have everything.
    arrived: watch::Sender<usize>,
}

impl Stage {
    fn caller(&self, user: &Arc<User>) -> Result<Caller, Error> {
        Caller::new(user, &self.urls, self.hangs_up)
    }
}

/// Runs every seed that was asked for.
pub(crate) async fn run(args: &CheckArgs) -> Result<(), Error> {
    if args.help {
        return say(HELP);
    }
    let first = args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    let mut all = Figures::default();
    let mut broken = Vec::new();
    for seed in (first..).take(usize::try_from(args.seeds).unwrap_or(usize::MAX)) {
        let figures = run_seed(args, seed).await?;
        if !figures.is_clean() {
            broken.push(seed);
        }
        all.add(&figures);
    }
    if args.seeds > 1 {
        say(&format!("{} seeds from {first}\n{}", args.seeds, all.table()))?;
    }
    if broken.is_empty() { Ok(()) } else { Err(Error::Broken(broken)) }
}

async fn run_seed(args: &CheckArgs, seed: u64) -> Result<Figures, Error> {
    let repeat = args.repeat(seed);
    say(&format!("seed {seed}: {repeat}"))?;
    let mut random = Rng::with_seed(seed);
    let key = URL_SAFE_NO_PAD.encode([Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat());
    let (world, credentials, urls) = match &args.remote {
        Some(remote) => (None, remote.credentials.clone(), remote.urls.clone()),
        None => {
            let world = World::start(args, &key).await?;
            let urls = world.urls().await;
            (Some(Arc::new(world)), Credentials::Key("server".into(), key), urls)
        }
    };
    let cast = Cast::draw(&mut random, seed, &credentials)?;
    let faults = fault::schedule(&mut random, &args.faults, urls.len(), args.load);
    let began = Instant::now();
    let stage = Arc::new(Stage {
        cast,
        urls,
        ledger: Ledger::default(),
        receipts: Receipts::default(),
        lane_wait: Some(LANE_WAIT).filter(|_| world.is_some() && !args.sets("chat.lane_wait")),
        violations: Violations::default(),
        hangs_up: args.faults.contains(&FaultKind::HangUp),
        may_forget: world.is_none(),
        began,
        until: began + args.load,
        goal: play::no_goal(),
        arrived: watch::Sender::new(0),
    });
    let outcome = play::run(&stage, world.as_ref(), faults, &mut random).await?;
    let figures = Figures::of(&stage, &outcome);
    for one in &outcome.faults {
        let (from, to) = (one.began / 1000, one.ended / 1000);
        say(&format!("  {from:>7} to {to:>7} ms  {}", one.fault.label()))?;
    }
    say(&figures.table())?;
    if !figures.is_clean() {
        let path = summary::save(&args.out, seed, &repeat, &stage, &outcome)?;
        if let Some(world) = &world {
            world.keep_logs(&args.out, &format!("check-{seed}")).await?;
        }
        let found = summary::describe(&stage.violations.all());
        say(&format!("BROKEN, seed {seed}\n{found}  history: {}\n  again: {repeat}", path.display()))?;
    }
    Ok(figures)
}
