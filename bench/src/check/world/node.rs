//! A node: the program in a process of its own, that can be killed and started again on its port.

use std::{
    fs::OpenOptions,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::error::{Error, in_time};

/// How long a start may take.
const START: Duration = Duration::from_secs(20);
/// How long it is started again and again, as a supervisor does. It may refuse while what it stands on is away.
const PATIENCE: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(300);

/// How to start a node.
pub(super) struct Recipe {
    pub(super) program: PathBuf,
    pub(super) signing_key: String,
    pub(super) settings: Vec<String>,
}

/// A node. Dropped, it is killed.
pub(super) struct Node {
    recipe: Recipe,
    child: Option<Child>,
    address: SocketAddr,
    data: TempDir,
}

impl Node {
    /// Starts one on a free port.
    pub(super) async fn start(recipe: Recipe) -> Result<Self, Error> {
        let data = tempfile::Builder::new().prefix("relay-check-node.").tempdir()?;
        let mut node = Self { recipe, child: None, address: SocketAddr::from(([127, 0, 0, 1], 0)), data };
        node.spawn().await?;
        Ok(node)
    }

    /// Where it is served.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// kill -9. An error if it had ended by itself before.
    pub(super) async fn kill(&mut self) -> Result<(), Error> {
        let ended = self.ended();
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        ended.map_or(Ok(()), |how| Err(Error::unexpected(how)))
    }

    /// Starts it again on its port, as often as it takes.
    pub(super) async fn resume(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.spawn().await {
                Err(_) if Instant::now() < deadline => sleep(PAUSE).await,
                done => return done,
            }
        }
    }

    /// How it ended, if it did so by itself.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        Some(format!("the node at {} ended by itself with {status}", self.address))
    }

    /// Its log.
    pub(super) fn log(&self) -> PathBuf {
        self.data.path().join("log")
    }

    async fn spawn(&mut self) -> Result<(), Error> {
        let mut command = self.command(&self.log())?;
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| Error::unexpected("the node has no standard output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let first = in_time("a node's first line", START, async { Ok(lines.next_line().await?) }).await?;
        let address = first.as_deref().and_then(|line| line.rsplit("http://").next()?.trim().parse().ok());
        self.address = address.ok_or_else(|| {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            Error::unexpected(format!("a node did not start: {}", log.lines().last().unwrap_or_default()))
        })?;
        // Whatever else it prints must not fill the pipe and stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.child = Some(child);
        Ok(())
    }

    fn command(&self, log: &Path) -> Result<Command, Error> {
        let mut command = Command::new(&self.recipe.program);
        command.args(["serve", "--listen", &self.address.to_string(), "--data-dir"]).arg(self.data.path().join("data"));
        command.args(self.recipe.settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
        command.env("RELAY_AUTH_SIGNING_KEY", &self.recipe.signing_key);
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        Ok(command)
    }
}
