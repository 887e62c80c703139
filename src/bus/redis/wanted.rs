//! Which channels are watched, as the node asked for it. What is subscribed follows.

use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::bus::{Channel, Heard, Voice};

/// The channels that the node asks for, and whether they are heard.
pub(super) struct Wanted {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    channels: HashSet<Channel>,
    /// Asked for or given up since somebody looked.
    changed: HashSet<Channel>,
    /// The link whose messages are heard; `None` while the bus is down.
    heard: Option<u64>,
    /// Sharded channels that are about to be unsubscribed.
    leaving: HashSet<Channel>,
}

/// What there is to do.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) join: Vec<Channel>,
    pub(super) leave: Vec<Channel>,
    /// Given up and asked for again before anybody looked.
    pub(super) again: Vec<Channel>,
}

impl Wanted {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), changed: Notify::new() }
    }

    /// Answers how many are watched.
    pub(super) fn watch(&self, channel: Channel) -> usize {
        let mut state = self.state.lock();
        if state.channels.insert(channel.clone()) {
            state.changed.insert(channel);
            self.changed.notify_one();
        }
        state.channels.len()
    }

    /// Answers how many are watched.
    pub(super) fn unwatch(&self, channel: &Channel) -> usize {
        let mut state = self.state.lock();
        if state.channels.remove(channel) {
            state.changed.insert(channel.clone());
            self.changed.notify_one();
        }
        state.channels.len()
    }

    /// From now on `link` is heard; all that is watched is to be subscribed there, or named again. `false`: it was already.
    pub(super) fn hear(&self, link: u64, voice: &Voice) -> bool {
        let mut state = self.state.lock();
        if state.heard.replace(link).is_some() {
            return false;
        }
        state.changed = state.channels.union(&state.changed).cloned().collect();
        voice.say(Heard::Up);
        self.changed.notify_one();
        true
    }

    /// From now on nothing is heard. `false`: nothing was.
    pub(super) fn stop_hearing(&self, voice: &Voice) -> bool {
        let mut state = self.state.lock();
        let was = state.heard.take().is_some();
        if was {
            voice.say(Heard::Down);
        }
        was
    }

    /// Passes a message of `link` on, if it is watched; `None` if not, `Some(false)` if it was dropped.
    pub(super) fn message(&self, link: u64, channel: &str, payload: Vec<u8>, voice: &Voice) -> Option<bool> {
        let state = self.state.lock();
        if state.heard != Some(link) {
            return None;
        }
        let channel = state.channels.get(channel)?.clone();
        // Under the lock: nothing may be said after Down.
        Some(voice.message(channel, payload.into()))
    }

    /// Says which of these are subscribed, as far as they are still watched.
    pub(super) fn watching(&self, link: u64, mut channels: Vec<Channel>, voice: &Voice) {
        let state = self.state.lock();
        channels.retain(|channel| state.channels.contains(channel));
        // While nothing is heard nobody is told: all are named again when the bus is up.
        if state.heard == Some(link) && !channels.is_empty() {
            voice.say(Heard::Watching(channels));
        }
    }

    /// Waits for something to do, given what is subscribed.
    pub(super) async fn changes(&self, subscribed: &HashSet<Channel>) -> Changes {
        loop {
            let changed = std::mem::take(&mut self.state.lock().changed);
            if !changed.is_empty() {
                return self.sort(changed, subscribed);
            }
            self.changed.notified().await;
        }
    }

    fn sort(&self, changed: HashSet<Channel>, subscribed: &HashSet<Channel>) -> Changes {
        let state = self.state.lock();
        let mut changes = Changes::default();
        for channel in changed {
            match (state.channels.contains(&channel), subscribed.contains(&channel)) {
                (true, false) => changes.join.push(channel),
                (false, true) => changes.leave.push(channel),
                (true, true) => changes.again.push(channel),
                (false, false) => {}
            }
        }
        changes
    }

    /// A new link: nothing is unsubscribed there.
    pub(super) fn begin(&self) {
        self.state.lock().leaving.clear();
    }

    /// These are about to be unsubscribed.
    pub(super) fn leave(&self, channels: &[Channel]) {
        self.state.lock().leaving.extend(channels.iter().cloned());
    }

    /// A channel was unsubscribed; answers whether that was asked for.
    pub(super) fn left(&self, channel: &str) -> bool {
        self.state.lock().leaving.remove(channel)
    }
}
