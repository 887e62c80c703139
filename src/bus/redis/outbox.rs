//! What waits to be told to Redis: payloads in order, and which channels are watched.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::bus::Channel;

/// What an order costs beside its payload, about.
const ORDER_WEIGHT: usize = 512;

/// Something to be told.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Publish, and keep if asked.
    Publish { channel: Channel, payload: Bytes, keep: bool },
    /// Forget what was kept.
    Forget { channel: Channel },
}

/// Orders and wishes. Nothing in it blocks.
pub(super) struct Outbox {
    capacity: usize,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    orders: VecDeque<Order>,
    bytes: usize,
    wanted: HashSet<Channel>,
    /// Channels of which something was said since they were looked at.
    touched: HashSet<Channel>,
}

impl Outbox {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, waiting: Mutex::default(), changed: Notify::new() }
    }

    pub(super) fn watch(&self, channel: Channel) {
        let mut waiting = self.waiting.lock();
        waiting.touched.insert(channel.clone());
        waiting.wanted.insert(channel);
        drop(waiting);
        self.changed.notify_one();
    }

    pub(super) fn unwatch(&self, channel: &Channel) {
        let mut waiting = self.waiting.lock();
        waiting.wanted.remove(channel);
        waiting.touched.insert(channel.clone());
        drop(waiting);
        self.changed.notify_one();
    }

    /// `false`: too much waits.
    pub(super) fn push(&self, order: Order) -> bool {
        let weight = order.weight();
        let mut waiting = self.waiting.lock();
        if waiting.bytes + weight > self.capacity {
            return false;
        }
        waiting.bytes += weight;
        waiting.orders.push_back(order);
        drop(waiting);
        self.changed.notify_one();
        true
    }

    /// The orders that wait, some `bytes` of them.
    pub(super) fn take_orders(&self, bytes: usize) -> Vec<Order> {
        let mut waiting = self.waiting.lock();
        let mut taken = Vec::new();
        let mut size = 0;
        while size < bytes
            && let Some(order) = waiting.orders.pop_front()
        {
            size += order.weight();
            taken.push(order);
        }
        waiting.bytes -= size;
        taken
    }

    /// The channels of which something was said, each with whether it is wanted now.
    pub(super) fn take_touched(&self) -> Vec<(Channel, bool)> {
        let mut waiting = self.waiting.lock();
        let touched = std::mem::take(&mut waiting.touched);
        touched.into_iter().map(|channel| (channel.clone(), waiting.wanted.contains(&channel))).collect()
    }

    /// Begins anew: what waited to be sent is dropped, and all that is wanted is to be looked at.
    pub(super) fn renew(&self) {
        let mut waiting = self.waiting.lock();
        waiting.orders.clear();
        waiting.bytes = 0;
        waiting.touched = waiting.wanted.clone();
    }

    /// Waits until something was said.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Order {
    fn weight(&self) -> usize {
        match self {
            Self::Publish { payload, .. } => ORDER_WEIGHT + payload.len(),
            Self::Forget { .. } => ORDER_WEIGHT,
        }
    }
}
