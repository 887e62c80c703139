//! A small run, from the command line to the results.

use std::{collections::HashMap, process::Command};

use serde_json::Value;

#[test]
fn quick_fanout_gives_figures_for_every_subject() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("results.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay-bench"));
    command.args(["fanout", "--quick", "--seconds", "1", "--out"]).arg(&out);
    let relay = std::env::var_os("RELAY_BIN");
    match &relay {
        Some(path) => command.arg("--relay-bin").arg(path),
        None => command.arg("--no-relay"),
    };
    assert!(command.status().unwrap().success());

    let results: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let mut deliveries = HashMap::new();
    for row in results["rows"].as_array().unwrap() {
        if row["metric"] == "deliveries" {
            let key = (row["scenario"].as_str().unwrap(), row["subject"].as_str().unwrap());
            deliveries.insert(key, row["value"].as_f64().unwrap());
        }
    }
    let subjects = ["floor", "plain_tonic"].into_iter().chain(relay.map(|_| "relay"));
    for subject in subjects {
        for scenario in ["fanout_paced", "fanout_saturated"] {
            assert!(deliveries[&(scenario, subject)] > 0.0, "{scenario} {subject}");
        }
    }
    assert!(results["machine"]["cores"].as_u64().unwrap() > 0);
}
