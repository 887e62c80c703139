//! A Relay process of its own, on a free port, with a data directory that goes with it.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use tempfile::TempDir;

use super::{Clients, Database, Http, Token, within};

/// The HS256 key that test servers sign with: 32 bytes of 7, in base64url.
pub(crate) const SIGNING_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

/// Where a server that has a settings file finds it, in its data directory.
const SETTINGS_FILE: &str = "relay.toml";

/// A running server. Dropped, it is killed.
pub(crate) struct Server {
    process: Child,
    address: String,
    settings: Vec<(String, String)>,
    data: TempDir,
    /// On Postgres, if the suite runs there. Fields go in their order: the process is gone before.
    _database: Option<Database>,
}

impl Server {
    /// A server with the default settings.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// A server with some settings of its own, as `section.key`.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Self {
        Self::on(tempfile::tempdir().unwrap(), settings)
    }

    fn on(data: TempDir, settings: &[(&str, &str)]) -> Self {
        let mut settings: Vec<_> = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let database = match settings.iter().any(|(key, _)| key == "database.url") {
            true => None,
            false => Database::of_suite(),
        };
        settings.extend(database.iter().map(|database| ("database.url".to_owned(), database.url())));
        let (process, address) = spawn("127.0.0.1:0", data.path().into(), &settings);
        Self { process, address, settings, data, _database: database }
    }

    /// A server whose settings file says this, beside some settings of its own.
    pub(crate) fn with_file(text: &str, settings: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(SETTINGS_FILE), text).unwrap();
        Self::on(data, settings)
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

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again on the same port and data.
    pub(crate) fn restart(&mut self) {
        (self.process, _) = spawn(&self.address, self.data.path().into(), &self.settings);
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap();
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
        let answer = Http::get(self, path).send("").await;
        (answer.status.as_u16(), answer.text().await)
    }

    /// A metric without labels, by the name that it is shown under.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, page) = self.get("/metrics").await;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
    }

    /// Bytes of memory that it has resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(listen: &str, data: PathBuf, settings: &[(String, String)]) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.args(["serve", "--listen", listen, "--data-dir"]).arg(&data);
    let file = data.join(SETTINGS_FILE);
    if file.exists() {
        command.arg("--config").arg(file);
    }
    for (key, value) in settings {
        command.args(["--set", &format!("{key}={value}")]);
    }
    command.env("RELAY_AUTH_SIGNING_KEY", SIGNING_KEY);
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let address = first.strip_prefix("relay listening on http://").unwrap().to_owned();
    // The rest is for people; it is read so that the pipe never fills.
    std::thread::spawn(move || lines.for_each(drop));
    (process, address)
}
