//! How a process runs and ends: signals, the tasks without which it is no server, the way out in two stages.

use std::{future::Future, io};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Whether the node is on its way out: it takes no new streams, and says so to whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Draining(CancellationToken);

impl Draining {
    /// From now on, it is.
    pub fn set(&self) {
        self.0.cancel();
    }

    /// Whether it is.
    pub fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Runs `task` until it is done, or until the node is on its way out: `None`.
    pub async fn run_until_set<T>(&self, task: impl Future<Output = T>) -> Option<T> {
        self.0.run_until_cancelled(task).await
    }
}

/// SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from the default, which is to die.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// From now on a panic, in whatever task, ends the process: half a server is worse than none, and what was acknowledged
/// is on disk.
pub fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// Raises the limit of open files to what the system allows; answers it.
pub fn raise_open_files() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// Tasks that must run as long as the server does. One that ends early, by a panic or not, takes the process with it.
#[derive(Default)]
pub struct Tasks {
    running: JoinSet<&'static str>,
}

impl Tasks {
    /// Runs `task`.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(async move {
            task.await;
            name
        });
    }

    /// Waits for the next to end; answers its name, or that it panicked. `None`: none is left.
    pub async fn next_ended(&mut self) -> Option<Result<&'static str, String>> {
        Some(self.running.join_next().await?.map_err(|error| error.to_string()))
    }
}
