//! A Relay process, on a free port, with a data directory that goes with it.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use tempfile::TempDir;

use super::{Clients, Http, Token, within};

/// The HS256 key that test servers sign with: 32 bytes of 7, in base64url.
pub(crate) const SIGNING_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

/// Where a server that has a settings file finds it, in its data directory.
const SETTINGS_FILE: &str = "relay.toml";

/// Settings as `section.key`.
pub(crate) type Settings = Vec<(String, String)>;

/// A running node. Dropped, it is killed.
pub(crate) struct Node {
    process: Child,
    address: String,
    settings: Settings,
    data: TempDir,
}

impl Node {
    /// Starts one for each of these settings, together; with a settings file if `file` is not empty.
    pub(super) fn start_all(settings: Vec<Settings>, file: &str) -> Vec<Self> {
        let start = |settings: Settings| {
            let data = tempfile::tempdir().unwrap();
            if !file.is_empty() {
                std::fs::write(data.path().join(SETTINGS_FILE), file).unwrap();
            }
            let process = spawn("127.0.0.1:0", data.path(), &settings);
            Self { process, address: String::new(), settings, data }
        };
        let mut nodes: Vec<_> = settings.into_iter().map(start).collect();
        for node in &mut nodes {
            node.address = listening(node.process.stdout.take().unwrap());
        }
        nodes
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where its database and keys lie.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data.path().into()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again on the same port and data.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(&self.address, self.data.path(), &self.settings);
        listening(self.process.stdout.take().unwrap());
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let wait = async {
            let mut look = tokio::time::interval(std::time::Duration::from_millis(5));
            loop {
                look.tick().await;
                if let Some(status) = self.process.try_wait().unwrap() {
                    return status;
                }
            }
        };
        within("the server's end", wait).await
    }

    /// Clients of a user, over a connection of their own.
    pub(crate) async fn user(&self, user: &str) -> Clients {
        Clients::connect(&self.url(), Token::of(user).sign()).await
    }

    /// The SDK's client of a user.
    pub(crate) fn sdk(&self, user: &str) -> relay_sdk::Client {
        relay_sdk::Client::builder(self.url()).token(Token::of(user).sign()).build().unwrap()
    }

    /// GET over HTTP/1.1: the status and the body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let answer = Http::at(&self.address, "GET", path).send("").await;
        (answer.status.as_u16(), answer.text().await)
    }

    /// A metric by the name that it is shown under, with its labels if it has any.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, page) = self.get("/metrics").await;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        match value {
            // What has labels is not there before it counts.
            None if name.ends_with('}') => 0.0,
            value => value.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap(),
        }
    }

    /// Bytes of memory that it has resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(listen: &str, data: &Path, settings: &Settings) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.args(["serve", "--listen", listen, "--data-dir"]).arg(data);
    let file = data.join(SETTINGS_FILE);
    if file.exists() {
        command.arg("--config").arg(file);
    }
    for (key, value) in settings {
        command.args(["--set", &format!("{key}={value}")]);
    }
    command.env("RELAY_AUTH_SIGNING_KEY", SIGNING_KEY);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits until a process says where it listens.
fn listening(output: ChildStdout) -> String {
    let mut lines = BufReader::new(output).lines();
    let first = lines.next().expect("it starts").unwrap();
    let address = first.strip_prefix("relay listening on http://").unwrap().to_owned();
    // The rest is for people; it is read so that the pipe never fills.
    std::thread::spawn(move || lines.for_each(drop));
    address
}
