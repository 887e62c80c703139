//! What waits to be sent to Redis: bounded in bytes, and only while Redis is there.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::bus::Channel;

/// How much goes out in one pipeline.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_ITEMS: usize = 2_048;
/// What an item weighs beside its name and payload.
const OVERHEAD: usize = 64;

/// One thing to do.
#[derive(Debug)]
pub(super) enum Item {
    Publish {
        channel: Channel,
        payload: Bytes,
        keep: bool,
    },
    Forget {
        channel: Channel,
    },
    /// A message to itself, through the server of this index.
    Probe {
        node: usize,
        nonce: u64,
    },
}

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Down,
    Full,
}

/// The queue.
pub(super) struct Outbox {
    limit: usize,
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    open: bool,
}

impl Item {
    fn weight(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Publish { channel, payload, .. } => channel.len() + payload.len(),
                Self::Forget { channel } => channel.len(),
                Self::Probe { .. } => 0,
            }
    }

    fn is_forget(&self) -> bool {
        matches!(self, Self::Forget { .. })
    }
}

impl Outbox {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, waiting: Mutex::default(), filled: Notify::new() }
    }

    /// Queues an item. While Redis is away only what is to be forgotten waits: a hint that is late is worthless, but what
    /// must go must go.
    pub(super) fn put(&self, item: Item) -> Result<(), Refused> {
        let mut waiting = self.waiting.lock();
        if !waiting.open && !item.is_forget() {
            return Err(Refused::Down);
        }
        let weight = item.weight();
        // A probe is small and one at a time, and says most when there is much to do.
        if waiting.bytes + weight > self.limit && !matches!(item, Item::Probe { .. }) {
            return Err(Refused::Full);
        }
        waiting.bytes += weight;
        waiting.items.push_back(item);
        drop(waiting);
        self.filled.notify_one();
        Ok(())
    }

    pub(super) fn open(&self) {
        self.waiting.lock().open = true;
        self.filled.notify_one();
    }

    /// Takes nothing more until it is opened; answers how many messages it dropped. `unsent` comes back to the front,
    /// as far as it is worth it.
    pub(super) fn close(&self, unsent: Vec<Item>) -> u64 {
        let mut waiting = self.waiting.lock();
        waiting.open = false;
        for item in unsent.into_iter().rev() {
            waiting.items.push_front(item);
        }
        let dropped = waiting.items.iter().filter(|item| matches!(item, Item::Publish { .. })).count();
        waiting.items.retain(Item::is_forget);
        waiting.bytes = waiting.items.iter().map(Item::weight).sum();
        dropped as u64
    }

    /// Waits for something to send, and takes as much of it as goes out at once.
    pub(super) async fn next_batch(&self) -> Vec<Item> {
        loop {
            if let Some(batch) = self.take() {
                return batch;
            }
            self.filled.notified().await;
        }
    }

    /// What waits, as much of it as goes out at once.
    pub(super) fn take(&self) -> Option<Vec<Item>> {
        let mut waiting = self.waiting.lock();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES && batch.len() < BATCH_ITEMS {
            let Some(item) = waiting.items.pop_front() else { break };
            bytes += item.weight();
            batch.push(item);
        }
        waiting.bytes -= bytes;
        (!batch.is_empty()).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(bytes: usize) -> Item {
        Item::Publish { channel: "c".into(), payload: vec![0; bytes].into(), keep: true }
    }

    #[test]
    fn it_takes_as_much_as_its_limit() {
        let outbox = Outbox::new(1_000);
        assert_eq!(outbox.put(publish(1)), Err(Refused::Down));
        outbox.open();
        assert_eq!(outbox.put(publish(800)), Ok(()));
        assert_eq!(outbox.put(publish(800)), Err(Refused::Full));
        assert_eq!(outbox.put(Item::Probe { node: 0, nonce: 1 }), Ok(()));
        assert_eq!(outbox.take().map(|batch| batch.len()), Some(2));
        assert_eq!(outbox.put(publish(800)), Ok(()), "what was taken makes room");
    }

    #[test]
    fn an_outage_drops_what_waits_but_for_what_is_to_be_forgotten() {
        let outbox = Outbox::new(1_000);
        outbox.open();
        let forget = |name: &str| Item::Forget { channel: name.into() };
        outbox.put(publish(10)).unwrap();
        outbox.put(forget("b")).unwrap();
        assert_eq!(outbox.close(vec![publish(10), forget("a")]), 2);
        outbox.put(forget("c")).unwrap();
        let left: Vec<_> = outbox.take().unwrap().iter().map(|item| format!("{item:?}")).collect();
        assert_eq!(left, ["a", "b", "c"].map(|name| format!("Forget {{ channel: {name:?} }}")));
    }
}
