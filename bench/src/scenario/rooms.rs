//! What the size of a room costs: sends to one with many members, pages of one with many messages. On both databases.

use std::{path::Path, sync::Arc};

use super::{listing, load::Load, turns::in_turns};
use crate::{
    args::Args,
    error::Error,
    grpc::Call,
    report::Report,
    services::Postgres,
    stamp,
    subject::{FanOut as _, Launch, Signal, TEXT, frames},
};

/// How the results name the parts on one database.
pub(super) struct Names {
    sends: &'static str,
    pub(super) newest: &'static str,
    pub(super) middle: &'static str,
    pub(super) plans: &'static str,
}

const SQLITE: Names = Names {
    sends: "room_sends_sqlite",
    newest: "room_newest_page_sqlite",
    middle: "room_middle_page_sqlite",
    plans: "room_plans_sqlite",
};
const POSTGRES: Names = Names {
    sends: "room_sends_postgres",
    newest: "room_newest_page_postgres",
    middle: "room_middle_page_postgres",
    plans: "room_plans_postgres",
};
/// Who sends and lists, and is the only one connected.
pub(super) const SENDER: &str = "alone";
/// The members of the small room.
const FEW: usize = 10;

/// Runs both parts on SQLite and, if it is there, on PostgreSQL.
pub(super) async fn run(
    program: &Path,
    postgres: Option<&Postgres>,
    args: &Args,
    report: &mut Report,
) -> Result<(), Error> {
    let launch = Arc::new(Launch::new(program, args)?);
    sends(&launch, &SQLITE, args, report).await?;
    listing::on_sqlite(&launch, &SQLITE, args, report).await?;
    match postgres {
        Some(postgres) => {
            let database = postgres.database("rooms").await?;
            let launch = Arc::new(Launch::new(program, args)?.with("RELAY_DATABASE_URL", database.url()));
            sends(&launch, &POSTGRES, args, report).await?;
            listing::on_postgres(&launch, &database, &POSTGRES, args, report).await?;
        }
        None => report.leave_out("rooms on PostgreSQL", "there is no RELAY_TEST_POSTGRES_URL")?,
    }
    Ok(())
}

/// One sender, one message at a time, to the small room and the large one in turns.
async fn sends(launch: &Arc<Launch>, names: &Names, args: &Args, report: &mut Report) -> Result<(), Error> {
    let relay = launch.start().await?;
    let sizes = [FEW, args.members];
    for size in sizes {
        let others = (1..size).map(|number| format!("m{number}")).collect();
        relay.create_room(SENDER, &room(size), others).await?;
    }
    let mut call = relay.connect(SENDER).await?;
    let loads = in_turns(sizes.len(), &relay.processes(), args, async |kind| {
        let room = room(sizes.get(kind).copied().unwrap_or_default());
        call.send(&frames::send(String::new(), &room, stamp::text(stamp::now(), TEXT)))?;
        answered(&mut call).await
    })
    .await?;
    for (size, load) in sizes.into_iter().zip(&loads) {
        add(names.sends, &format!("{size} members"), load, report);
    }
    report.print_beside(names.sends, &format!("{FEW} members"))?;
    relay.end(Signal::Terminate).await
}

/// Waits for the answer to the one message that is under way.
async fn answered(call: &mut Call) -> Result<(), Error> {
    let mut answer = None;
    while answer.is_none() {
        call.read(|message| {
            if let Some(reply) = frames::reply(message) {
                answer = Some(frames::accepted(reply));
            }
        })
        .await?;
    }
    answer.unwrap_or(Ok(()))
}

fn room(size: usize) -> String {
    format!("members-{size}")
}

/// The figures of operations that one client did one after another.
pub(super) fn add(scenario: &'static str, subject: &str, load: &Load, report: &mut Report) {
    report.add(
        scenario,
        subject,
        [
            ("operations", Some(load.operations / load.seconds), "1/s"),
            ("latency_p50", load.latencies.quantile(0.5), "ms"),
            ("latency_p99", load.latencies.quantile(0.99), "ms"),
            ("server_cpu", load.per_operation(load.server_us), "us/operation"),
        ],
    );
}
