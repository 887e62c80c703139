//! Idle streams: what a connected client that does nothing costs in the server's memory.

use std::{sync::Arc, time::Duration};

use super::audience::Audience;
use crate::{
    args::Args,
    error::Error,
    process::settled_resident,
    report::Report,
    subject::{BothWays, FanOut, PlainTonic, Relay},
};

/// How long memory may take to settle.
const SETTLE: Duration = Duration::from_secs(15);

/// Opens the streams of each subject.
pub(super) async fn run(args: &Args, report: &mut Report) -> Result<(), Error> {
    if let Some(program) = &args.relay {
        subject(Relay::start(program, args).await?, args, report).await?;
        subject(BothWays(Relay::start(program, args).await?), args, report).await?;
    }
    // The length of its events does not matter: none is sent.
    subject(PlainTonic::start(0).await?, args, report).await?;
    report.print("idle")
}

async fn subject<S: FanOut>(subject: S, args: &Args, report: &mut Report) -> Result<(), Error> {
    let processes = subject.processes();
    let before = settled_resident(&processes, SETTLE).await?;
    let subject = Arc::new(subject);
    let mut audience = Audience::open(&subject, args.streams, args.in_flight).await?;
    let after = tokio::select! {
        after = settled_resident(&processes, SETTLE) => after?,
        error = audience.lost() => return Err(error),
    };
    report.add(
        "idle",
        subject.name(),
        [
            ("rss_before", Some(before as f64), "KiB"),
            ("rss_after", Some(after as f64), "KiB"),
            ("memory", Some((after as f64 - before as f64) / args.streams as f64), "KiB/stream"),
        ],
    );
    Ok(())
}
