//! Relay as a test meets it: one process, or several that are one server to their users.

use std::{
    process::ExitStatus,
    sync::atomic::{AtomicUsize, Ordering},
};

use uuid::Uuid;

use super::{
    Clients, Database,
    node::{Node, Settings},
};

/// A running server: one node, or as many as RELAY_TEST_NODES says, on one database and one Redis. Who asks it for an
/// address or for clients gets the next node each time, so that users of one test meet across nodes. Dropped, it is killed.
pub(crate) struct Server {
    nodes: Vec<Node>,
    next: AtomicUsize,
    /// On Postgres, if the suite runs there. Fields go in their order: the processes are gone before.
    database: Option<Database>,
}

impl Server {
    /// A server with the default settings.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// A server with some settings of its own, as `section.key`.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Self {
        Self::nodes(nodes_of_suite(), settings)
    }

    /// A server whose settings file says this, beside some settings of its own.
    pub(crate) fn with_file(text: &str, settings: &[(&str, &str)]) -> Self {
        Self::launch(vec![owned(settings); nodes_of_suite()], text)
    }

    /// One node wherever the suite runs, for what is about a process as such.
    pub(crate) fn alone(settings: &[(&str, &str)]) -> Self {
        Self::nodes(1, settings)
    }

    /// So many nodes with the same settings.
    pub(crate) fn nodes(count: usize, settings: &[(&str, &str)]) -> Self {
        Self::launch(vec![owned(settings); count], "")
    }

    /// A node for each of these settings.
    pub(crate) fn each(settings: Vec<Settings>) -> Self {
        Self::launch(settings, "")
    }

    fn launch(mut settings: Vec<Settings>, file: &str) -> Self {
        let says = |settings: &Settings, name: &str| settings.iter().any(|(key, _)| key == name);
        let database = match settings.iter().any(|settings| says(settings, "database.url")) {
            true => None,
            false => Database::of_suite(),
        };
        let together = settings.len() > 1;
        let prefix = format!("test-{}", Uuid::new_v4().simple());
        for settings in &mut settings {
            settings.extend(database.iter().map(|database| ("database.url".to_owned(), database.url())));
            if together && !says(settings, "redis.url") {
                settings.push(("redis.url".into(), redis_of_suite()));
            }
            if together && !says(settings, "redis.prefix") {
                settings.push(("redis.prefix".into(), prefix.clone()));
            }
        }
        Self { nodes: Node::start_all(settings, file), next: AtomicUsize::new(0), database }
    }

    /// How many nodes it has.
    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// A certain node.
    pub(crate) fn node(&self, n: usize) -> &Node {
        &self.nodes[n]
    }

    /// A certain node, to be ended or started.
    pub(crate) fn node_mut(&mut self, n: usize) -> &mut Node {
        &mut self.nodes[n]
    }

    /// Another node at each call, in turn.
    pub(crate) fn next(&self) -> &Node {
        &self.nodes[self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len()]
    }

    /// `127.0.0.1:PORT` of the next node.
    pub(crate) fn address(&self) -> &str {
        self.next().address()
    }

    /// `http://127.0.0.1:PORT` of the next node.
    pub(crate) fn url(&self) -> String {
        self.next().url()
    }

    /// Clients of a user, over a connection of their own to the next node.
    pub(crate) async fn user(&self, user: &str) -> Clients {
        self.next().user(user).await
    }

    /// The SDK's client of a user, at the next node.
    pub(crate) fn sdk(&self, user: &str) -> relay_sdk::Client {
        self.next().sdk(user)
    }

    /// GET over HTTP/1.1 from the next node: the status and the body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.next().get(path).await
    }

    /// kill -9 of every node.
    pub(crate) fn kill(&mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
    }

    /// Starts every node again, on the same port and data.
    pub(crate) fn restart(&mut self) {
        self.nodes.iter_mut().for_each(Node::restart);
    }

    /// What stands for a value in a statement: as SQLite writes it, or as Postgres does, where the server is on that.
    pub(crate) fn sql(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        if self.database.is_some() { postgres } else { sqlite }
    }

    /// Kills every node, runs a statement in their database, and starts them again.
    pub(crate) async fn amend(&mut self, statement: &str) {
        use sqlx::{ConnectOptions as _, Executor as _};
        self.kill();
        match &self.database {
            Some(database) => drop(database.run(statement)),
            None => {
                let file = self.node(0).data_dir().join("relay.db");
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
                let mut connection = options.connect().await.unwrap();
                connection.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.unwrap();
                sqlx::Connection::close(connection).await.unwrap();
            }
        }
        self.restart();
    }

    /// What a statement reads in the nodes' database, bare: for what they do unseen.
    pub(crate) async fn look(&self, statement: &str) -> String {
        use sqlx::{ConnectOptions as _, Row as _};
        match &self.database {
            Some(database) => database.run(statement),
            None => {
                let file = self.node(0).data_dir().join("relay.db");
                let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap();
                let statement = sqlx::AssertSqlSafe(statement.to_owned());
                let row = sqlx::query(statement).fetch_optional(&mut connection).await.unwrap();
                row.map(|row| row.get::<i64, _>(0).to_string()).unwrap_or_default()
            }
        }
    }

    /// SIGTERM to every node, without waiting.
    pub(crate) fn terminate(&self) {
        self.nodes.iter().for_each(Node::terminate);
    }

    /// Waits for the end of every node; answers with the first status that is bad, or a good one.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut all = ExitStatus::default();
        for node in &mut self.nodes {
            let status = node.ended().await;
            if all.success() {
                all = status;
            }
        }
        all
    }

    /// A metric, by the name that it is shown under: the sum over all nodes.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for node in &self.nodes {
            sum += node.metric(name).await;
        }
        sum
    }

    /// Bytes of memory that all nodes have resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.nodes.iter().map(Node::resident_bytes).sum()
    }
}

fn owned(settings: &[(&str, &str)]) -> Settings {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// How many nodes a server has: RELAY_TEST_NODES, or one.
fn nodes_of_suite() -> usize {
    let nodes =
        std::env::var("RELAY_TEST_NODES").map_or(1, |nodes| nodes.parse().expect("RELAY_TEST_NODES is a number"));
    let postgres = std::env::var("RELAY_TEST_DATABASE").is_ok_and(|engine| engine == "postgres");
    assert!(nodes == 1 || nodes > 1 && postgres, "RELAY_TEST_NODES beyond 1 asks for RELAY_TEST_DATABASE=postgres");
    nodes
}

fn redis_of_suite() -> String {
    std::env::var("RELAY_TEST_REDIS_URL").expect("scripts/with-redis sets it")
}
