//! Cursors on their way to the server: the newest of each room, at most one frame a room each 500 ms, the last never lost.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use relay_proto::chat::v1::{MembershipState, SendReceipt, UpdateReceiptsRequest, connect_request::Frame as Up};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    Client, Error, backoff,
    retry::{self, Verdict},
};

/// How far apart two frames about one room are.
const INTERVAL: Duration = Duration::from_millis(500);

/// How many rooms are told of at once.
const AT_ONCE: usize = 32;

/// The cursors of each room.
#[derive(Default)]
pub(super) struct Receipts {
    state: Mutex<State>,
    /// Wakes whoever waits until all is told.
    told: Notify,
}

#[derive(Default)]
struct State {
    rooms: HashMap<String, Room>,
    /// Whether a task tells the server.
    working: bool,
}

#[derive(Default)]
struct Room {
    /// What the server is to be told. `None`: it knows all.
    pending: Option<Cursors>,
    /// What the server knows.
    told: Cursors,
    /// When it was last told.
    last: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Cursors {
    delivered: u64,
    read: u64,
}

impl Cursors {
    fn max(self, other: Self) -> Self {
        Self { delivered: self.delivered.max(other.delivered), read: self.read.max(other.read) }
    }
}

impl Client {
    /// Says that the user has read a room up to this message. It returns at once: over an open stream, or by a call if there
    /// is none, the newest is told to the server, at most twice a second for each room, until the server knows it.
    pub fn mark_read(&self, room_id: &str, seq: u64) {
        self.mark(room_id, Cursors { delivered: seq, read: seq });
    }

    /// Says that this device has a room's messages up to this one. An event stream does it by itself for the messages that it
    /// yields, unless [`report_delivered`](crate::ClientBuilder::report_delivered) is off. Works as
    /// [`mark_read`](Self::mark_read).
    pub fn mark_delivered(&self, room_id: &str, seq: u64) {
        self.mark(room_id, Cursors { delivered: seq, read: 0 });
    }

    /// Waits until the server knows all that was marked, or has refused it. Before a program ends, for example.
    pub async fn flush_receipts(&self) {
        let receipts = &self.live().receipts;
        loop {
            let told = receipts.told.notified();
            if !receipts.state().working {
                return;
            }
            told.await;
        }
    }

    /// A message of the user's own was written, which reads its room up to it, unless others stand before it that the user had
    /// not seen: the server knows. What a duplicate did when it was first sent, its event says.
    pub(crate) fn has_sent(&self, receipt: &SendReceipt, written_after: Option<u64>) {
        self.live().receipts.state().has_sent(receipt, written_after);
    }

    /// A message of the user's own has read its room up to it: the server knows.
    pub(crate) fn has_read_by_sending(&self, room_id: &str, seq: u64) {
        self.live().receipts.state().has_read(room_id, seq);
    }

    /// The server has told what it holds, at the opening of a stream. After a crash that may be less than it knew: it is
    /// told again.
    pub(crate) fn is_held(&self, state: &MembershipState) {
        let held = Cursors { delivered: state.delivered_seq, read: state.read_seq };
        self.work_if(|receipts| receipts.is_held(&state.room_id, held));
    }

    /// A stream was opened that does not tell what the server holds: it is told all again.
    pub(crate) fn is_held_unknown(&self) {
        self.work_if(State::all_again);
    }

    fn mark(&self, room_id: &str, cursors: Cursors) {
        self.work_if(|receipts| receipts.mark(room_id, cursors));
    }

    /// Changes something, and tells the server if need be.
    fn work_if(&self, change: impl FnOnce(&mut State) -> bool) {
        let mut state = self.live().receipts.state();
        if !change(&mut state) || state.working {
            return;
        }
        state.working = true;
        // The task holds a client, so that what was marked last is told though the application has dropped its own.
        self.runtime().spawn(tell_all(self.clone()));
    }
}

/// Tells the server until it knows all.
async fn tell_all(client: Client) {
    let mut failures = 0;
    loop {
        let next = client.live().receipts.state().next_due();
        let Some(due) = next else { break };
        sleep_until(due).await;
        let batch = client.live().receipts.state().take(Instant::now());
        let answers = join_all(batch.iter().map(|(room_id, cursors)| tell(&client, room_id, *cursors))).await;
        let mut failed = false;
        for ((room_id, cursors), answer) in batch.into_iter().zip(answers) {
            failed |= client.live().receipts.state().answered(&room_id, cursors, answer);
        }
        failures = if failed { failures + 1 } else { 0 };
        if failed && client.is_alone() {
            break;
        }
        sleep(backoff::delay(failures, fastrand::f64())).await;
    }
    let receipts = &client.live().receipts;
    receipts.state().working = false;
    receipts.told.notify_waiters();
}

async fn tell(client: &Client, room_id: &str, cursors: Cursors) -> Result<(), Error> {
    let request =
        UpdateReceiptsRequest { room_id: room_id.to_owned(), delivered_seq: cursors.delivered, read_seq: cursors.read };
    match client.say(Up::UpdateReceipts(request)).await {
        Some(answer) => answer,
        None => client.update_receipts(room_id, cursors.delivered, cursors.read).await.map(drop),
    }
}

impl Receipts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes cursors. Answers whether the server is to be told.
    fn mark(&mut self, room_id: &str, cursors: Cursors) -> bool {
        let room = match self.rooms.get_mut(room_id) {
            Some(room) => room,
            None => self.rooms.entry(room_id.to_owned()).or_default(),
        };
        let known = room.pending.map_or(room.told, |pending| room.told.max(pending));
        if known.max(cursors) == known {
            return false;
        }
        room.pending = Some(room.pending.map_or(cursors, |pending| pending.max(cursors)));
        true
    }

    fn has_sent(&mut self, receipt: &SendReceipt, written_after: Option<u64>) {
        if !receipt.duplicate && written_after.is_none_or(|after| receipt.seq <= after.saturating_add(1)) {
            self.has_read(&receipt.room_id, receipt.seq);
        }
    }

    fn has_read(&mut self, room_id: &str, seq: u64) {
        let room = self.rooms.entry(room_id.to_owned()).or_default();
        room.told = room.told.max(Cursors { delivered: seq, read: seq });
    }

    /// Answers whether the server has lost something, and is to be told.
    fn is_held(&mut self, room_id: &str, held: Cursors) -> bool {
        let room = self.rooms.entry(room_id.to_owned()).or_default();
        if room.told.max(held) == held {
            room.told = held;
            return false;
        }
        room.again();
        true
    }

    /// Answers whether the server is to be told something.
    fn all_again(&mut self) -> bool {
        self.rooms.values_mut().for_each(Room::again);
        !self.rooms.is_empty()
    }

    /// When the next room may be told of. `None`: the server knows all, and nobody works any more.
    fn next_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let due = self.rooms.values().filter(|room| room.pending.is_some()).map(|room| room.due(now)).min();
        self.working = due.is_some();
        due
    }

    /// Takes what may be told now.
    fn take(&mut self, now: Instant) -> Vec<(String, Cursors)> {
        let due = self.rooms.iter_mut().filter(|(_, room)| room.pending.is_some() && room.due(now) <= now);
        let take = |(room_id, room): (&String, &mut Room)| {
            room.last = Some(now);
            // What is not said is as it is: 0.
            Some((room_id.clone(), room.pending.take()?))
        };
        due.take(AT_ONCE).filter_map(take).collect()
    }

    /// Notes an answer. Answers whether it is to be tried again.
    fn answered(&mut self, room_id: &str, cursors: Cursors, answer: Result<(), Error>) -> bool {
        let Some(room) = self.rooms.get_mut(room_id) else { return false };
        match answer {
            Ok(()) => room.told = room.told.max(cursors),
            Err(error) if retry::of_call(&error) == Verdict::Final => {}
            Err(_) => {
                room.pending = Some(room.pending.map_or(cursors, |newer| newer.max(cursors)));
                return true;
            }
        }
        false
    }
}

impl Room {
    /// What the server knew, it is to be told again.
    fn again(&mut self) {
        let told = std::mem::take(&mut self.told);
        self.pending = Some(self.pending.map_or(told, |pending| pending.max(told)));
    }

    /// When it may be told of, seen from now.
    fn due(&self, now: Instant) -> Instant {
        self.last.map_or(now, |last| last + INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn read(seq: u64) -> Cursors {
        Cursors { delivered: seq, read: seq }
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_marks_the_newest_is_told_and_the_next_half_a_second_later() {
        let mut state = State::default();
        assert!(
            state.mark("r", read(3)) && state.mark("r", Cursors { delivered: 9, read: 0 }) && !state.mark("r", read(2))
        );
        let now = Instant::now();
        assert_eq!(state.take(now), [("r".to_owned(), Cursors { delivered: 9, read: 3 })]);
        assert!(!state.answered("r", read(9), Ok(())));
        assert!(!state.mark("r", read(9)), "it is known");
        assert!(state.mark("r", read(10)));
        assert!(state.take(now).is_empty());
        assert_eq!(state.next_due(), Some(now + INTERVAL));
        assert_eq!(state.take(now + INTERVAL).len(), 1);
        assert_eq!(state.next_due(), None);
    }

    #[test]
    fn what_sending_has_read_is_not_told_and_only_that() {
        let receipt = |seq, duplicate| SendReceipt { room_id: "r".into(), seq, duplicate, ..SendReceipt::default() };
        for (receipt, written_after, has_read) in [
            (receipt(7, false), None, true),
            (receipt(7, false), Some(6), true),
            (receipt(7, false), Some(u64::MAX), true),
            (receipt(7, false), Some(5), false),
            (receipt(7, true), None, false),
            (receipt(7, true), Some(6), false),
        ] {
            let mut state = State::default();
            state.has_sent(&receipt, written_after);
            assert_eq!(state.mark("r", read(7)), !has_read, "{receipt:?} {written_after:?}");
        }
    }

    #[test]
    fn what_the_server_lost_in_a_crash_is_told_again() {
        let mut state = State::default();
        assert!(!state.is_held("r", read(1)), "nothing is known of this room here");
        state.has_read("r", 7);
        assert!(!state.is_held("r", read(7)));
        assert!(state.is_held("r", read(2)));
        assert_eq!(state.rooms["r"].pending, Some(read(7)));
        assert!(!state.mark("r", read(0)));
    }

    #[test]
    fn what_the_server_says_that_it_holds_is_not_told() {
        let mut state = State::default();
        assert!(!state.is_held("r", read(7)));
        assert!(!state.mark("r", read(7)));
        assert!(state.is_held("r", read(2)), "it knew more before, from whatever device");
        assert_eq!(state.rooms["r"].pending, Some(read(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_in_passing_is_told_again_with_what_is_newer() {
        let mut state = State::default();
        state.mark("r", read(3));
        let taken = state.take(Instant::now());
        state.mark("r", Cursors { delivered: 5, read: 0 });
        assert!(state.answered("r", taken[0].1, Err(Error::new(ErrorKind::Unavailable, ""))));
        let later = Instant::now() + INTERVAL;
        assert_eq!(state.take(later), [("r".to_owned(), Cursors { delivered: 5, read: 3 })]);
        assert!(!state.answered("r", read(5), Err(Error::new(ErrorKind::NotFound, ""))));
        assert_eq!(state.next_due(), None);
    }
}
