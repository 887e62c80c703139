//! A link to Redis that loses what subscribers are sent, and nothing else.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// What it loses, and what it has lost.
#[derive(Default)]
struct Losses {
    /// Every so manieth message; 0: none.
    one_in: AtomicU64,
    passed: AtomicU64,
    swallowed: AtomicU64,
}

/// A proxy in front of Redis. Dropped, it accepts nothing more.
pub(crate) struct RedisProxy {
    address: String,
    losses: Arc<Losses>,
    task: JoinHandle<()>,
}

impl RedisProxy {
    /// Forwards to `redis`, `127.0.0.1:PORT`.
    pub(crate) async fn to(redis: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let losses = Arc::new(Losses::default());
        let task = tokio::spawn(accept(listener, redis.to_owned(), losses.clone()));
        Self { address, losses, task }
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// From now on every so manieth message to a subscriber is lost: 1 all of them, 0 none.
    pub(crate) fn swallow(&self, one_in: u64) {
        self.losses.one_in.store(one_in, Ordering::Relaxed);
    }

    /// How many were lost.
    pub(crate) fn swallowed(&self) -> u64 {
        self.losses.swallowed.load(Ordering::Relaxed)
    }
}

impl Drop for RedisProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, redis: String, losses: Arc<Losses>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let Ok(redis) = TcpStream::connect(&redis).await else { continue };
        let ((mut client_in, client_out), (redis_in, mut redis_out)) = (client.into_split(), redis.into_split());
        tokio::spawn(async move { copy(&mut client_in, &mut redis_out).await });
        tokio::spawn(sift(redis_in, client_out, losses.clone()));
    }
}

/// Forwards value by value, without those that are lost.
async fn sift(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, losses: Arc<Losses>) {
    let mut buffer = Vec::new();
    loop {
        let mut start = 0;
        let mut passed = Vec::new();
        while let Some(end) = value(&buffer, start) {
            if !(is_message(&buffer[start..end]) && losses.loses()) {
                passed.extend_from_slice(&buffer[start..end]);
            }
            start = end;
        }
        buffer.drain(..start);
        if to.write_all(&passed).await.is_err() || !matches!(from.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

impl Losses {
    fn loses(&self) -> bool {
        let one_in = self.one_in.load(Ordering::Relaxed);
        let lost = one_in != 0 && self.passed.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in);
        self.swallowed.fetch_add(u64::from(lost), Ordering::Relaxed);
        lost
    }
}

/// Where the value of Redis's protocol that begins at `start` ends, if all of it is there.
fn value(bytes: &[u8], start: usize) -> Option<usize> {
    let line = bytes.get(start..)?.windows(2).position(|two| two == b"\r\n")?;
    let head = &bytes[start..start + line];
    let body = start + line + 2;
    let length = || std::str::from_utf8(&head[1..]).unwrap().parse::<i64>().unwrap();
    let (nested, plain) = match head[0] {
        b'*' | b'>' | b'~' => (length(), 0),
        b'%' => (2 * length(), 0),
        b'$' | b'=' | b'!' => (0, length() + 2),
        _ => (0, 0),
    };
    // Below 0 is Redis's older way to say that there is nothing.
    let mut end = if plain > 1 { body + usize::try_from(plain).unwrap() } else { body };
    for _ in 0..nested.max(0) {
        end = value(bytes, end)?;
    }
    (end <= bytes.len()).then_some(end)
}

/// Whether a value is what a subscriber is sent when somebody publishes.
fn is_message(value: &[u8]) -> bool {
    let kind = value.splitn(4, |byte| *byte == b'\n').nth(2);
    matches!(value[0], b'*' | b'>')
        && kind.is_some_and(|kind| [&b"message\r"[..], b"smessage\r", b"pmessage\r"].contains(&kind))
}
