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
        Self::open_with(example, server, user, &[])
    }

    fn open_with(example: &Path, server: &Server, user: &str, more: &[&str]) -> Self {
        let mut command = Command::new(example);
        command.args(more);
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

    /// Waits for a line, and passes over those before it.
    async fn comes_to_show(&mut self, expected: &str) {
        while self.line().await != expected {}
    }

    /// Asks again and again until this is the answer.
    async fn says(&mut self, question: &str, expected: &str) {
        let asked = async {
            loop {
                self.type_line(question);
                if self.line().await == expected {
                    return;
                }
            }
        };
        within(expected, asked).await;
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
        build.args(["build", "--quiet", "-p", "relay-sdk", "--features", "sqlite", "--example", "chat"]).args(release);
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

#[tokio::test]
async fn a_terminal_with_a_file_shows_and_takes_messages_without_a_server() {
    let (example, folder) = (example(), tempfile::tempdir().unwrap());
    let file = folder.path().join("ana.db");
    let store = ["--store", file.to_str().unwrap()];
    let mut server = Server::start();
    let mut ana = Terminal::open_with(&example, &server, "ana", &store);
    ana.type_line("before");
    ana.comes_to_show("[1] ana: before").await;
    // It may be shown before its acknowledgement is stored.
    ana.says("/offline", "* 0 not sent yet").await;
    ana.type_line("/quit");
    ana.ends_well().await;

    server.kill();
    let mut ana = Terminal::open_with(&example, &server, "ana", &store);
    ana.comes_to_show("[1] ana: before").await;
    ana.type_line("written alone");
    ana.type_line("/offline");
    ana.comes_to_show("* 1 not sent yet").await;
    assert!(ana.line().await.starts_with("… written alone"));
    ana.type_line("/quit");
    ana.ends_well().await;

    server.restart();
    let mut ana = Terminal::open_with(&example, &server, "ana", &store);
    ana.comes_to_show("[1] ana: before").await;
    ana.comes_to_show("[2] ana: written alone").await;
    let file = folder.path().join("ben.db");
    let mut ben = Terminal::open_with(&example, &server, "ben", &["--store", file.to_str().unwrap()]);
    ben.comes_to_show("[1] ana: before").await;
    ben.comes_to_show("[2] ana: written alone").await;
    ana.says("/offline", "* 0 not sent yet").await;
}

#[tokio::test]
async fn a_terminal_says_how_far_a_message_has_come_and_finds_it_again() {
    let example = example();
    let server = Server::start();
    let mut ana = Terminal::open(&example, &server, "ana");
    ana.type_line("the quick brown fox");
    ana.shows("[1] ana: the quick brown fox").await;
    ana.type_line("/status 1");
    ana.shows("[1] ✓ sent: 0 of 0 have it, 0 have read it").await;
    let mut ben = Terminal::open(&example, &server, "ben");
    ben.shows("[1] ana: the quick brown fox").await;
    ana.shows("* ben joined").await;
    ana.type_line("do you see it?");
    for terminal in [&mut ana, &mut ben] {
        terminal.shows("[2] ana: do you see it?").await;
    }
    ana.says("/status 2", "[2] ✓✓ read: 1 of 1 have it, 1 have read it").await;
    ben.says("/search \"quick brown\"", "general [1] ana: the quick brown fox").await;
    ana.type_line("/pin 1");
    ben.shows("* ana pinned [1]").await;
    ben.type_line("/pins");
    ben.shows("📌 [1] ana: the quick brown fox").await;
    ana.shows("* ana pinned [1]").await;
    for (command, answer) in [
        ("/mute ben 60", "* ben is now Member, muted"),
        ("/block eve", "* eve is blocked"),
        ("/unblock eve", "* eve is not blocked any more"),
        ("/unban eve", "* eve may join again"),
    ] {
        ana.type_line(command);
        ana.shows(answer).await;
    }
    ana.type_line("/help");
    for _ in 0..4 {
        let line = ana.line().await;
        assert!(line.starts_with('/') && line.len() < 80, "{line}");
    }
}
