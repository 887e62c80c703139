//! The task that writes what was reported, and tells what moved by it.

use std::{sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{
    Reported, Shared,
    untold::{Member, Told},
};
use crate::{chat::store, error::Result};

/// Rows in one transaction: others that write take their turn between two of them.
const ROWS: usize = 1_024;
/// How long a last write that failed waits for the next try.
const AGAIN: Duration = Duration::from_millis(200);

/// Writes receipts.
pub struct Flusher {
    shared: Arc<Shared>,
    /// Whose cursors moved in a transaction of which nobody knows whether it was committed: they will, by the next.
    in_doubt: Vec<Member>,
}

impl Flusher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, in_doubt: Vec::new() }
    }

    /// Writes until `stop`, and then whatever was taken in before it.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.shared.options.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.flush().await;
            self.tell_again().await;
            self.shared.repair_lost();
            self.shared.untold.lock().forget();
        }
        while !self.flush().await {
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Writes what waits; `false` if some of it waits still.
    async fn flush(&mut self) -> bool {
        let taken = self.shared.pending.take();
        let mut moved = Vec::new();
        let mut written = 0;
        for rows in taken.chunks(ROWS) {
            // The log says what went wrong.
            let Ok(raised) = self.write(rows).await else { break };
            moved.extend(raised);
            written += rows.len();
        }
        let failed = &taken[written..];
        self.shared.pending.written(failed);
        if failed.is_empty() {
            self.shared.untold.lock().tell_again(self.in_doubt.drain(..));
        }
        self.shared.moved(moved);
        failed.is_empty()
    }

    /// Tells what others may not have heard of; cursors as they are now: another node may have raised them since.
    async fn tell_again(&self) {
        let Told { moved, settings, blocks } = self.shared.untold.lock().take_again();
        for (room, user) in &settings {
            self.shared.tell_settings(room, user);
        }
        for (user, other) in &blocks {
            self.shared.tell_block(user, other);
        }
        let moved: Vec<Member> = moved.into_iter().collect();
        for some in moved.chunks(ROWS) {
            let wanted: Vec<_> = some.iter().map(|(room, user)| (room, user)).collect();
            match store::receipts::states(&self.shared.db, &wanted).await {
                Ok(found) => {
                    self.shared.moved(found.into_iter().map(|((room, user), m)| (room, user, m.cursors)).collect())
                }
                // It was logged where it failed.
                Err(_) => self.shared.untold.lock().tell_again(some.iter().cloned()),
            }
        }
    }

    /// Raises the cursors of these members; answers whose moved.
    async fn write(&mut self, rows: &[Reported]) -> Result<Vec<Reported>> {
        let mut tx = self.shared.db.begin().await?;
        let moved = store::receipts::raise(&mut tx, rows).await?;
        self.shared.metrics.receipt_updates.inc_by(moved.len() as u64);
        if let Err(error) = tx.commit().await {
            self.in_doubt.extend(moved.into_iter().map(|(room, user, _)| (room, user)));
            return Err(error);
        }
        Ok(moved)
    }
}
