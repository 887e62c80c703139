//! Database and Redis instances that a test has for itself, each as its script in `scripts` runs it.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// An instance under its script. Dropped, it is gone.
pub(super) struct Instance {
    process: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Instance {
    /// Has `scripts/{script}` start one, which leaves `{prefix}_URL` and `{prefix}_CTL` to its command.
    pub(super) fn start(script: &str, prefix: &str) -> Self {
        Self::start_with(script, prefix, &[])
    }

    /// The same with these variables in the script's environment.
    pub(super) fn start_with(script: &str, prefix: &str, environment: &[(&str, &str)]) -> Self {
        let serve = format!(
            "echo \"${prefix}_URL\"; \
             while read order; do if ${prefix}_CTL $order </dev/null >&2; then echo done; else echo failed; fi; done"
        );
        let path = format!("{}/scripts/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(path);
        command.args(["sh", "-c", &serve]).envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let orders = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = answers.next().unwrap_or_else(|| panic!("scripts/{script} true says what is missing")).unwrap();
        Self { process, orders, answers, url }
    }

    /// Where it listens, with a password.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`
    pub(super) fn address(&self) -> &str {
        self.url.rsplit_once('@').unwrap().1.split_once('/').unwrap().0
    }

    /// Has an order carried out.
    pub(super) fn control(&mut self, order: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        assert_eq!(self.answers.next().unwrap().unwrap(), "done", "{order}");
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Without orders to come, the script ends and takes the instance with it.
        self.orders = None;
        let _ = self.process.wait();
    }
}
