//! A node says in the database that it lives, and takes the devices of nodes away that do not say it any more.

use std::time::Duration;

use tokio::time::Instant;

use super::{COME_BACK, Presence, dirty::Change, flush::BATCH, user::Availability};
use crate::{
    chat::{
        bulletin::NodeId,
        store::{self, presence::DeadNode},
    },
    error::Result,
};

/// How long the last word to the database may take: without it the lease runs out by itself.
const LAST_WORD: Duration = Duration::from_secs(1);

impl Presence {
    /// Keeps this node alive, and looks for dead ones, several times in each lease.
    pub(super) async fn keep_lease(&self) {
        let mut ticks = tokio::time::interval(self.options.node_lease / 4);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Since when this node has kept its own lease without a gap.
        let mut steady = Instant::now();
        loop {
            ticks.tick().await;
            if !matches!(self.renew().await, Ok(true)) {
                steady = Instant::now();
            }
            // After an outage of the database all leases are over, and all nodes are about to renew them. Where there is no
            // other node, what is dead is so.
            if !self.db.is_shared() || steady.elapsed() >= self.options.node_lease {
                // It was logged where it failed, and is tried again.
                let _ = self.sweep().await;
            }
        }
    }

    /// Renews the lease; `false`: it was over, and others may have taken this node's devices away.
    async fn renew(&self) -> Result<bool> {
        let now = self.clock.now();
        let held = store::presence::renew(&self.db, self.node, now, now.plus(self.options.node_lease)).await?;
        if !held {
            self.dirty.lock().forget(self.hub.owners(), Instant::now(), now);
        }
        Ok(held)
    }

    /// Takes the devices of dead nodes away. Other nodes may do it at the same time: of each user only one finds that
    /// something changed.
    async fn sweep(&self) -> Result<()> {
        for DeadNode { node, expired_at } in store::presence::dead(&self.db, self.clock.now()).await? {
            if node == self.node {
                continue;
            }
            tracing::info!(%node, "a node is gone: so are its users' devices");
            loop {
                let users = store::presence::users_at(&self.db, node, BATCH as u64).await?;
                if users.is_empty() || !self.is_dead(node).await? {
                    break;
                }
                let gone = |user| Change { user, state: Availability::Offline, seen_at: expired_at };
                let changes: Vec<Change> = users.into_iter().map(gone).collect();
                let told = self.write(&changes, Some(node)).await?;
                self.tell(told).await;
                self.renew().await?;
            }
            store::presence::bury(&self.db, node, self.clock.now()).await?;
        }
        Ok(())
    }

    /// Whether a node is still dead.
    async fn is_dead(&self, node: NodeId) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        store::presence::is_dead(&mut tx, node, self.clock.now()).await
    }

    /// On the way out: the node's users have a while to come back to another, and nothing is seen of it. Who does not is
    /// gone then.
    pub(super) async fn release(&self) {
        let now = self.clock.now();
        let release = store::presence::renew(&self.db, self.node, now, now.plus(COME_BACK));
        // What failed was logged.
        let _ = tokio::time::timeout(LAST_WORD, release).await;
    }
}
