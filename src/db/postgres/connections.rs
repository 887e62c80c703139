//! A few connections that are kept: each is lent to one user at a time, and comes back only if it is in order.
//!
//! sqlx's own pool asks the server once more each time a connection comes back, which is one round trip more for each
//! batch. Here a connection that was not given back, because a call failed, was given up or ran out of time, is closed;
//! the server then rolls back what was begun on it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// The connections of one kind.
pub(super) struct Connections {
    options: PgConnectOptions,
    limits: Limits,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<PgConnection>>,
}

/// How long things may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Until it is one's turn: others hold the connections.
    pub(super) turn: Duration,
    /// Until a new connection is open.
    pub(super) connect: Duration,
}

/// A connection on loan. Dropped without [`Lent::give_back`], it is closed.
pub(super) struct Lent {
    pub(super) connection: PgConnection,
    home: Arc<Connections>,
    _turn: OwnedSemaphorePermit,
}

impl Connections {
    /// At most `max` at once.
    pub(super) fn new(options: PgConnectOptions, max: u32, limits: Limits) -> Arc<Self> {
        let turns = Arc::new(Semaphore::new(max as usize));
        Arc::new(Self { options, limits, turns, idle: Mutex::default() })
    }

    /// Lends a connection that is idle, or a new one.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<Lent, sqlx::Error> {
        let turn = timeout(self.limits.turn, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                timeout(self.limits.connect, self.options.connect()).await.map_err(|_| sqlx::Error::PoolTimedOut)??
            }
        };
        Ok(Lent { connection, home: self.clone(), _turn: turn })
    }

    /// Closes what is idle: the server that it led to is gone.
    pub(super) fn forget_idle(&self) {
        self.idle.lock().clear();
    }

    /// Closes all that is idle, and what comes back later.
    pub(super) async fn close(&self) {
        self.turns.close();
        let idle = std::mem::take(&mut *self.idle.lock());
        for connection in idle {
            // The process is about to end: the server notices either way.
            let _ = connection.close().await;
        }
    }
}

impl Lent {
    /// The connection is in order and can serve the next.
    pub(super) fn give_back(self) {
        if !self.home.turns.is_closed() {
            self.home.idle.lock().push(self.connection);
        }
    }
}
