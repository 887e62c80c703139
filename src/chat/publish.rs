//! What was committed goes to the sessions of this node, in each room in the order of the commits.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use tokio::sync::mpsc;

use super::{
    event::{Event, EventBody, fitting},
    frame::{Encoder, Frame, RoomResume, Verdict},
    topic,
};
use crate::{
    hub::{Hub, Topic},
    id::{RoomKey, UserId},
    telemetry::Metrics,
};

/// About how many bytes are encoded together.
const PIECE_BYTES: usize = 64 * 1024;

/// The one task that publishes rooms' events.
pub struct Publisher {
    committed: mpsc::Receiver<Vec<Event>>,
    hub: Arc<Hub>,
    encoder: Arc<dyn Encoder>,
    metrics: Arc<Metrics>,
}

impl Publisher {
    /// Publishes what arrives on `committed`.
    pub fn new(
        committed: mpsc::Receiver<Vec<Event>>,
        hub: Arc<Hub>,
        encoder: Arc<dyn Encoder>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { committed, hub, encoder, metrics }
    }

    /// Publishes until the log is closed.
    pub async fn run(mut self) {
        while let Some(events) = self.committed.recv().await {
            let mut rooms: IndexMap<RoomKey, Vec<Event>> = IndexMap::new();
            for event in events {
                rooms.entry(event.room.clone()).or_default().push(event);
            }
            for (room, events) in rooms {
                self.publish(&room, &events);
            }
        }
    }

    /// Publishes consecutive events of a room. Who joins follows from just before their joining, who leaves until just
    /// after their leaving.
    fn publish(&self, room: &RoomKey, events: &[Event]) {
        let topic = topic(room);
        let mut start = 0;
        for (i, event) in events.iter().enumerate() {
            match &event.body {
                EventBody::MemberJoined(member) => {
                    self.give(&topic, &events[start..i]);
                    start = i;
                    self.enter(room, &topic, &member.user, event.position);
                }
                EventBody::MemberLeft(user) => {
                    self.give(&topic, &events[start..=i]);
                    start = i + 1;
                    self.hub.unfollow(&room.user(user), &topic, event.position, &self.left(room));
                }
                EventBody::RoomDeleted => {
                    self.give(&topic, &events[start..=i]);
                    start = i + 1;
                    self.hub.dissolve(&topic, &self.left(room));
                }
                _ => {}
            }
        }
        self.give(&topic, &events[start..]);
    }

    /// Gives events to all who follow, in pieces that fit a reader's queue: a commit may hold far more.
    fn give(&self, topic: &Topic, mut events: &[Event]) {
        while !events.is_empty() && self.hub.is_followed(topic) {
            let (piece, rest) = events.split_at(fitting(events, PIECE_BYTES));
            let reached = self.hub.publish(topic, &self.encoder.events(piece));
            self.metrics.deliveries.inc_by((reached * piece.len()) as u64);
            events = rest;
        }
    }

    fn enter(&self, room: &RoomKey, topic: &Topic, user: &UserId, position: u64) {
        let joined = RoomResume::at(room.room.clone(), Verdict::Joined, position - 1);
        let frame = self.encoder.frame(&Frame::Resumed(vec![joined]));
        // The verdict goes ahead of the first event: nothing else is published until this returns.
        self.hub.follow(&room.user(user), topic, position, &frame);
    }

    fn left(&self, room: &RoomKey) -> Bytes {
        self.encoder.frame(&Frame::Resumed(vec![RoomResume::left(room.room.clone())]))
    }
}
