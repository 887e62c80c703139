//! The task that keeps the link: it serves one until it breaks, and opens the next.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Shared, discover::Discovery, fault::Fault, link::Link, probe::probe, send::send_all, subscribe::follow};
use crate::bus::Health;

/// A link that held so long makes the next attempt quick again.
const STEADY: Duration = Duration::from_secs(5);

/// The bus's task.
pub struct RedisTask {
    pub(super) shared: Arc<Shared>,
    pub(super) discovery: Discovery,
    /// The link of the start-up checks.
    pub(super) first: Option<Link>,
}

/// How serving a link ended.
enum End {
    Stopped,
    Broken(Fault),
}

impl RedisTask {
    /// Runs until `stop`; then what waits to be published still goes out.
    pub async fn run(mut self, stop: CancellationToken) {
        let (mut attempts, mut outage, mut explained) = (0, None, false);
        let mut id = 0;
        while !stop.is_cancelled() {
            let opened = match self.first.take() {
                Some(link) => Ok(link),
                None => {
                    id += 1;
                    let pause = sleep(pause(attempts, fastrand::f64()));
                    attempts = attempts.saturating_add(1);
                    let opening = async {
                        pause.await;
                        Link::open(id, &mut self.discovery, &self.shared).await
                    };
                    let Some(opened) = stop.run_until_cancelled(opening).await else { return };
                    opened
                }
            };
            let link = match opened {
                Ok(link) => Arc::new(link),
                Err(fault) => {
                    // Somebody has to do something, and is told once an outage.
                    if fault.lasts() && !std::mem::replace(&mut explained, true) {
                        tracing::warn!(%fault, "Redis cannot be used");
                    }
                    self.shared.set_health(health_after(&fault));
                    continue;
                }
            };
            if let Some(since) = outage.take() {
                let after = humantime::format_duration(whole_millis(Instant::elapsed(&since)));
                tracing::info!(%after, "Redis is back");
            }
            let begun = Instant::now();
            match serve(&self.shared, &link, &stop).await {
                End::Stopped => return,
                End::Broken(fault) => {
                    // That it is deaf has been said already.
                    if !matches!(fault, Fault::Deaf(_)) {
                        tracing::warn!(%fault, "Redis is away; what other nodes write is read from the database");
                    }
                    (outage, explained) = (Some(Instant::now()), false);
                }
            }
            if begun.elapsed() >= STEADY {
                attempts = 0;
            }
        }
    }
}

/// Uses a link until it is broken or the node stops.
async fn serve(shared: &Shared, link: &Arc<Link>, stop: &CancellationToken) -> End {
    *shared.link.lock() = Some(link.clone());
    shared.wanted.begin();
    shared.outbox.open();
    shared.set_health(Health::Up);
    shared.wanted.hear(link.id, &shared.voice);
    let mut under_way = Vec::new();
    let end = tokio::select! {
        // What waits still goes out, if it goes at all.
        () = long_stopped(shared, stop) => End::Stopped,
        sent = send_all(shared, link, stop, &mut under_way) => sent.map_or(End::Stopped, End::Broken),
        fault = link.trouble.wait() => End::Broken(fault),
        fault = follow(shared, link) => End::Broken(fault),
        fault = probe(shared, link) => End::Broken(fault),
    };
    *shared.link.lock() = None;
    shared.wanted.stop_hearing(&shared.voice);
    shared.dropped("down", shared.outbox.close(under_way));
    shared.set_health(match &end {
        End::Broken(fault) => health_after(fault),
        End::Stopped => Health::Down,
    });
    end
}

async fn long_stopped(shared: &Shared, stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(shared.command_timeout).await;
}

fn health_after(fault: &Fault) -> Health {
    match fault {
        Fault::Deaf(_) => Health::Deaf,
        _ => Health::Down,
    }
}

fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// How long to wait before an attempt. `dice` is from 0 to 1: nodes that lost Redis together do not come back together.
///
/// | attempt | 0       | 1        | 2         | 3         | 4         | 5 and later |
/// |---------|---------|----------|-----------|-----------|-----------|-------------|
/// | ms      | 25 – 50 | 50 – 100 | 100 – 200 | 200 – 400 | 400 – 800 | 500 – 1,000 |
fn pause(attempt: u32, dice: f64) -> Duration {
    let most = Duration::from_millis(50 << attempt.min(5)).min(Duration::from_secs(1));
    most.mul_f64(0.5 + dice / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second() {
        assert_eq!(pause(0, 0.0), Duration::from_millis(25));
        assert_eq!(pause(2, 1.0), Duration::from_millis(200));
        assert_eq!(pause(5, 0.0), Duration::from_millis(500));
        assert_eq!(pause(u32::MAX, 1.0), Duration::from_secs(1));
    }
}
