//! What is measured.

mod audience;
mod fanout;
mod idle;
mod load;
mod sends;

use crate::{
    args::{Args, Scope},
    error::Error,
    report::{self, Report},
};

/// Runs the scenarios that were asked for, one after the other.
pub(crate) async fn run(args: &Args, report: &mut Report) -> Result<(), Error> {
    if args.relay.is_none() {
        report::say("without Relay: there is no program to start")?;
    }
    if args.scope.has(Scope::Fanout) {
        fanout::run(args, report).await?;
    }
    if args.scope.has(Scope::Sends) {
        sends::run(args, report).await?;
    }
    if args.scope.has(Scope::Idle) {
        idle::run(args, report).await?;
    }
    Ok(())
}
