//! A Redis of the check's own.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{free_port, own_end, reachable, signal};
use crate::error::{Error, in_time};

/// How long it may take to start, and to end.
const START: Duration = Duration::from_secs(10);

/// A running server. Dropped, it is killed and its data deleted.
pub(super) struct Redis {
    child: Option<Child>,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// Starts one.
    pub(super) async fn start() -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("relay-check-redis.").tempdir()?;
        let mut redis = Self { child: None, port: free_port()?, folder };
        redis.resume(false).await?;
        Ok(redis)
    }

    /// Where it listens on this machine.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// kill -9.
    pub(super) async fn kill(&mut self) -> Result<(), Error> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            in_time("the end of Redis", START, own_end(&mut child)).await?;
        }
        Ok(())
    }

    /// Starts it again, with what it had or without.
    pub(super) async fn resume(&mut self, empty: bool) -> Result<(), Error> {
        let data = self.folder.path().join("data");
        if empty {
            fs::remove_dir_all(&data)?;
        }
        fs::create_dir_all(&data)?;
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        command.arg("--dir").arg(&data).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        let port = self.port;
        reachable("Redis", START, || answers(port)).await
    }

    /// Lets it stand still, or go on.
    pub(super) fn freeze(&self, still: bool) -> Result<(), Error> {
        self.child.as_ref().map_or(Ok(()), |child| signal(child.id(), if still { "STOP" } else { "CONT" }))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

/// Whether it does what it is asked.
async fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut answer = [0; 5];
    stream.write_all(b"PING\r\n").await.is_ok() && stream.read_exact(&mut answer).await.is_ok() && answer == *b"+PONG"
}
