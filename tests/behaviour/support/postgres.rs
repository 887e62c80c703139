//! Databases on Postgres: one for each test server where the suite runs on it, and whole instances for tests that harm
//! them.

use std::process::Command;

use uuid::Uuid;

use super::instance::Instance;

/// A database of its own in a running instance. Dropped, it is dropped there.
pub(crate) struct Database {
    admin: String,
    name: String,
}

impl Database {
    /// One for a test server, if RELAY_TEST_DATABASE=postgres says that the suite runs on Postgres.
    pub(crate) fn of_suite() -> Option<Self> {
        let engine = std::env::var("RELAY_TEST_DATABASE").unwrap_or_default();
        match engine.as_str() {
            "" | "sqlite" => None,
            "postgres" => {
                let admin = std::env::var("RELAY_TEST_POSTGRES_URL").expect("scripts/with-postgres sets it");
                Some(Self::create(&admin))
            }
            other => panic!("RELAY_TEST_DATABASE takes sqlite or postgres, not {other}"),
        }
    }

    /// Makes one where `admin` leads to.
    pub(crate) fn create(admin: &str) -> Self {
        let database = Self { admin: admin.into(), name: format!("relay_{}", Uuid::new_v4().simple()) };
        psql(&database.admin, &format!("CREATE DATABASE {}", database.name));
        database
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        self.url_on(&self.admin)
    }

    /// Its URL in the instance where `admin` leads to: a replica's, say.
    pub(crate) fn url_on(&self, admin: &str) -> String {
        format!("{}/{}", admin.rsplit_once('/').unwrap().0, self.name)
    }

    /// Runs a statement in it; answers with what it gives, bare.
    pub(crate) fn run(&self, statement: &str) -> String {
        psql(&self.url(), statement)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = command(&self.admin, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).output();
    }
}

fn psql(url: &str, statement: &str) -> String {
    let output = command(url, statement).output().expect("psql is on PATH");
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn command(url: &str, statement: &str) -> Command {
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command"]);
    command.args([statement, url]);
    command
}

/// A PostgreSQL instance that a test has for itself. Dropped, it is gone.
pub(crate) struct Postgres(Instance);

impl Postgres {
    /// Starts one, which takes a few seconds.
    pub(crate) fn start() -> Self {
        Self(Instance::start("with-postgres", "RELAY_TEST_POSTGRES"))
    }

    /// Starts a streaming replica of this one.
    pub(crate) fn standby(&self) -> Self {
        let of = [("RELAY_TEST_STANDBY_OF", self.url())];
        Self(Instance::start_with("with-postgres", "RELAY_TEST_POSTGRES", &of))
    }

    /// A superuser's URL.
    pub(crate) fn url(&self) -> &str {
        self.0.url()
    }

    /// Runs a statement in it; answers with what it gives, bare.
    pub(crate) fn run(&self, statement: &str) -> String {
        psql(self.url(), statement)
    }

    /// Writes a file into its data directory, readable for itself alone.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let lines = format!("SELECT unnest(string_to_array($text${}$text$, E'\\n'))", text.trim_end());
        self.run(&format!("COPY ({lines}) TO PROGRAM 'umask 077; cat > {name}'"));
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> &str {
        self.0.address()
    }

    /// `restart -m immediate` and the like, until it is done.
    pub(crate) fn control(&mut self, order: &str) {
        self.0.control(order);
    }
}
