//! Redis: where it is, and its process.

use std::time::Duration;

use tokio::process::Command;

use super::postgres::answer;
use crate::error::{Error, in_time};

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A Redis server on this machine.
#[derive(Clone)]
pub(crate) struct Redis {
    url: String,
}

impl Redis {
    pub(super) fn at(url: String) -> Self {
        Self { url }
    }

    /// Its URL, with the password if there is one.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The server's process.
    pub(crate) async fn pid(&self) -> Result<u32, Error> {
        let mut command = Command::new("redis-cli");
        command.args(["--no-auth-warning", "-u", &self.url, "INFO", "server"]);
        let output = in_time("the answer of redis-cli", ANSWER, answer(command, "")).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let pid = text.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
        pid.ok_or_else(|| Error::unexpected(format!("Redis does not say its process: `{}`", text.trim())))
    }
}
