//! The time at which a message was sent, written into its text: a marker, then nanoseconds as 16 hexadecimal digits.
//!
//! Sender and receiver are one process, so one monotonic clock tells the latency.

use std::{sync::OnceLock, time::Instant};

const MARK: &[u8] = b"sent-at:";
const DIGITS: usize = 16;

static START: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds since the generator first asked.
pub(crate) fn now() -> u64 {
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The same of another time than now.
pub(crate) fn of(time: Instant) -> u64 {
    time.saturating_duration_since(*START.get_or_init(Instant::now)).as_nanos() as u64
}

/// A text of `length` bytes that says `at`. At least the stamp itself is written.
pub(crate) fn text(at: u64, length: usize) -> String {
    let mut text = format!("sent-at:{at:016x}");
    text.extend(std::iter::repeat_n('.', length.saturating_sub(text.len())));
    text
}

/// Finds the stamp in an encoded message. It takes no decoder, so that all subjects cost the generator the same.
pub(crate) fn find(message: &[u8]) -> Option<u64> {
    let start = message.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    parse(message.get(start..start + DIGITS)?)
}

/// Reads the digits alone.
pub(crate) fn parse(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_is_found_in_the_middle_of_a_message() {
        let text = text(0x1234_5678_9abc, 64);
        assert_eq!(text.len(), 64);
        assert_eq!(find(format!("\u{1}room{text}tail").as_bytes()), Some(0x1234_5678_9abc));
        assert_eq!(find(b"no stamp"), None);
    }
}
