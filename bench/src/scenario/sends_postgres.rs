//! Durable sends on PostgreSQL, beside what `pgbench` reaches with one insert a transaction on the same server.

use std::{path::Path, sync::Arc};

use super::senders::Variant;
use crate::{
    args::Args,
    error::Error,
    report::Report,
    services::{Database, Pgbench, Postgres},
    subject::{Launch, Signal},
};

const NAME: &str = "sends_postgres";

const VARIANTS: [Variant; 2] = [
    Variant { name: "relay W=1", rooms: "one", shared: None, window: Some(1), lane: false },
    Variant { name: "relay W=16", rooms: "many", shared: None, window: Some(16), lane: false },
];

/// Runs `pgbench` before and after Relay: what lies between the two is how far the machine can be trusted.
pub(super) async fn run(program: &Path, postgres: &Postgres, args: &Args, report: &mut Report) -> Result<(), Error> {
    let floor = tables_of_relay(program, postgres, args).await?;
    pgbench("pgbench", &floor, args, report).await?;
    let database = postgres.database("sends").await?;
    let launch = Arc::new(Launch::new(program, args)?.with("RELAY_DATABASE_URL", database.url()));
    let relay = Arc::new(launch.start().await?);
    for variant in VARIANTS {
        database.settle().await;
        variant.measure(&relay, NAME, args, report).await?;
    }
    drop(relay);
    pgbench("pgbench, again", &floor, args, report).await?;
    report.print_beside(NAME, "pgbench")
}

/// A database with Relay's tables, and nothing in them.
async fn tables_of_relay(program: &Path, postgres: &Postgres, args: &Args) -> Result<Database, Error> {
    let database = postgres.database("pgbench").await?;
    let launch = Arc::new(Launch::new(program, args)?.with("RELAY_DATABASE_URL", database.url()));
    launch.start().await?.end(Signal::Terminate).await?;
    Ok(database)
}

async fn pgbench(name: &str, database: &Database, args: &Args, report: &mut Report) -> Result<(), Error> {
    database.run("TRUNCATE messages").await?;
    database.settle().await;
    let Pgbench { rate, latency } = Pgbench::run(database, args.measure).await?;
    report.add(NAME, name, [("sends", Some(rate), "1/s"), ("ack_mean", latency, "ms")]);
    Ok(())
}
