//! What lanes cost: the same load without and with them, in turns. Messages come in order, so nothing waits.

use std::{path::Path, sync::Arc};

use super::{load::Load, senders::Variant};
use crate::{args::Args, error::Error, report::Report, services::Postgres, subject::Launch};

/// So many messages of each sender are under way at once.
struct Window {
    size: usize,
    /// How the results name it on SQLite, and on PostgreSQL.
    names: [&'static str; 2],
    /// What the rooms of each turn are called.
    rooms: [[&'static str; 2]; 4],
}

const WINDOWS: [Window; 2] = [
    Window {
        size: 1,
        names: ["lanes_sqlite W=1", "lanes_postgres W=1"],
        rooms: [["one-a", "one-b"], ["one-c", "one-d"], ["one-e", "one-f"], ["one-g", "one-h"]],
    },
    Window {
        size: 16,
        names: ["lanes_sqlite W=16", "lanes_postgres W=16"],
        rooms: [["many-a", "many-b"], ["many-c", "many-d"], ["many-e", "many-f"], ["many-g", "many-h"]],
    },
];

/// Runs it on SQLite and, if it is there, on PostgreSQL.
pub(super) async fn run(
    program: &Path,
    postgres: Option<&Postgres>,
    args: &Args,
    report: &mut Report,
) -> Result<(), Error> {
    let launch = Arc::new(Launch::new(program, args)?);
    on(&launch, 0, args, report).await?;
    match postgres {
        Some(postgres) => {
            let database = postgres.database("lanes").await?;
            let launch = Arc::new(Launch::new(program, args)?.with("RELAY_DATABASE_URL", database.url()));
            on(&launch, 1, args, report).await
        }
        None => report.leave_out("lanes on PostgreSQL", "there is no RELAY_TEST_POSTGRES_URL"),
    }
}

async fn on(launch: &Arc<Launch>, database: usize, args: &Args, report: &mut Report) -> Result<(), Error> {
    let relay = Arc::new(launch.start().await?);
    for Window { size, names, rooms } in WINDOWS {
        let mut loads = [Vec::new(), Vec::new()];
        for (round, rooms) in rooms.into_iter().enumerate() {
            let mut kinds = [(false, rooms[0]), (true, rooms[1])];
            // What comes first in one round comes last in the next.
            kinds.rotate_left(round % 2);
            for (lane, rooms) in kinds {
                let variant = Variant { name: names[database], rooms, shared: None, window: Some(size), lane };
                loads[usize::from(lane)].push(variant.run(&relay, args).await?);
            }
        }
        for (name, loads) in ["without", "with"].into_iter().zip(&loads) {
            add(names[database], name, loads, report);
        }
        report.print_beside(names[database], "without")?;
    }
    Ok(())
}

fn add(scenario: &'static str, name: &str, loads: &[Load], report: &mut Report) {
    let total = |figure: fn(&Load) -> f64| loads.iter().map(figure).sum::<f64>();
    let operations = total(|load| load.operations);
    report.add(
        scenario,
        name,
        [
            ("sends", Some(operations / total(|load| load.seconds)), "1/s"),
            ("server_cpu", Some(total(|load| load.server_us) / operations), "us/send"),
        ],
    );
}
