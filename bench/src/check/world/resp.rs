//! Cuts what Redis sends into frames, to tell what it pushes from what it answers.

/// How many bytes the first whole frame in `bytes` has. `None`: it is not whole yet.
///
/// What is no RESP counts as a frame up to its line's end: it passes as it came.
pub(super) fn frame_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let number = || std::str::from_utf8(bytes.get(1..line)?).ok()?.trim().parse::<usize>().ok();
    match bytes.first()? {
        b'$' | b'=' | b'!' => {
            // A null has the length -1, and nothing follows.
            let Some(length) = number() else { return Some(line) };
            let end = line + length + 2;
            (bytes.len() >= end).then_some(end)
        }
        b'*' | b'~' | b'>' => elements(bytes, line, number().unwrap_or(0)),
        b'%' => elements(bytes, line, 2 * number().unwrap_or(0)),
        b'|' => elements(bytes, line, 2 * number().unwrap_or(0) + 1),
        _ => Some(line),
    }
}

fn elements(bytes: &[u8], mut at: usize, count: usize) -> Option<usize> {
    for _ in 0..count {
        at += frame_length(bytes.get(at..)?)?;
    }
    Some(at)
}

/// Whether a frame is a message that somebody published, in RESP3 or RESP2. What confirms a subscription is none.
pub(super) fn is_published(frame: &[u8]) -> bool {
    let kinds: [&[u8]; 3] = [b"$7\r\nmessage\r\n", b"$8\r\npmessage\r\n", b"$8\r\nsmessage\r\n"];
    let rest = [b">3\r\n", b">4\r\n", b"*3\r\n", b"*4\r\n"].iter().find_map(|head| frame.strip_prefix(*head));
    rest.is_some_and(|rest| kinds.iter().any(|kind| rest.starts_with(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_where_they_end() {
        let frames: [&[u8]; 9] = [
            b"+OK\r\n",
            b":12\r\n",
            b"$-1\r\n",
            b"$5\r\na\r\nbc\r\n",
            b"_\r\n",
            b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            b"%1\r\n+k\r\n~2\r\n:1\r\n:2\r\n",
            b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\n\r\n\r\n",
            b"*-1\r\n",
        ];
        for frame in frames {
            assert_eq!(frame_length(frame), Some(frame.len()), "{frame:?}");
            assert_eq!(frame_length(&[frame, b"+OK\r\n"].concat()), Some(frame.len()));
            for cut in 0..frame.len() {
                assert_eq!(frame_length(&frame[..cut]), None, "{:?}", &frame[..cut]);
            }
        }
    }

    #[test]
    fn published_messages_are_told_from_confirmations() {
        assert!(is_published(b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"));
        assert!(is_published(b"*3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"));
        assert!(!is_published(b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"));
        assert!(!is_published(b"$7\r\nmessage\r\n"));
    }
}
