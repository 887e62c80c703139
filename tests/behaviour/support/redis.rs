//! A Redis for tests that harm it.

use std::process::Command;

use super::instance::Instance;

/// A Redis that a test has for itself. Dropped, it is gone.
pub(crate) struct Redis(Instance);

impl Redis {
    /// Starts one.
    pub(crate) fn start() -> Self {
        Self(Instance::start("with-redis", "RELAY_TEST_REDIS"))
    }

    /// Its URL, with its password.
    pub(crate) fn url(&self) -> &str {
        self.0.url()
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> &str {
        self.0.address()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.0.control("kill");
    }

    /// Starts it again on the same port, empty.
    pub(crate) fn restart(&mut self) {
        self.0.control("start");
    }

    /// SIGSTOP: connections stay, and nothing is answered.
    pub(crate) fn pause(&mut self) {
        self.0.control("pause");
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self) {
        self.0.control("resume");
    }
}

/// Runs a command in the Redis at `url`; answers with what it gives, bare.
pub(crate) fn redis_run(url: &str, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-u", url, "--no-auth-warning"]).args(arguments).output();
    let output = output.expect("redis-cli is on PATH");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{arguments:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
