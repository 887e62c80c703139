//! What is measured.

mod audience;
mod cross_node;
mod crowd;
mod fanout;
mod fanout_nodes;
mod idle;
mod lanes;
mod listing;
mod load;
mod presence;
mod press;
mod readers;
mod receipts;
mod resume;
mod rooms;
mod search;
mod senders;
mod sends;
mod sends_postgres;
mod turns;
mod visitors;

use std::{path::Path, time::Duration};

use crate::{
    args::Args,
    error::{Error, in_time},
    report::{self, Report},
    scope::Scenario,
    services::{Postgres, Redis, Services},
    subject::Cluster,
};

/// The most loads that a scenario has.
const LOADS: u32 = 32;
/// What a scenario may take beside its loads: connecting, filling, settling.
const BESIDE: Duration = Duration::from_secs(600);
/// How many nodes a cluster has.
const NODES: usize = 2;

/// Runs the scenarios that were asked for, one after the other, each within a limit of time.
pub(crate) async fn run(args: &Args, report: &mut Report) -> Result<(), Error> {
    let limit = (args.warm_up + args.measure) * LOADS + BESIDE;
    if args.relay.is_none() {
        report::say("without Relay: there is no program to start")?;
    }
    let services = Services::of_environment();
    for scenario in Scenario::ALL.into_iter().filter(|scenario| args.scope.has(*scenario)) {
        let what = format!("the end of {}", scenario.name());
        in_time(what, limit, one(scenario, &services, args, report)).await?;
    }
    Ok(())
}

async fn one(scenario: Scenario, services: &Services, args: &Args, report: &mut Report) -> Result<(), Error> {
    match scenario {
        Scenario::Fanout => fanout::run(args, report).await,
        Scenario::Sends => sends::run(args, report).await,
        Scenario::Idle => idle::run(args, report).await,
        _ => with_services(scenario, services, args, report).await,
    }
}

/// The scenarios that have something to leave out.
async fn with_services(scenario: Scenario, services: &Services, args: &Args, report: &mut Report) -> Result<(), Error> {
    let name = scenario.name();
    match (scenario, args.relay.as_deref(), services.postgres.as_ref(), services.both()) {
        (Scenario::Rooms, Some(program), postgres, _) => rooms::run(program, postgres, args, report).await,
        (Scenario::Lanes, Some(program), postgres, _) => lanes::run(program, postgres, args, report).await,
        (Scenario::SendsPostgres, Some(program), Some(postgres), _) => {
            sends_postgres::run(program, postgres, args, report).await
        }
        (Scenario::Search, Some(program), Some(postgres), _) => search::run(program, postgres, args, report).await,
        (Scenario::SendsPostgres | Scenario::Search, Some(_), None, _) => {
            report.leave_out(name, "there is no RELAY_TEST_POSTGRES_URL")
        }
        (Scenario::FanoutNodes, program, _, Some(both)) => {
            let cluster = match program {
                Some(program) => Some(cluster(program, both, args).await?),
                None => None,
            };
            fanout_nodes::run(both, cluster, args, report).await
        }
        (Scenario::CrossNode, Some(program), _, Some(both)) => {
            cross_node::run(cluster(program, both, args).await?, args, report).await
        }
        (Scenario::Resume, Some(program), _, Some(both)) => {
            resume::run(cluster(program, both, args).await?, args, report).await
        }
        (Scenario::Receipts, Some(program), _, Some(both)) => {
            receipts::run(cluster(program, both, args).await?, args, report).await
        }
        (Scenario::Presence, Some(program), _, Some(both)) => {
            presence::run(cluster(program, both, args).await?, args, report).await
        }
        (_, None, _, _) => report.leave_out(name, "there is no Relay"),
        _ => report.leave_out(name, "RELAY_TEST_POSTGRES_URL and RELAY_TEST_REDIS_URL are not both there"),
    }
}

async fn cluster(program: &Path, services: (&Postgres, &Redis), args: &Args) -> Result<Cluster, Error> {
    Cluster::start(program, args, services, NODES).await
}
