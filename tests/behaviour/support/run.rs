//! The command line, run to its end.

use std::process::{Command, Output};

/// Runs `relay` with these arguments.
pub(crate) fn relay(args: &[&str]) -> Output {
    relay_with(args, &[])
}

/// The same with these variables in its environment; others that it would read are taken away.
pub(crate) fn relay_with(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RELAY_")) {
        command.env_remove(name);
    }
    command.args(args).envs(environment.iter().copied()).output().unwrap()
}
