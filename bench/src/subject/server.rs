//! A server's process: started, asked for its address, killed when dropped.

use std::{
    io::Read as _,
    net::SocketAddr,
    process::{self, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::error::{Error, in_time};

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(20);

/// How long a server may take to end.
const END: Duration = Duration::from_secs(30);

/// How a server is told to end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// It may take leave: SIGTERM.
    Terminate,
    /// It may not: SIGKILL.
    Kill,
}

/// A running server.
pub(super) struct Server {
    /// Kills the process when dropped.
    child: Child,
    pub(super) pid: u32,
    pub(super) address: SocketAddr,
}

impl Server {
    /// Starts `command`, whose first line must end in `http://ADDRESS`.
    pub(super) async fn start(mut command: Command) -> Result<Self, Error> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let pid = child.id().ok_or_else(|| Error::unexpected("the server ended at once"))?;
        let stdout = child.stdout.take().ok_or_else(|| Error::unexpected("the server has no standard output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let first = in_time("the server's first line", START, async { Ok(lines.next_line().await?) }).await?;
        let first = first.ok_or_else(|| Error::unexpected("the server ended before it listened"))?;
        // Whatever else it prints must not fill the pipe and stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let address = first.rsplit("http://").next().and_then(|address| address.trim().parse().ok());
        let address = address.ok_or_else(|| Error::unexpected(format!("no address in `{first}`")))?;
        Ok(Self { child, pid, address })
    }
}

impl Server {
    /// Ends it, and waits until it has.
    pub(super) async fn end(mut self, signal: Signal) -> Result<(), Error> {
        match signal {
            Signal::Kill => self.child.start_kill()?,
            Signal::Terminate => {
                Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.pid)).status().await?;
            }
        }
        in_time("the end of a server", END, async { Ok(self.child.wait().await.map(drop)?) }).await
    }
}

/// The command that starts this program as a subject.
pub(super) fn own(role: &str) -> Result<Command, Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("subject").arg(role);
    Ok(command)
}

/// Ends this process when the generator goes away, however it goes: then its end of the pipe is closed.
pub(super) fn end_with_parent() {
    std::thread::spawn(|| {
        let mut nothing = [0; 1];
        while matches!(std::io::stdin().read(&mut nothing), Ok(1..)) {}
        process::exit(0);
    });
}
