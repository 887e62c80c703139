//! Two nodes under every fault: nothing is lost, nothing double, nothing out of order.
//!
//! It starts its own PostgreSQL and Redis, and runs only where `scripts/with-redis` has made sure that the programs are
//! there. The server is RELAY_BIN, or the file `relay` beside relay-bench.

use std::process::Command;

/// Seeds whose faults differ in order, place and way.
const SEEDS: [&str; 2] = ["1", "2"];

#[test]
fn two_nodes_keep_every_promise_under_every_fault() {
    if std::env::var_os("RELAY_TEST_REDIS_URL").is_none() {
        return;
    }
    let histories = tempfile::tempdir().unwrap();
    for seed in SEEDS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relay-bench"));
        command.args(["check", "--nodes", "2", "--seconds", "3", "--seed", seed, "--out"]).arg(histories.path());
        if let Some(path) = std::env::var_os("RELAY_BIN") {
            // No setting of Relay's: its nodes refuse what they do not know.
            command.arg("--relay-bin").arg(path).env_remove("RELAY_BIN");
        }
        // The violations, and the command line that repeats them, are in its output.
        assert!(command.status().unwrap().success(), "seed {seed}");
    }
}

#[test]
fn what_is_no_fault_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_relay-bench")).args(["check", "--faults", "flood"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("no fault `flood`"));
}
