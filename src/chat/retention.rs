//! Forgets events that are older than the log reaches back and mutes of users who left, and erases what deleted rooms left behind.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{log::Log, store};
use crate::{clock::Clock, error::Result};

/// Rows that one transaction takes away: small, because sends wait for it.
const ROWS: u64 = 500;

/// How long the log reaches back.
#[derive(Clone, Debug)]
pub struct RetentionOptions {
    /// Events older than this go.
    pub event_retention: Duration,
    /// How often to look.
    pub interval: Duration,
}

/// The one task that sweeps.
pub struct Retention {
    options: RetentionOptions,
    log: Log,
    clock: Arc<dyn Clock>,
}

impl Retention {
    /// Sweeps through `log`, between other writes.
    pub fn new(options: RetentionOptions, log: Log, clock: Arc<dyn Clock>) -> Self {
        Self { options, log, clock }
    }

    /// Sweeps at every interval until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.options.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.sweep(&stop).await {
                Ok(0) => {}
                Ok(rounds) => tracing::info!(rounds, "swept old events and deleted rooms"),
                Err(error) => tracing::warn!(%error, "the sweep failed; it is tried again at the next interval"),
            }
        }
    }

    /// Sweeps until nothing is left to do; answers in how many transactions.
    async fn sweep(&self, stop: &CancellationToken) -> Result<usize> {
        let before = self.clock.now().minus(self.options.event_retention);
        let mut rounds = 0;
        while !stop.is_cancelled() {
            let more = self
                .log
                .write(None, 0, move |unit| {
                    Box::pin(async move {
                        let over = store::moderation::forget_restraints(&mut unit.tx, unit.now, ROWS).await? > 0;
                        let pruned = store::events::prune(&mut unit.tx, before, ROWS).await? > 0;
                        Ok(store::events::erase_deleted(&mut unit.tx, unit.now, ROWS).await? || pruned || over)
                    })
                })
                .await?;
            if !more {
                break;
            }
            rounds += 1;
        }
        Ok(rounds)
    }
}
