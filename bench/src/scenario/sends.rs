//! Durable sends: many senders, each waiting for the acknowledgement that its message is committed.

use std::sync::Arc;

use super::senders::Variant;
use crate::{
    args::Args,
    error::Error,
    report::Report,
    subject::{Relay, SqliteFloor},
};

/// Rooms of the variant in which senders share rooms.
const SHARED_ROOMS: usize = 8;

const VARIANTS: [Variant; 4] = [
    Variant { name: "relay W=1", rooms: "one", shared: None, window: Some(1), lane: false },
    Variant { name: "relay W=16", rooms: "many", shared: None, window: Some(16), lane: false },
    Variant { name: "relay W=16, 8 rooms", rooms: "shared", shared: Some(SHARED_ROOMS), window: Some(16), lane: false },
    Variant { name: "relay unary", rooms: "unary", shared: None, window: None, lane: false },
];

/// Runs the variants, then the database alone.
pub(super) async fn run(args: &Args, report: &mut Report) -> Result<(), Error> {
    if let Some(program) = &args.relay {
        let relay = Arc::new(Relay::start(program, args).await?);
        for variant in VARIANTS {
            variant.measure(&relay, "sends", args, report).await?;
        }
    }
    let written = SqliteFloor::run(args.measure).await?;
    report.add(
        "sends",
        "sqlite_floor",
        [
            ("sends", Some(written.rows / written.seconds), "1/s"),
            ("server_cpu", Some(written.cpu_us / written.rows), "us/send"),
        ],
    );
    report.print("sends")
}
