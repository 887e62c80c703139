//! What a node hears waits here until it is handled: bounded in bytes, and the one who speaks never waits.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Channel, Heard};

/// What a message weighs beside its payload: its place in the queue and its share of the channel's name.
const OVERHEAD: usize = 64;

/// The receiving end. When it is dropped, nothing is heard any more.
#[derive(Debug)]
pub struct Ear {
    heard: mpsc::UnboundedReceiver<Heard>,
    room: Arc<Room>,
}

/// The end of an adapter of the bus.
#[derive(Clone, Debug)]
pub struct Voice {
    said: mpsc::UnboundedSender<Heard>,
    room: Arc<Room>,
}

#[derive(Debug)]
struct Room {
    limit: usize,
    waiting: AtomicUsize,
    lost: AtomicBool,
    unsent: AtomicBool,
}

/// A voice and the ear that hears it. Messages of at most `limit` bytes wait in between.
pub fn ear(limit: usize) -> (Voice, Ear) {
    #[expect(clippy::disallowed_methods, reason = "its limit is in bytes: Voice::message keeps it")]
    let (said, heard) = mpsc::unbounded_channel();
    let room = Arc::new(Room {
        limit,
        waiting: AtomicUsize::new(0),
        lost: AtomicBool::new(false),
        unsent: AtomicBool::new(false),
    });
    (Voice { said, room: room.clone() }, Ear { heard, room })
}

impl Ear {
    /// Waits for the next. `None`: the bus has ended, and all that was heard has been handled. Nothing is lost when the
    /// waiting is given up.
    pub async fn next(&mut self) -> Option<Heard> {
        let heard = self.heard.recv().await;
        self.taken(heard.as_ref());
        heard
    }

    /// The next, if there is one already.
    pub fn try_next(&mut self) -> Option<Heard> {
        let heard = self.heard.try_recv().ok();
        self.taken(heard.as_ref());
        heard
    }

    fn taken(&self, heard: Option<&Heard>) {
        match heard {
            Some(Heard::Message(_, payload)) => {
                self.room.waiting.fetch_sub(payload.len() + OVERHEAD, Ordering::Relaxed);
            }
            Some(Heard::Lost) => self.room.lost.store(false, Ordering::Release),
            Some(Heard::Unsent) => self.room.unsent.store(false, Ordering::Release),
            _ => {}
        }
    }
}

impl Voice {
    /// Says something that is small and rare, and not to be missed.
    pub fn say(&self, what: Heard) {
        // An ear that is gone hears nothing.
        let _ = self.said.send(what);
    }

    /// Passes a message on; `false` when it is dropped because too much waits. Then [`Heard::Lost`] is said, once until it
    /// is handled.
    pub fn message(&self, channel: Channel, payload: Bytes) -> bool {
        let weight = payload.len() + OVERHEAD;
        if self.room.waiting.fetch_add(weight, Ordering::Relaxed) + weight > self.room.limit {
            self.room.waiting.fetch_sub(weight, Ordering::Relaxed);
            if !self.room.lost.swap(true, Ordering::AcqRel) {
                self.say(Heard::Lost);
            }
            return false;
        }
        self.say(Heard::Message(channel, payload));
        true
    }

    /// Says that something that was published was dropped, once until it is handled.
    pub fn unsent(&self) {
        if !self.room.unsent.swap(true, Ordering::AcqRel) {
            self.say(Heard::Unsent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(voice: &Voice, bytes: usize) -> bool {
        voice.message("c".into(), Bytes::from(vec![0; bytes]))
    }

    #[tokio::test]
    async fn what_goes_beyond_the_limit_is_lost_and_said_once() {
        let (voice, mut ear) = ear(1_000);
        assert!(send(&voice, 800));
        assert!(!send(&voice, 800));
        assert!(!send(&voice, 800));
        assert!(matches!(ear.next().await, Some(Heard::Message(..))));
        assert!(matches!(ear.next().await, Some(Heard::Lost)));
        assert!(send(&voice, 800), "what was handled makes room");
        assert!(!send(&voice, 800));
        assert!(matches!(ear.next().await, Some(Heard::Message(..))));
        assert!(matches!(ear.next().await, Some(Heard::Lost)), "a new loss is said anew");
        drop(voice);
        assert!(ear.next().await.is_none());
    }
}
