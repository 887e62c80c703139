//! The command line.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

/// Frees memory back to the system sooner, and shares less between threads, than the system's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cli::complain(&*failure);
            ExitCode::FAILURE
        }
    }
}
