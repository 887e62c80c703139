//! Redis servers, nodes, and waiting with a deadline.

mod node;
mod proxy;
mod redis;

use std::{future::Future, time::Duration};

pub(crate) use node::{KEEP, Node, config};
pub(crate) use proxy::Proxy;
pub(crate) use redis::{Redis, command, free_port};

/// What should happen within this happens.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `what`, for [`DEADLINE`] at most.
pub(crate) async fn within<T>(what: &str, waited_for: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, waited_for).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {DEADLINE:?}"),
    }
}

/// Waits until `is_so`, looking again and again.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    within(what, async {
        while !is_so() {
            look.tick().await;
        }
    })
    .await;
}
