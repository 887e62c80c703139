//! What a run comes to: the table, and the history of one that failed.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::json;

use super::{
    Stage,
    archive::lines,
    brief::Brief,
    ledger::{Moment, Records},
    play::{Befallen, Outcome},
    violation::{Promise, Violation},
};
use crate::error::Error;

/// How many violations are printed; the file has all.
const PRINTED: usize = 12;
/// How much of one is printed.
const WIDTH: usize = 500;

/// The figures of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) sent: usize,
    pub(super) acknowledged: usize,
    pub(super) changes: usize,
    pub(super) passages: usize,
    pub(super) delivered: usize,
    /// Messages in lanes, gaps in them that were passed over, numbers that were skipped.
    pub(super) in_lanes: usize,
    pub(super) gaps: usize,
    pub(super) skipped: usize,
    /// Reports of receipts that were answered, and receipts that streams and lists told.
    pub(super) reported: usize,
    pub(super) receipts: usize,
    /// Those that a higher one had overtaken.
    pub(super) overtaken: usize,
    pub(super) lists: usize,
    pub(super) visits: usize,
    pub(super) presences: usize,
    pub(super) faults: usize,
    pub(super) broken: BTreeMap<Promise, usize>,
    /// The longest time from an acknowledgement to a delivery, in ms: for each kind of fault, and without any.
    pub(super) delays: BTreeMap<&'static str, u64>,
    pub(super) convergence: u128,
}

impl Figures {
    pub(super) fn of(stage: &Stage, outcome: &Outcome) -> Self {
        let records = stage.ledger.records();
        let receipts = stage.receipts.cursors();
        Self {
            in_lanes: outcome.lanes.0,
            gaps: outcome.lanes.1,
            skipped: records.skips.iter().filter(|skip| skip.ending.acknowledged()).count(),
            reported: receipts.reports.iter().filter(|report| report.answered).count(),
            receipts: receipts.words,
            overtaken: outcome.views.iter().map(|view| view.words.setbacks.len()).sum(),
            lists: receipts.lists,
            visits: outcome.visits,
            presences: outcome.views.iter().map(|view| view.words.presences).sum(),
            sent: records.sent.len(),
            acknowledged: records.sent.iter().filter(|sent| !sent.acks.is_empty()).count(),
            changes: records.changes.iter().filter(|change| change.ending.acknowledged()).count(),
            passages: records.passages.iter().filter(|passage| passage.ending.acknowledged()).count(),
            delivered: outcome.views.iter().map(|view| view.deliveries.len()).sum(),
            faults: outcome.faults.len(),
            broken: stage.violations.counts(),
            delays: delays(&records, outcome),
            convergence: outcome.convergence.as_millis(),
        }
    }

    /// Adds those of another run.
    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.changes += other.changes;
        self.passages += other.passages;
        self.delivered += other.delivered;
        self.in_lanes += other.in_lanes;
        self.gaps += other.gaps;
        self.skipped += other.skipped;
        self.reported += other.reported;
        self.receipts += other.receipts;
        self.overtaken += other.overtaken;
        self.lists += other.lists;
        self.visits += other.visits;
        self.presences += other.presences;
        self.faults += other.faults;
        self.convergence = self.convergence.max(other.convergence);
        for (promise, count) in &other.broken {
            *self.broken.entry(*promise).or_default() += count;
        }
        for (phase, delay) in &other.delays {
            let longest = self.delays.entry(phase).or_default();
            *longest = (*longest).max(*delay);
        }
    }

    /// Whether nothing was broken.
    pub(super) fn is_clean(&self) -> bool {
        self.broken.is_empty()
    }

    /// The table.
    pub(super) fn table(&self) -> String {
        let mut rows = vec![
            ("sent", self.sent.to_string()),
            ("acknowledged", self.acknowledged.to_string()),
            ("edits, deletions, reactions", self.changes.to_string()),
            ("joined and left", self.passages.to_string()),
            ("delivered", self.delivered.to_string()),
            ("in lanes", self.in_lanes.to_string()),
            ("gaps passed over", self.gaps.to_string()),
            ("numbers skipped", self.skipped.to_string()),
            ("receipts reported", self.reported.to_string()),
            ("receipts on streams", self.receipts.to_string()),
            ("overtaken by higher ones", self.overtaken.to_string()),
            ("lists of receipts", self.lists.to_string()),
            ("visits", self.visits.to_string()),
            ("presence on streams", self.presences.to_string()),
            ("faults", self.faults.to_string()),
        ];
        for promise in Promise::ALL {
            rows.push((promise.name(), self.broken.get(&promise).copied().unwrap_or(0).to_string()));
        }
        let mut table: String = rows.iter().map(|(name, value)| format!("  {name:<30}{value:>10}\n")).collect();
        for (phase, delay) in &self.delays {
            table.push_str(&format!("  {:<30}{delay:>7} ms\n", format!("longest delivery, {phase}")));
        }
        table.push_str(&format!("  {:<30}{:>7} ms", "everywhere after the load", self.convergence));
        table
    }
}

/// Deliveries to attentive subscribers, sorted under the faults that happened between acknowledgement and delivery.
fn delays(records: &Records, outcome: &Outcome) -> BTreeMap<&'static str, u64> {
    let acknowledged: HashMap<&str, Moment> =
        records.sent.iter().filter_map(|sent| Some((sent.id.as_str(), sent.acks.first()?.at))).collect();
    let mut delays: BTreeMap<&'static str, u64> = BTreeMap::new();
    for delivery in outcome.views.iter().filter(|view| view.attentive).flat_map(|view| &view.deliveries) {
        let Brief::Created { id, .. } = &delivery.event else { continue };
        let Some(from) = acknowledged.get(id.as_str()) else { continue };
        let delay = delivery.at.saturating_sub(*from) / 1000;
        let meanwhile = |one: &&Befallen| one.began <= delivery.at && one.ended >= *from;
        let mut phases: Vec<_> = outcome.faults.iter().filter(meanwhile).map(|one| one.fault.kind.name()).collect();
        if phases.is_empty() {
            phases.push("no fault");
        }
        for phase in phases {
            let longest = delays.entry(phase).or_default();
            *longest = (*longest).max(delay);
        }
    }
    delays
}

/// The first of the violations, in words.
pub(super) fn describe(violations: &[Violation]) -> String {
    let mut text = String::new();
    for Violation { promise, at, what } in violations.iter().take(PRINTED) {
        let short: String = what.chars().take(WIDTH).collect();
        text.push_str(&format!("  {} ({} ms): {short}\n", promise.name(), at / 1000));
    }
    if violations.len() > PRINTED {
        text.push_str(&format!("  and {} more\n", violations.len() - PRINTED));
    }
    text
}

/// Writes everything that is known of a run: one JSON object a line.
pub(super) fn save(folder: &Path, seed: u64, repeat: &str, stage: &Stage, outcome: &Outcome) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("check-{seed}.jsonl"));
    let mut file = std::io::BufWriter::new(fs::File::create(&path)?);
    let mut line = |kind: &str, value: serde_json::Value| -> Result<(), Error> {
        Ok(writeln!(file, "{}", json!({ "kind": kind, "value": value }))?)
    };
    line("run", json!({ "seed": seed, "repeat": repeat, "nodes": stage.urls, "rooms": stage.cast.rooms }))?;
    for violation in stage.violations.all() {
        line("violation", json(&violation)?)?;
    }
    for Befallen { fault, began, ended } in &outcome.faults {
        line("fault", json!({ "what": fault.label(), "began": began, "ended": ended }))?;
    }
    let records = stage.ledger.records();
    for sent in &records.sent {
        line("sent", json(sent)?)?;
    }
    for change in &records.changes {
        line("change", json(change)?)?;
    }
    for passage in &records.passages {
        line("passage", json(passage)?)?;
    }
    for skip in &records.skips {
        line("skip", json(skip)?)?;
    }
    for expectation in &records.expectations {
        line("lane", json(expectation)?)?;
    }
    let receipts = stage.receipts.cursors();
    for report in &receipts.reports {
        line("report", json(report)?)?;
    }
    for sight in &receipts.sights {
        line("receipt", json(sight)?)?;
    }
    for (room, log) in &outcome.logs {
        line("log", json!({ "room": room, "events": json(log)? }))?;
    }
    for (node, rooms) in outcome.told.iter().enumerate() {
        for (room, told) in rooms {
            line("list", json!({ "node": node, "room": room, "messages": json(&lines(told))? }))?;
        }
    }
    for view in &outcome.views {
        line("subscriber", json(view)?)?;
    }
    Ok(path)
}

fn json(value: &impl Serialize) -> Result<serde_json::Value, Error> {
    Ok(serde_json::to_value(value)?)
}
