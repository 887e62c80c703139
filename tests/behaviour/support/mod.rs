//! Servers as processes, clients as apps have them, and waiting on conditions instead of sleeping.

mod authority;
mod clients;
mod http;
mod instance;
mod node;
mod postgres;
mod proxy;
mod raw;
pub(crate) mod raw_stream;
mod redis;
mod redis_proxy;
mod run;
mod server;
mod stream;
mod token;

use std::{future::Future, pin::pin, task::Poll, time::Duration};

pub(crate) use authority::{Authority, Certificate};
pub(crate) use clients::{Clients, error_of, message};
pub(crate) use http::{Answer, Http};
pub(crate) use node::{Node, SIGNING_KEY, Settings};
pub(crate) use postgres::{Database, Postgres};
pub(crate) use proxy::Proxy;
pub(crate) use raw::{Raw, methods};
pub(crate) use raw_stream::RawStream;
pub(crate) use redis::{Redis, redis_run};
pub(crate) use redis_proxy::RedisProxy;
pub(crate) use run::{relay, relay_with};
pub(crate) use server::Server;
pub(crate) use stream::Stream;
pub(crate) use token::Token;

/// How long anything in a test may take before it counts as never.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `what`, no longer than [`DEADLINE`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Asks `condition` again and again until it holds, no longer than [`DEADLINE`].
pub(crate) async fn eventually<F>(what: &str, mut condition: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let ask = async {
        let mut again = tokio::time::interval(Duration::from_millis(10));
        while !condition().await {
            again.tick().await;
        }
    };
    within(what, ask).await;
}

/// Polls `future` at most `polls` times, and drops it.
pub(crate) async fn give_up_after(polls: usize, future: impl Future) {
    let mut future = pin!(future);
    for _ in 0..polls {
        let over = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if over {
            return;
        }
        tokio::task::yield_now().await;
    }
}
