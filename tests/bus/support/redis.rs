//! A Redis server of a test's own, in a folder that goes away with it.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::within;

/// A server that is killed at the end.
pub(crate) struct Redis {
    process: Child,
    pub(crate) port: u16,
    arguments: Vec<String>,
    folder: TempDir,
}

/// A port that nobody listened on a moment ago.
pub(crate) fn free_port() -> u16 {
    // A cluster's servers listen on the port 10,000 higher as well.
    loop {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        if (1_024..50_000).contains(&port) {
            return port;
        }
    }
}

impl Redis {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts it with further arguments.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::start_in(folder, free_port(), arguments).await
    }

    pub(crate) async fn start_in(folder: TempDir, port: u16, arguments: Vec<String>) -> Self {
        let process = spawn(folder.path(), port, &arguments);
        let mut redis = Self { process, port, arguments, folder };
        redis.listens().await;
        redis
    }

    /// Waits until it takes connections.
    pub(crate) async fn listens(&mut self) {
        let port = self.port;
        within("a server listens", async {
            let mut look = tokio::time::interval(Duration::from_millis(10));
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                assert!(self.process.try_wait().expect("a process").is_none(), "redis-server ended at once");
                look.tick().await;
            }
        })
        .await;
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it is killed");
        self.process.wait().expect("it is gone");
    }

    /// Starts it anew, without what it had.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(self.folder.path(), self.port, &self.arguments);
        self.listens().await;
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.process.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Runs a command with redis-cli.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        command("redis-cli", &[&["-p", &port], arguments].concat())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &Path, port: u16, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(arguments.iter().filter(|argument| argument.ends_with(".conf")))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
        .arg(folder)
        .args(arguments.iter().filter(|argument| !argument.ends_with(".conf")))
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

/// Runs a program to its end; answers what it printed.
pub(crate) fn command(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the program is installed");
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {printed} {}", String::from_utf8_lossy(&output.stderr));
    printed
}
