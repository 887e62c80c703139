//! The results: rows of figures, as tables for people and as JSON for programs.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use serde::Serialize;

use crate::{args::Args, error::Error};

/// One figure.
#[derive(Serialize)]
struct Row {
    scenario: &'static str,
    subject: String,
    metric: &'static str,
    value: f64,
    unit: &'static str,
}

/// The machine that the figures come from.
#[derive(Serialize)]
struct Machine {
    cores: usize,
    kernel: String,
    memory_kib: u64,
    cpu: String,
}

/// The sizes of the run.
#[derive(Serialize)]
struct Settings {
    seconds: u64,
    subscribers: usize,
    in_flight: usize,
    streams: usize,
    senders: usize,
    messages: u64,
    members: usize,
    relay_settings: Vec<String>,
}

/// A text that belongs to the figures, such as a database's plan.
#[derive(Serialize)]
struct Note {
    scenario: &'static str,
    subject: String,
    lines: Vec<String>,
}

/// All figures of a run.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    settings: Settings,
    /// Why the run ended early. Absent: it did not.
    error: Option<String>,
    rows: Vec<Row>,
    notes: Vec<Note>,
    /// The scenarios that were left out, and why.
    left_out: Vec<String>,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(args: &Args) -> Result<Self, Error> {
        let machine = Machine {
            cores: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().into(),
            memory_kib: proc_field("/proc/meminfo", "MemTotal")?
                .split(' ')
                .next()
                .unwrap_or_default()
                .parse()
                .unwrap_or(0),
            cpu: proc_field("/proc/cpuinfo", "model name")?,
        };
        let settings = Settings {
            seconds: args.measure.as_secs(),
            subscribers: args.subscribers,
            in_flight: args.in_flight,
            streams: args.streams,
            senders: args.senders,
            messages: args.messages,
            members: args.members,
            relay_settings: args.relay_settings.clone(),
        };
        let Machine { cores, kernel, memory_kib, cpu } = &machine;
        say(&format!("{cores} cores ({cpu}), {} MiB, Linux {kernel}", memory_kib / 1024))?;
        Ok(Self { machine, settings, error: None, rows: Vec::new(), notes: Vec::new(), left_out: Vec::new() })
    }

    /// The figures of `subject` in `scenario`: metric, value, unit. A figure that there is none of is left out.
    pub(crate) fn add<const N: usize>(
        &mut self,
        scenario: &'static str,
        subject: &str,
        figures: [(&'static str, Option<f64>, &'static str); N],
    ) {
        let rows = figures.into_iter().filter_map(|(metric, value, unit)| {
            Some(Row { scenario, subject: subject.into(), metric, value: value?, unit })
        });
        self.rows.extend(rows);
    }

    /// Notes a text on `subject`, and prints it.
    pub(crate) fn note(&mut self, scenario: &'static str, subject: &str, text: &str) -> Result<(), Error> {
        say(&format!("\n{scenario}, {subject}:\n{}", text.trim_end()))?;
        let lines = text.trim_end().lines().map(String::from).collect();
        self.notes.push(Note { scenario, subject: subject.into(), lines });
        Ok(())
    }

    /// Says that something is not measured, and why.
    pub(crate) fn leave_out(&mut self, what: &str, why: &str) -> Result<(), Error> {
        let line = format!("left out: {what}: {why}");
        say(&format!("\n{line}"))?;
        self.left_out.push(line);
        Ok(())
    }

    /// Prints the table of a scenario: a line a subject, a column a metric, each beside its ratio to the floor.
    pub(crate) fn print(&self, scenario: &str) -> Result<(), Error> {
        self.print_beside(scenario, "floor")
    }

    /// The same, with the ratios to the subject whose name ends so.
    pub(crate) fn print_beside(&self, scenario: &str, base_name: &str) -> Result<(), Error> {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| row.scenario == scenario).collect();
        let (mut subjects, mut metrics) = (Vec::new(), Vec::new());
        for row in &rows {
            push_new(&mut subjects, row.subject.as_str());
            push_new(&mut metrics, (row.metric, row.unit));
        }
        let figure = |subject: &str, metric: &str| {
            rows.iter().find(|row| row.subject == subject && row.metric == metric).map(|row| row.value)
        };
        let base_subject = subjects.iter().find(|subject| subject.ends_with(base_name));
        let mut table = vec![vec![scenario.to_owned()]];
        table.extend(subjects.iter().map(|subject| vec![(*subject).to_owned()]));
        for (metric, unit) in metrics {
            let base = base_subject.and_then(|subject| figure(subject, metric)).filter(|base| *base > 0.0);
            if let Some(head) = table.first_mut() {
                head.push(format!("{metric} [{unit}]"));
                head.extend(base.map(|_| format!("/{base_name}")));
            }
            for (line, subject) in table.iter_mut().skip(1).zip(&subjects) {
                let value = figure(subject, metric);
                line.push(value.map_or_else(|| "-".into(), number));
                line.extend(base.map(|base| value.map_or_else(|| "-".into(), |value| format!("x{:.2}", value / base))));
            }
        }
        say(&format!("\n{}", layout(&table)))
    }

    /// Writes the rows, the settings and the machine to `path`, and the error that ended the run early.
    pub(crate) fn save(&mut self, path: &Path, error: Option<&Error>) -> Result<(), Error> {
        self.error = error.map(Error::to_string);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, serde_json::to_vec_pretty(self)?)?;
        say(&format!("\nwritten to {}", path.display()))
    }
}

/// Prints to standard output.
pub(crate) fn say(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Prints to standard error; there is nothing left to do if that fails.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "relay-bench: {text}");
}

/// The first column to the left, the others to the right.
fn layout(table: &[Vec<String>]) -> String {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| table.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let print = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    table.iter().map(print).collect::<Vec<_>>().join("\n")
}

/// Three digits that matter, without noise behind large figures.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// The value of the first line of a file of `/proc` that starts with `name`. Empty: there is none.
fn proc_field(path: &str, name: &str) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find(|line| line.starts_with(name));
    Ok(line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let table = [["who", "rate"], ["relay", "10"]].map(|line| line.map(String::from).to_vec());
        assert_eq!(layout(&table), "who    rate\nrelay    10");
    }
}
