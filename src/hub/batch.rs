//! Consecutive events of one topic, encoded back to back in one allocation.

use bytes::Bytes;

/// Consecutive frames of a topic. Clones share the bytes.
#[derive(Clone, Debug)]
pub struct Batch {
    first: u64,
    bytes: Bytes,
    /// Where the frame after each event begins, ascending. One entry an event.
    ends: std::sync::Arc<[usize]>,
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

    /// The frames after `position`, sharing the bytes. `position` lies in `first - 1 ..= last`.
    pub fn after(&self, position: u64) -> Bytes {
        let skip = (position + 1).saturating_sub(self.first) as usize;
        match skip.checked_sub(1).and_then(|i| self.ends.get(i)) {
            None => self.bytes.clone(),
            Some(&start) => self.bytes.slice(start..),
        }
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
    }
}
