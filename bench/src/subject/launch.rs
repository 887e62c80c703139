//! How a Relay is started: the program, its settings and its data folder, which live on when the process is restarted.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;

use super::{relay::Relay, server::Server};
use crate::{args::Args, error::Error};

/// Everything that a Relay starts with.
pub(crate) struct Launch {
    program: PathBuf,
    settings: Vec<String>,
    /// Settings with secrets in them: the environment does not show in the list of processes.
    variables: Vec<(&'static str, String)>,
    secret: Vec<u8>,
    log: PathBuf,
    /// Deleted when dropped.
    data: TempDir,
}

impl Launch {
    /// `program` on an empty data folder. Its log goes beside the results.
    pub(crate) fn new(program: &Path, args: &Args) -> Result<Self, Error> {
        let log = args.out.with_file_name("relay.log");
        Ok(Self {
            program: program.into(),
            settings: args.relay_settings.clone(),
            variables: Vec::new(),
            secret: [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat(),
            log: empty(log)?,
            data: tempfile::tempdir()?,
        })
    }

    /// The same for another node: the same key, a data folder and a log of its own.
    pub(crate) fn another(&self, number: usize) -> Result<Self, Error> {
        Ok(Self {
            program: self.program.clone(),
            settings: self.settings.clone(),
            variables: self.variables.clone(),
            secret: self.secret.clone(),
            log: empty(self.log.with_file_name(format!("relay-{number}.log")))?,
            data: tempfile::tempdir()?,
        })
    }

    /// With a variable in its environment.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// The key that tokens are signed with.
    pub(super) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Starts it; again, if it has ended.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<Relay, Error> {
        let log = File::options().append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(self.data.path());
        command.args(self.settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env("RELAY_AUTH_SIGNING_KEY", URL_SAFE_NO_PAD.encode(&self.secret)).stderr(log);
        Ok(Relay::new(Server::start(command).await?, Arc::clone(self)))
    }
}

/// The log of an earlier run goes; those of restarts in this one stand in one file.
fn empty(log: PathBuf) -> Result<PathBuf, Error> {
    log.parent().map_or(Ok(()), fs::create_dir_all)?;
    File::create(&log)?;
    Ok(log)
}
