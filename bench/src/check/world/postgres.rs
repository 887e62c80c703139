//! A Postgres of the check's own: in a temporary folder, on a free port, writing to disk as in earnest.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::{free_port, own_end, reachable, signal};
use crate::error::{Error, in_time};

/// How long it may take to start.
const START: Duration = Duration::from_secs(30);
const USER: &str = "relay";

/// A running instance. Dropped, it is stopped and its data deleted.
pub(super) struct Postgres {
    programs: PathBuf,
    owner: Option<Owner>,
    child: Option<Child>,
    port: u16,
    folder: TempDir,
}

/// Whom its programs run as: they refuse to run as root.
#[derive(Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl Postgres {
    /// Makes and starts one.
    pub(super) async fn start() -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("relay-check-postgres.").tempdir()?;
        let owner = owner(folder.path())?;
        if let Some(owner) = owner {
            chown(folder.path(), Some(owner.user), Some(owner.group))?;
        }
        let mut postgres = Self { programs: programs()?, owner, child: None, port: free_port()?, folder };
        let mut initdb = tokio::process::Command::from(postgres.program("initdb"));
        initdb.args(["-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        let made = initdb.arg(postgres.data()).output().await?;
        if !made.status.success() {
            return Err(Error::unexpected(format!("initdb: {}", String::from_utf8_lossy(&made.stderr))));
        }
        postgres.spawn()?;
        postgres.ready().await?;
        Ok(postgres)
    }

    /// Where it listens on this machine.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The URL for somebody who reaches it at `port`.
    pub(super) fn url(port: u16) -> String {
        format!("postgres://{USER}@127.0.0.1:{port}/postgres")
    }

    /// Stops it: with its connections broken but all in order, or at once as in a crash.
    pub(super) async fn stop(&mut self, at_once: bool) -> Result<(), Error> {
        if let Some(child) = &mut self.child {
            signal(child.id(), if at_once { "QUIT" } else { "INT" })?;
            in_time("the end of Postgres", START, own_end(child)).await?;
        }
        self.child = None;
        Ok(())
    }

    /// Starts it again.
    pub(super) async fn resume(&mut self) -> Result<(), Error> {
        self.spawn()?;
        self.ready().await
    }

    fn spawn(&mut self) -> Result<(), Error> {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-c", "max_connections=200"]);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    async fn ready(&self) -> Result<(), Error> {
        let ask = || {
            let mut ask = tokio::process::Command::from(self.program("pg_isready"));
            ask.stderr(Stdio::null()).args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER]);
            async move { ask.status().await.is_ok_and(|status| status.success()) }
        };
        reachable("Postgres", START, ask).await
    }

    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = match self.owner {
            None => Command::new(path),
            Some(Owner { user, group }) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()]);
                command.arg(path);
                command
            }
        };
        // Its own folder may be one that the owner cannot enter.
        command.current_dir("/");
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = signal(child.id(), "QUIT").map(|()| child.wait());
        }
    }
}

/// The folder of its programs: on PATH, else the newest of Debian's.
fn programs() -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // What is on PATH may be a link into the folder where the others are.
    let found = std::env::split_paths(&path).find_map(|folder| fs::canonicalize(folder.join("initdb")).ok());
    let on_path = found.and_then(|program| Some(program.parent()?.to_owned()));
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .collect();
    versions.sort();
    on_path
        .or_else(|| versions.pop().map(|(_, folder)| folder))
        .ok_or_else(|| Error::unexpected("no initdb on PATH or in /usr/lib/postgresql; install PostgreSQL 15 or newer"))
}

/// Somebody else than root, if this is root: the user `postgres` if there is one, else `nobody`.
fn owner(own_folder: &Path) -> Result<Option<Owner>, Error> {
    if fs::metadata(own_folder)?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some(Owner { user: numbers.next()?.ok()?, group: numbers.next()?.ok()? })
    };
    let found = find("postgres").or_else(|| find("nobody"));
    found.map(Some).ok_or_else(|| Error::unexpected("Postgres does not run as root, and there is no user for it"))
}
