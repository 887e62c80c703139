//! `scripts/cluster`, which is `make cluster`: several nodes by hand, and nothing left of them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, ExitStatus, Stdio},
};

use relay_proto::chat::v1::{JoinRoomRequest, RoomKind};
use tempfile::TempDir;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::support::{Clients, Stream, eventually, within};

/// What a user is told to type to talk.
struct Line {
    token: String,
    url: String,
    user: String,
}

impl Line {
    fn read(line: &str) -> Option<Self> {
        let after = |mark: &str| line.split_once(mark)?.1.split_whitespace().next().map(str::to_owned);
        Some(Self { token: after("RELAY_TOKEN=")?, url: after("--url ")?, user: after("--user ")? })
    }
}

/// The script as it runs. Dropped, it is told to end.
struct Cluster {
    process: Child,
    screen: mpsc::Receiver<String>,
    /// Where it puts what it needs. PostgreSQL runs as another user, so others may enter.
    folder: TempDir,
    /// Stands in the environment of all that it starts.
    mark: String,
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mark = Uuid::new_v4().to_string();
        // Whoever runs the tests in the background has SIGINT ignored, which scripts inherit.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cluster")]);
        command.args(["--relay", env!("CARGO_BIN_EXE_relay"), "--port", "0"]);
        command.env("TMPDIR", folder.path()).env("RELAY_TEST_MARK", &mark);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let (lines, screen) = mpsc::channel(1_024);
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        std::thread::spawn(move || output.map_while(Result::ok).try_for_each(|line| lines.blocking_send(line)));
        Self { process, screen, folder, mark }
    }

    /// The next line that tells a user what to type.
    async fn line(&mut self) -> Line {
        loop {
            let line = within("a line", self.screen.recv()).await.expect("it runs");
            if let Some(line) = Line::read(&line) {
                return line;
            }
        }
    }

    /// How many of its processes there are.
    fn processes(&self) -> usize {
        let environments =
            fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("environ")).ok());
        environments.filter(|environment| String::from_utf8_lossy(environment).contains(&self.mark)).count()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal("-TERM");
            let _ = self.process.wait();
        }
    }
}

#[tokio::test]
async fn a_message_crosses_the_nodes_that_a_newcomer_starts_and_ctrl_c_leaves_nothing_behind() {
    let mut cluster = Cluster::start();
    let (of_ana, of_ben) = (cluster.line().await, cluster.line().await);
    assert_eq!((of_ana.user.as_str(), of_ben.user.as_str()), ("ana", "ben"));
    assert_ne!(of_ana.url, of_ben.url, "each at a node of their own");
    let mut ana = Clients::connect(&of_ana.url, of_ana.token).await;
    let mut ben = Clients::connect(&of_ben.url, of_ben.token).await;
    ana.create_room("general", RoomKind::Public, &[]).await;
    ben.rooms.join_room(JoinRoomRequest { room_id: "general".into() }).await.unwrap();
    let (mut of_ben, _) = Stream::caught_up(&ben, &[]).await;
    ana.say("general", "hello over there").await;
    assert_eq!(of_ben.event().await.position, 3);
    drop((ana, ben, of_ben));

    assert!(cluster.processes() >= 5, "three nodes, PostgreSQL, Redis");
    assert_ne!(fs::read_dir(cluster.folder.path()).unwrap().count(), 0);
    cluster.signal("-INT");
    let mut look = tokio::time::interval(std::time::Duration::from_millis(10));
    let end = async {
        while cluster.ended().is_none() {
            look.tick().await;
        }
    };
    within("its end", end).await;
    eventually("all of its processes to be gone", async || cluster.processes() == 0).await;
    assert_eq!(fs::read_dir(cluster.folder.path()).unwrap().count(), 0, "no file is left either");
}
