//! Consecutive events of one topic, encoded back to back in one allocation.

use std::sync::Arc;

use bytes::Bytes;

/// Consecutive frames of a topic. Clones share the bytes.
#[derive(Clone, Debug)]
pub struct Batch {
    first: u64,
    bytes: Bytes,
    /// Where the frame after each event begins, ascending. One entry an event.
    ends: Arc<[usize]>,
}

impl Batch {
    /// `ends[i]` is where the frame of position `first + i` ends in `bytes`. At least one.
    pub fn new(first: u64, bytes: Bytes, ends: Vec<usize>) -> Self {
        debug_assert_eq!(ends.last().copied(), Some(bytes.len()));
        Self { first, bytes, ends: ends.into() }
    }

    /// The position of the first event.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The position of the last event.
    pub fn last(&self) -> u64 {
        self.first + self.ends.len() as u64 - 1
    }

    /// Where each frame ends in [`Batch::bytes`].
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// All frames.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The frames after `position`, sharing the bytes. `position` lies in `first - 1 ..= last`.
    pub fn after(&self, position: u64) -> Bytes {
        self.bytes.slice(self.start_of(position + 1)..)
    }

    /// The frame of `position`, which is in the batch; it shares the bytes.
    pub fn frame(&self, position: u64) -> Bytes {
        self.bytes.slice(self.start_of(position)..self.start_of(position + 1))
    }

    /// The events from `from` to `to`, both included and both in the batch; they share its bytes.
    pub fn part(&self, from: u64, to: u64) -> Self {
        if (from, to) == (self.first, self.last()) {
            return self.clone();
        }
        let start = self.start_of(from);
        let ends = self.ends[(from - self.first) as usize..=(to - self.first) as usize].iter().map(|end| end - start);
        let ends: Vec<usize> = ends.collect();
        let length = ends.last().copied().unwrap_or_default();
        Self::new(from, self.bytes.slice(start..start + length), ends)
    }

    /// Where the frame of `position` begins.
    fn start_of(&self, position: u64) -> usize {
        let index = position.saturating_sub(self.first) as usize;
        index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_what_lies_after_a_position() {
        let batch = Batch::new(5, Bytes::from_static(b"aabbbc"), vec![2, 5, 6]);
        assert_eq!((batch.first(), batch.last()), (5, 7));
        assert_eq!(batch.after(4), "aabbbc");
        assert_eq!(batch.after(5), "bbbc");
        assert_eq!(batch.after(6), "c");
        assert_eq!(batch.after(7), "");
        assert_eq!([5, 6, 7].map(|position| batch.frame(position)), ["aa", "bbb", "c"]);
    }

    #[test]
    fn a_part_of_a_batch_is_a_batch() {
        let batch = Batch::new(5, Bytes::from_static(b"aabbbc"), vec![2, 5, 6]);
        let middle = batch.part(6, 6);
        assert_eq!((middle.first(), middle.last(), middle.bytes().as_ref()), (6, 6, b"bbb".as_slice()));
        let rest = batch.part(6, 7);
        assert_eq!((rest.ends(), rest.after(6)), ([3, 4].as_slice(), Bytes::from_static(b"c")));
    }
}
