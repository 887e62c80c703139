//! One open stream: the frames that wait for its reader, and what it follows.

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{State, Topic, queue::Queue};
use crate::{
    clock::Timestamp,
    error::{Error, Reason},
    id::UserKey,
};

/// A session's name, unique for ever.
pub type SessionId = Uuid;

/// What frames that are queued regardless of the bound may add to it: a client that has them made and does not read them
/// ends its stream.
const REGARDLESS_BYTES: usize = 4 << 20;

/// When to warn of an expiry: not worked out yet, or done.
const UNSET: i64 = i64::MIN;
const WARNED: i64 = i64::MAX;

/// An open stream of a user. The transport polls it; everybody else pushes.
pub struct Session {
    id: SessionId,
    owner: UserKey,
    queue_bytes: usize,
    queue: Mutex<Queue>,
    changed: Notify,
    pub(super) follows: Mutex<Follows>,
    behind: Mutex<VecDeque<Topic>>,
    catching_up: AtomicBool,
    /// Its reader was told how they stand in all rooms, and relies on being told what changes.
    has_states: AtomicBool,
    expires_at: AtomicI64,
    warn_at: AtomicI64,
    over_for: AtomicU32,
    away: AtomicBool,
    pub(super) beat_at: AtomicI64,
}

/// What a session follows.
#[derive(Default)]
pub(super) struct Follows {
    /// The topics, each with the position as of which its user is known to have it: what was before that is old news.
    pub(super) topics: HashMap<Topic, u64>,
    /// While the session is being opened: what happened to its user meanwhile.
    pub(super) opening: Option<Opening>,
    /// Those that it watches; it may have lost some of them since.
    pub(super) watched: Box<[Topic]>,
    /// What its opening asked to watch was seen to.
    pub(super) has_watched: bool,
    /// What its client asked to watch before that.
    pub(super) early: Option<Vec<Topic>>,
    /// The session is over, and follows nothing any more.
    pub(super) closed: bool,
}

/// What happened to a user while a session of theirs was being opened.
#[derive(Default)]
pub(super) struct Opening {
    /// The topics that they lost, each with the position of the loss.
    pub(super) lost: HashMap<Topic, u64>,
    /// They got a topic that the session may not have seen: it must look again.
    pub(super) joined: bool,
}

impl Session {
    pub(super) fn new(owner: UserKey, queue_bytes: usize, expires_at: Timestamp, beat_at: Timestamp) -> Self {
        Self {
            id: Uuid::now_v7(),
            owner,
            queue_bytes,
            queue: Mutex::default(),
            changed: Notify::new(),
            follows: Mutex::new(Follows { opening: Some(Opening::default()), ..Follows::default() }),
            behind: Mutex::default(),
            // Whoever opens it has the task first.
            catching_up: AtomicBool::new(true),
            has_states: AtomicBool::new(false),
            expires_at: AtomicI64::new(expires_at.0),
            warn_at: AtomicI64::new(UNSET),
            over_for: AtomicU32::new(0),
            away: AtomicBool::new(false),
            beat_at: AtomicI64::new(beat_at.0),
        }
    }

    /// Its name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whose it is.
    pub fn owner(&self) -> &UserKey {
        &self.owner
    }

    /// Queues a frame whatever the queue holds: for answers, verdicts and what is served from the log. A reader that lets
    /// far more of them wait than the queue takes is ended.
    pub fn push(&self, frame: Bytes) {
        let waker = {
            let mut queue = self.queue.lock();
            if queue.closed || queue.overflowed {
                return;
            }
            if queue.bytes > 4 * self.queue_bytes + REGARDLESS_BYTES {
                // What waits stays: its first frame may have been sent in part.
                queue.overflowed = true;
                let message = "the stream's answers are not read";
                queue.ending.get_or_insert_with(|| Error::new(Reason::Overloaded, message));
                self.changed.notify_waiters();
            } else {
                queue.bytes += frame.len();
                queue.frames.push_back(frame);
            }
            queue.reader.take()
        };
        wake(waker);
    }

    /// Tells the reader how something is now, ahead of the events that wait. Of several of one key that wait only the newest
    /// is sent, after all that waited before it. Where very many wait, one that need not be kept is left out: `false`.
    pub fn put(&self, state: &State) -> bool {
        let waker = {
            let mut queue = self.queue.lock();
            if queue.closed || queue.ending.is_some() {
                return true;
            }
            if !queue.put(state) {
                return false;
            }
            queue.reader.take()
        };
        wake(waker);
        true
    }

    /// Its reader was told how they stand in all rooms: see [`Session::has_states`].
    pub fn wants_states(&self) {
        self.has_states.store(true, Ordering::Release);
    }

    /// Whether its reader was told how they stand in all rooms, and relies on being told what changes.
    pub fn has_states(&self) -> bool {
        self.has_states.load(Ordering::Acquire)
    }

    /// Whether nothing waits for the reader.
    pub fn is_idle(&self) -> bool {
        let queue = self.queue.lock();
        queue.frames.is_empty() && queue.states.is_none()
    }

    /// Queues a frame if it fits, or if nothing waits at all. A stream that is ending takes no more, and does not mind.
    pub(super) fn offer(&self, frame: Bytes) -> bool {
        let waker = {
            let mut queue = self.queue.lock();
            if queue.closed || queue.ending.is_some() {
                return true;
            }
            if queue.bytes + frame.len() > self.queue_bytes && !queue.frames.is_empty() {
                return false;
            }
            queue.bytes += frame.len();
            queue.frames.push_back(frame);
            queue.reader.take()
        };
        wake(waker);
        true
    }

    /// Ends the stream once what is queued has been read. The first ending counts.
    pub fn end(&self, ending: Error) {
        let waker = {
            let mut queue = self.queue.lock();
            queue.ending.get_or_insert(ending);
            queue.reader.take()
        };
        self.changed.notify_waiters();
        wake(waker);
    }

    /// The reader is gone: nothing is kept for it any more. Answers whether the server had ended the stream.
    pub fn close(&self) -> bool {
        let (frames, ended) = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            queue.bytes = 0;
            queue.states = None;
            (std::mem::take(&mut queue.frames), queue.ending.is_some())
        };
        drop(frames);
        self.changed.notify_waiters();
        ended
    }

    /// Whether its device is not in use.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Says whether its device is not in use. Answers whether that is news.
    pub(super) fn set_away(&self, away: bool) -> bool {
        self.away.swap(away, Ordering::Relaxed) != away
    }

    /// Whether the reader is gone or the stream is ending.
    pub fn is_over(&self) -> bool {
        self.queue.lock().is_over()
    }

    /// The next bytes for the reader: what is ready, joined up to the size of one DATA frame; or the ending.
    pub fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        let mut queue = self.queue.lock();
        if let Some(bytes) = queue.take() {
            let roomy = queue.bytes <= self.queue_bytes / 2;
            drop(queue);
            if roomy {
                self.changed.notify_waiters();
            }
            return Poll::Ready(Ok(bytes));
        }
        if let Some(ending) = queue.ending.clone() {
            queue.closed = true;
            return Poll::Ready(Err(ending));
        }
        match &mut queue.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits until at most half of the queue's bytes wait, or the stream is over.
    pub async fn wait_for_space(&self) {
        self.wait_until(|queue| queue.is_over() || queue.bytes <= self.queue_bytes / 2).await;
    }

    /// Waits until the stream is over.
    pub async fn over(&self) {
        self.wait_until(Queue::is_over).await;
    }

    async fn wait_until(&self, condition: impl Fn(&Queue) -> bool) {
        loop {
            let notified = self.changed.notified();
            tokio::pin!(notified);
            // Before the look, so that a change after it is not missed.
            notified.as_mut().enable();
            if condition(&self.queue.lock()) {
                return;
            }
            notified.await;
        }
    }

    /// When its token expires.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp(self.expires_at.load(Ordering::Relaxed))
    }

    /// Lets it live until `expires_at`. `false`: it is over already.
    pub fn renew(&self, expires_at: Timestamp) -> bool {
        self.expires_at.store(expires_at.0, Ordering::Relaxed);
        self.warn_at.store(UNSET, Ordering::Relaxed);
        !self.is_over()
    }

    /// Whether the warning of its expiry is due: `true` once. It comes `lead` ahead, or a quarter of the token's life if
    /// that is less: else a token that lives shorter than the lead would be renewed again and again.
    pub(super) fn take_warning(&self, now: Timestamp, lead: Duration) -> bool {
        let mut warn_at = self.warn_at.load(Ordering::Relaxed);
        if warn_at == UNSET {
            let left = u64::try_from(self.expires_at().0.saturating_sub(now.0)).unwrap_or_default();
            warn_at = self.expires_at().minus(lead.min(Duration::from_micros(left) / 4)).0;
            self.warn_at.store(warn_at, Ordering::Relaxed);
        }
        let due = now.0 >= warn_at;
        if due {
            self.warn_at.store(WARNED, Ordering::Relaxed);
        }
        due
    }

    /// How often this was asked since the stream was over; 0 as long as it is not.
    pub fn over_for(&self) -> u32 {
        if self.is_over() { self.over_for.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 }
    }

    /// Remembers that the session must be served from the log on `topic`.
    pub(super) fn mark_behind(&self, topic: Topic) {
        self.behind.lock().push_back(topic);
    }

    /// The topic to serve from the log next, if any.
    pub fn next_behind(&self) -> Option<Topic> {
        self.behind.lock().pop_front()
    }

    /// Takes the task of catching up: `true` for one caller, until [`Session::finish_catching_up`].
    pub fn start_catching_up(&self) -> bool {
        !self.catching_up.swap(true, Ordering::AcqRel)
    }

    /// Gives the task back; `true` if more came behind in the meantime and the caller has the task again.
    pub fn finish_catching_up(&self) -> bool {
        self.catching_up.store(false, Ordering::Release);
        !self.behind.lock().is_empty() && self.start_catching_up()
    }
}

/// Wakes outside the lock: the woken task takes it at once.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hub::{
            StateKey,
            queue::{CHUNK_BYTES, STATES},
        },
        id::{ProjectId, UserId},
    };

    fn unread() -> Session {
        let owner = UserKey { project: ProjectId::stored("p".into()), user: UserId::stored("ana".into()) };
        Session::new(owner, 1 << 20, Timestamp(0), Timestamp(0))
    }

    /// One that has been read from.
    fn session() -> Session {
        let session = unread();
        session.push(Bytes::from_static(b"first"));
        assert_eq!(read(&session).unwrap(), "first");
        session
    }

    fn state(of: &str, frame: &'static [u8]) -> State {
        let key = StateKey { kind: "k", of: of.into() };
        State { key, frame: Bytes::from_static(frame), instead: None, kept: false }
    }

    fn read(session: &Session) -> Option<Bytes> {
        match session.poll_read(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(bytes)) => Some(bytes),
            _ => None,
        }
    }

    #[test]
    fn the_newest_state_of_each_key_overtakes_the_events_that_wait() {
        let session = session();
        session.push(Bytes::from_static(b"event"));
        for (of, frame) in [("a", b"a1".as_slice()), ("b", b"b1"), ("a", b"a2")] {
            session.put(&state(of, frame));
        }
        session.put(&State { instead: Some(Bytes::from_static(b"b!")), ..state("b", b"b2") });
        assert_eq!(read(&session).unwrap(), "a2b!");
        assert_eq!(read(&session).unwrap(), "event");
        assert_eq!(read(&session), None);
    }

    #[test]
    fn nothing_overtakes_the_first_frame_and_a_state_comes_after_all_that_waited_before_it() {
        let session = unread();
        for (of, frame) in [("a", b"a1".as_slice()), ("b", b"b1"), ("a", b"a2")] {
            session.put(&state(of, frame));
        }
        session.push(Bytes::from_static(b"first"));
        assert_eq!(read(&session).unwrap(), "first");
        assert_eq!(read(&session).unwrap(), "b1a2");
    }

    #[test]
    fn a_state_does_not_come_inside_an_event_that_was_sent_in_part() {
        let session = session();
        session.push(Bytes::from(vec![b'e'; CHUNK_BYTES + 1]));
        assert_eq!(read(&session).unwrap().len(), CHUNK_BYTES);
        session.put(&state("a", b"a1"));
        assert_eq!(read(&session).unwrap(), "e");
        assert_eq!(read(&session).unwrap(), "a1");
    }

    #[test]
    fn beyond_the_bound_only_what_must_be_kept_is_taken() {
        let session = session();
        for i in 0..STATES {
            session.put(&state(&i.to_string(), b"s"));
        }
        session.put(&state("more", b"m"));
        session.put(&State { kept: true, ..state("kept", b"k") });
        assert_eq!(read(&session).unwrap().len(), STATES + 1);
    }
}
