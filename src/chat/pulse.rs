//! The beat of all streams: heartbeats with positions, warnings of expiring tokens, the end of expired ones.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{
    frame::{Encoder, Frame},
    room_of,
};
use crate::{
    clock::{Clock, Timestamp},
    error::{Error, Reason},
    hub::{Hub, Session},
};

/// Looks at a stream that is over before it is taken off: some two heartbeats.
const OVER_BEATS: u32 = 16;
/// Positions in one heartbeat.
const MAX_POSITIONS: usize = 200;

/// The one task that looks after all open streams.
pub struct Pulse {
    hub: Arc<Hub>,
    encoder: Arc<dyn Encoder>,
    clock: Arc<dyn Clock>,
    every: Duration,
}

impl Pulse {
    /// A pulse for streams that carry a heartbeat each `heartbeat_interval`.
    pub fn new(hub: Arc<Hub>, encoder: Arc<dyn Encoder>, clock: Arc<dyn Clock>, heartbeat_interval: Duration) -> Self {
        Self { hub, encoder, clock, every: (heartbeat_interval / 8).min(Duration::from_secs(1)) }
    }

    /// Beats until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            // A tick early rather than late: the interval is a promise.
            let now = self.clock.now();
            let empty = self.encoder.frame(&Frame::Heartbeat { now, positions: Vec::new() });
            for (i, session) in self.hub.sessions().into_iter().enumerate() {
                self.beat(&session, now, &empty);
                if i % 256 == 255 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn beat(&self, session: &Arc<Session>, now: Timestamp, empty: &Bytes) {
        if session.over_for() > OVER_BEATS {
            // Its reader does not take even the ending. Its place goes to others.
            self.hub.close(session);
            return;
        }
        let due = self.hub.due(session, now.plus(self.every), MAX_POSITIONS);
        if now >= session.expires_at() {
            let message = "the stream's token has expired and was not renewed";
            session.end(Error::new(Reason::TokenExpired, message));
            return;
        }
        if due.warn {
            session.push(self.encoder.frame(&Frame::TokenExpiring { at: session.expires_at() }));
        }
        match due.heartbeat {
            None => {}
            Some(positions) if positions.is_empty() => session.push(empty.clone()),
            Some(positions) => {
                let positions = positions.into_iter().map(|(topic, position)| (room_of(&topic).room, position));
                session.push(self.encoder.frame(&Frame::Heartbeat { now, positions: positions.collect() }));
            }
        }
    }
}
