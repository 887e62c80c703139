//! What waits for the reader of a stream: how things are now, and behind it the frames in their order.

use std::{collections::VecDeque, sync::Arc, task::Waker};

use bytes::{Bytes, BytesMut};
use indexmap::IndexMap;

use crate::error::Error;

/// What one poll hands to the connection at most: an HTTP/2 DATA frame of the default size.
pub(super) const CHUNK_BYTES: usize = 16 * 1024;

/// States that wait for a reader, at most: beyond it, those that may be left out are.
pub(super) const STATES: usize = 1_024;

/// What a state is of: of several that wait, only the newest is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StateKey {
    /// The kind of state.
    pub kind: &'static str,
    /// The room, user or other thing that it is of.
    pub of: Arc<str>,
}

/// How something is now, as a frame; see [`Session::put`](super::Session::put).
#[derive(Clone, Debug)]
pub struct State {
    /// What it is of.
    pub key: StateKey,
    /// The frame.
    pub frame: Bytes,
    /// What to send in its place if one before it was not read yet; `None`: it tells all by itself.
    pub instead: Option<Bytes>,
    /// Whether it is to be sent however many wait.
    pub kept: bool,
}

/// What waits.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) frames: VecDeque<Bytes>,
    pub(super) bytes: usize,
    /// How things are now: sent before the frames. Boxed, because most streams have none most of the time.
    pub(super) states: Option<Box<IndexMap<StateKey, Bytes>>>,
    /// The first frame of the stream was taken: states may overtake the others.
    begun: bool,
    /// The first frame was sent in part: nothing comes between.
    parted: bool,
    pub(super) reader: Option<Waker>,
    pub(super) ending: Option<Error>,
    /// Too much waited; nothing more is queued.
    pub(super) overflowed: bool,
    /// The reader is gone, or has been told the ending.
    pub(super) closed: bool,
}

impl Queue {
    /// Whether the reader is gone or the stream is ending.
    pub(super) fn is_over(&self) -> bool {
        self.closed || self.ending.is_some()
    }

    /// Lets a state wait, in place of one of its key that was not read; `false` if too many wait.
    pub(super) fn put(&mut self, state: &State) -> bool {
        let states = self.states.get_or_insert_default();
        let full = states.len() >= STATES;
        match states.get_index_of(&state.key) {
            Some(at) => {
                states[at] = state.instead.as_ref().unwrap_or(&state.frame).clone();
                states.move_index(at, states.len() - 1);
            }
            None if full && !state.kept => return false,
            None => drop(states.insert(state.key.clone(), state.frame.clone())),
        }
        true
    }

    /// The states that wait, joined up to the size of one DATA frame.
    fn take_states(&mut self) -> Option<Bytes> {
        let states = self.states.as_mut()?;
        let mut joined = BytesMut::new();
        let fitting = states.values().take_while(|next| {
            let fits = joined.is_empty() || joined.len() + next.len() <= CHUNK_BYTES;
            if fits {
                joined.extend_from_slice(next);
            }
            fits
        });
        let taken = fitting.count();
        match taken == states.len() {
            true => self.states = None,
            false => drop(states.drain(..taken)),
        }
        Some(joined.freeze())
    }

    /// The next bytes for the reader: what is ready, joined up to the size of one DATA frame.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        if self.begun && !self.parted && self.states.is_some() {
            return self.take_states();
        }
        let mut first = self.frames.pop_front()?;
        self.begun = true;
        self.parted = first.len() > CHUNK_BYTES;
        if self.parted {
            let chunk = first.split_to(CHUNK_BYTES);
            self.frames.push_front(first);
            self.bytes -= chunk.len();
            return Some(chunk);
        }
        let mut size = first.len();
        let more = self.frames.iter().take_while(|f| {
            let fits = size + f.len() <= CHUNK_BYTES;
            size += if fits { f.len() } else { 0 };
            fits
        });
        let more = more.count();
        self.bytes -= size;
        if more == 0 {
            return Some(first);
        }
        let mut joined = BytesMut::with_capacity(size);
        joined.extend_from_slice(&first);
        for frame in self.frames.drain(..more) {
            joined.extend_from_slice(&frame);
        }
        Some(joined.freeze())
    }
}
