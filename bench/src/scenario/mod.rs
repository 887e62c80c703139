//! What is measured.

mod audience;
mod fanout;
mod idle;
mod load;
mod sends;

use std::time::Duration;

use crate::{
    args::{Args, Scope},
    error::{Error, in_time},
    report::{self, Report},
};

/// The most loads that a scenario has.
const LOADS: u32 = 10;
/// What a scenario may take beside its loads: connecting, settling.
const BESIDE: Duration = Duration::from_secs(300);

/// Runs the scenarios that were asked for, one after the other, each within a limit of time.
pub(crate) async fn run(args: &Args, report: &mut Report) -> Result<(), Error> {
    let limit = (args.warm_up + args.measure) * LOADS + BESIDE;
    if args.relay.is_none() {
        report::say("without Relay: there is no program to start")?;
    }
    if args.scope.has(Scope::Fanout) {
        in_time("the end of fan-out", limit, fanout::run(args, report)).await?;
    }
    if args.scope.has(Scope::Sends) {
        in_time("the end of sends", limit, sends::run(args, report)).await?;
    }
    if args.scope.has(Scope::Idle) {
        in_time("the end of idle", limit, idle::run(args, report)).await?;
    }
    Ok(())
}
