//! `relay-bench`: puts load on Relay and on what it is compared with, and says what each operation costs the server.

mod args;
mod check;
mod error;
mod grpc;
mod latency;
mod process;
mod report;
mod scenario;
mod scope;
mod services;
mod stamp;
mod subject;

use std::process::ExitCode;

use args::{Args, Command};
use error::Error;
use report::Report;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Error> {
    match Command::parse(std::env::args().skip(1))? {
        Command::Help => report::say(args::HELP),
        Command::Subject(role) => subject::serve(role),
        Command::Check(args) => until_stopped(check::run(&args)),
        Command::Run(args) => until_stopped(run(&args)),
    }
}

/// Does the work; a signal drops it, and with it the servers that it started.
fn until_stopped(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    // Thousands of connections, each one a descriptor here and one in the server, which inherits the limit.
    rlimit::increase_nofile_limit(u64::MAX)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = work => done,
            _ = tokio::signal::ctrl_c() => Err(Error::Stopped),
            _ = terminate.recv() => Err(Error::Stopped),
        }
    })
}

async fn run(args: &Args) -> Result<(), Error> {
    let mut report = Report::new(args)?;
    let done = scenario::run(args, &mut report).await;
    // What was measured before an error is worth keeping; the file says that the run is not whole.
    report.save(&args.out, done.as_ref().err())?;
    done
}
