//! The example that a newcomer runs in two terminals.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use tokio::sync::{Mutex, mpsc};

use crate::support::{Server, Token, eventually, within};

/// Lines of a screen that nobody has looked at yet.
const LINES: usize = 1_024;

/// One terminal. Dropped, it is closed.
struct Terminal {
    process: Mutex<Child>,
    keyboard: ChildStdin,
    screen: mpsc::Receiver<String>,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let process = self.process.get_mut();
        let _ = process.kill();
        let _ = process.wait();
    }
}

impl Terminal {
    fn open(example: &Path, server: &Server, user: &str) -> Self {
        let mut command = Command::new(example);
        command.args(["--url", &server.url(), "--user", user, "--room", "general"]);
        command.env("RELAY_TOKEN", Token::of(user).sign());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (lines, screen) = mpsc::channel(LINES);
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        std::thread::spawn(move || output.map_while(Result::ok).try_for_each(|line| lines.blocking_send(line)));
        Self { keyboard: process.stdin.take().unwrap(), process: Mutex::new(process), screen }
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").unwrap();
    }

    /// Waits until it has ended by itself, and well.
    async fn ends_well(&self) {
        eventually("the end", async || self.process.lock().await.try_wait().unwrap().is_some()).await;
        assert!(self.process.lock().await.wait().unwrap().success());
    }

    /// The next line that is no notice about the connection.
    async fn line(&mut self) -> String {
        loop {
            let line = within("a line", self.screen.recv()).await.expect("it still runs");
            if !line.starts_with("* connected") && !line.starts_with("* disconnected") {
                return line;
            }
        }
    }

    async fn shows(&mut self, expected: &str) {
        assert_eq!(self.line().await, expected);
    }
}

/// The example's program: as `cargo test --workspace` has built it, or built now.
fn example() -> PathBuf {
    let server = PathBuf::from(env!("CARGO_BIN_EXE_relay"));
    let example = server.with_file_name("examples").join("chat");
    if !example.is_file() {
        let release = server.parent().unwrap().ends_with("release").then_some("--release");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "-p", "relay-sdk", "--example", "chat"]).args(release);
        build.arg("--target-dir").arg(server.ancestors().nth(2).unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success());
    }
    example
}

#[tokio::test]
async fn two_terminals_talk_across_a_kill_and_restart_of_the_server() {
    let example = example();
    let mut server = Server::start();
    let mut ana = Terminal::open(&example, &server, "ana");
    ana.type_line("anyone here?");
    ana.shows("[1] ana: anyone here?").await;
    let mut ben = Terminal::open(&example, &server, "ben");
    ben.shows("[1] ana: anyone here?").await;
    ana.shows("* ben joined").await;
    ben.type_line("me");
    ana.shows("[2] ben: me").await;
    ben.shows("[2] ben: me").await;

    server.kill();
    ana.type_line("are you");
    ana.type_line("still there?");
    server.restart();
    for terminal in [&mut ana, &mut ben] {
        terminal.shows("[3] ana: are you").await;
        terminal.shows("[4] ana: still there?").await;
    }
    ben.type_line("yes");
    ben.type_line("/react 4 👍");
    ben.type_line("/leave");
    ana.shows("[5] ben: yes").await;
    ana.shows("* ben reacted 👍 to [4]").await;
    ana.shows("* ben left").await;
    ben.ends_well().await;
    ana.type_line("/quit");
    ana.ends_well().await;
}
