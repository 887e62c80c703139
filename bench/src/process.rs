//! What the operating system says of a process. Linux only: it reads `/proc`.
//!
//! CPU time is the first field of `/proc/PID/task/*/schedstat`, summed over the threads: nanoseconds on a CPU, user and
//! system together, where `utime` and `stime` of `/proc/PID/stat` count in steps of 10 ms. What a thread used goes with
//! it when it ends, so two readings are compared thread by thread; the servers here keep theirs.

use std::{collections::HashMap, fs, io, time::Duration};

use tokio::time::Instant;

/// How much resident memory may change in a second and still count as settled, in KiB.
const SETTLED_WITHIN: u64 = 64;

/// The processes whose work is measured.
#[derive(Clone, Default)]
pub(crate) struct Processes {
    /// Those of the subject.
    pub(crate) server: Vec<u32>,
    /// The Redis between them, which is reported beside.
    pub(crate) redis: Option<u32>,
}

impl Processes {
    /// A subject that is one process.
    pub(crate) fn one(pid: u32) -> Self {
        Self { server: vec![pid], redis: None }
    }
}

/// CPU time of each thread, in nanoseconds. A thread's number is the only one on the machine.
pub(crate) struct CpuTime(HashMap<String, u64>);

impl CpuTime {
    /// Reads it now.
    pub(crate) fn of(processes: &[u32]) -> io::Result<Self> {
        let mut threads = HashMap::new();
        for pid in processes {
            Self::read(*pid, &mut threads)?;
        }
        Ok(Self(threads))
    }

    fn read(pid: u32, threads: &mut HashMap<String, u64>) -> io::Result<()> {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?;
            // A thread may end between the listing and the reading.
            let Ok(line) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            let on_cpu =
                line.split(' ').next().and_then(|field| field.parse().ok()).ok_or_else(|| unreadable(&line))?;
            threads.insert(task.file_name().to_string_lossy().into_owned(), on_cpu);
        }
        Ok(())
    }

    /// What the processes have used since `earlier`, in microseconds.
    pub(crate) fn since(&self, earlier: &Self) -> f64 {
        let used = |(thread, now): (&String, &u64)| now.saturating_sub(earlier.0.get(thread).copied().unwrap_or(0));
        self.0.iter().map(used).sum::<u64>() as f64 / 1e3
    }
}

/// Resident memory of a process in KiB: `VmRSS` of `/proc/PID/status`.
fn resident(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|field| field.parse().ok()).ok_or_else(|| unreadable(line))
}

/// Resident memory of the servers in KiB once it has not changed for a second, or at the deadline.
pub(crate) async fn settled_resident(processes: &Processes, deadline: Duration) -> io::Result<u64> {
    let all = || processes.server.iter().map(|pid| resident(*pid)).sum::<io::Result<u64>>();
    let deadline = Instant::now() + deadline;
    let mut last = all()?;
    let mut quiet = 0;
    while quiet < 10 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = all()?;
        if now.abs_diff(last) <= SETTLED_WITHIN {
            quiet += 1;
        } else {
            (last, quiet) = (now, 0);
        }
    }
    all()
}

fn unreadable(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("cannot read `{}` from /proc", text.trim()))
}
