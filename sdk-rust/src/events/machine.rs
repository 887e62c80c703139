//! What to do with what the stream brings: the rules of resuming, without any input, output or clock.
//!
//! The driver feeds it frames, ends and silences, and does what it says. It holds the position of each room as of the last
//! event given out, and sees to it that events come without gap and without double.

use std::time::Duration;

use relay_proto::chat::v1::{
    Frame, Heartbeat, Hello, Reply, ResumeVerdict, Resumed, RoomEvent as WireEvent, RoomPosition, frame::Kind,
};

use crate::{
    Error, backoff,
    events::event::{DisconnectReason, Event, Positions},
    retry::{self, Verdict},
};

/// The heartbeat of a server that does not say.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);

/// What follows a frame.
#[derive(Debug)]
pub(super) enum Next {
    /// Read on.
    Read,
    /// Hand the reply to whoever asked, and read on.
    Answered(Reply),
    /// Fetch a new token and send it up; read on meanwhile.
    RenewToken,
    /// Read on for this long, then call [`Machine::drained`]. If the stream ends before, wait for the rest.
    Drain(Duration),
    /// The stream is of no more use.
    Leave(Leave),
}

/// What follows a stream.
#[derive(Debug)]
pub(super) enum Leave {
    /// Wait, then open another with [`Machine::positions`].
    Reopen { after: Duration, forget_token: bool },
    /// Give the error out, and stop.
    Stop(Error),
}

impl Leave {
    fn forgetting_the_token(self) -> Self {
        match self {
            Self::Reopen { after, .. } => Self::Reopen { after, forget_token: true },
            stop @ Self::Stop(_) => stop,
        }
    }
}

/// The rules, and what they need to remember.
pub(super) struct Machine {
    held: Positions,
    /// Failures in a row, without a stream in between that lasted.
    failures: u32,
    /// Whether the last attempt failed because its token was refused. The second refusal in a row is final; one after another
    /// failure is not, as the token may have expired meanwhile.
    token_refused: bool,
    /// Known once the stream's Hello is there.
    heartbeat: Option<Duration>,
    /// How long opening may take, the Hello included.
    opening_limit: Duration,
    /// Draws from `0.0..1.0`.
    random: fn() -> f64,
}

impl Machine {
    pub(super) fn new(held: Positions, opening_limit: Duration, random: fn() -> f64) -> Self {
        Self { held, failures: 0, token_refused: false, heartbeat: None, opening_limit, random }
    }

    /// What to open the next stream with.
    pub(super) fn positions(&self) -> Vec<RoomPosition> {
        let position =
            |(room_id, position): (&String, &u64)| RoomPosition { room_id: room_id.clone(), position: *position };
        self.held.iter().map(position).collect()
    }

    /// A stream is about to be opened.
    pub(super) fn opening(&mut self) {
        self.heartbeat = None;
    }

    /// How long to wait for the next frame before calling [`silent`](Self::silent).
    pub(super) fn patience(&self) -> Duration {
        self.heartbeat.map_or(self.opening_limit, |heartbeat| heartbeat.saturating_mul(3))
    }

    /// The stream has been open for `life`. One that lasts a heartbeat interval makes up for earlier failures. What comes
    /// on it does not: a server that ends each stream once all is sent would be asked again without any wait.
    pub(super) fn lasted(&mut self, life: Duration) {
        if self.heartbeat.is_some_and(|heartbeat| life >= heartbeat) {
            self.failures = 0;
        }
    }

    /// A frame came. What it gives out is added to `out`.
    pub(super) fn frame(&mut self, frame: Frame, out: &mut Vec<Event>) -> Next {
        match frame.kind {
            Some(Kind::Hello(hello)) => self.hello(hello, out),
            Some(Kind::Event(event)) => self.event(event, out),
            Some(Kind::Heartbeat(heartbeat)) => self.heartbeat(&heartbeat, out),
            Some(Kind::Resumed(resumed)) => self.resumed(resumed, out),
            Some(Kind::CaughtUp(_)) => {
                out.push(Event::CaughtUp);
                Next::Read
            }
            Some(Kind::TokenExpiring(_)) => Next::RenewToken,
            Some(Kind::Drain(drain)) => {
                Next::Drain(drain.reconnect_after.and_then(|after| after.try_into().ok()).unwrap_or_default())
            }
            Some(Kind::Reply(reply)) => Next::Answered(reply),
            // A frame without what it is about, or of a later version, is ignored, as the contract says.
            other => {
                state(other, out);
                Next::Read
            }
        }
    }

    /// The stream ended or could not be opened. `drain_left` is what is left of the time that a Drain set.
    pub(super) fn ended(
        &mut self,
        end: Result<(), Error>,
        drain_left: Option<Duration>,
        out: &mut Vec<Event>,
    ) -> Leave {
        if let Some(left) = drain_left {
            return leave(DisconnectReason::Draining, left, out);
        }
        let Err(error) = end else { return self.failed(DisconnectReason::Closed, None, out) };
        match retry::of_stream(&error) {
            Verdict::Final => Leave::Stop(error),
            Verdict::Renew if self.token_refused => Leave::Stop(error),
            Verdict::Renew => {
                let leave = self.failed(DisconnectReason::Failed(error), None, out).forgetting_the_token();
                self.token_refused = true;
                leave
            }
            Verdict::Retry => {
                let asked = error.retry_after();
                self.failed(DisconnectReason::Failed(error), asked, out)
            }
        }
    }

    /// No frame came for [`patience`](Self::patience).
    pub(super) fn silent(&mut self, out: &mut Vec<Event>) -> Leave {
        self.failed(DisconnectReason::Silent, None, out)
    }

    /// The time that a Drain set is over, and the stream still there.
    pub(super) fn drained(&mut self, out: &mut Vec<Event>) -> Leave {
        leave(DisconnectReason::Draining, Duration::ZERO, out)
    }

    fn hello(&mut self, hello: Hello, out: &mut Vec<Event>) -> Next {
        let said = hello.heartbeat_interval.and_then(|interval| Duration::try_from(interval).ok());
        self.heartbeat = said.filter(|interval| !interval.is_zero()).or(Some(DEFAULT_HEARTBEAT));
        self.token_refused = false;
        out.push(Event::Connected(hello.into()));
        Next::Read
    }

    fn resumed(&mut self, resumed: Resumed, out: &mut Vec<Event>) -> Next {
        for room in resumed.rooms {
            hold_verdict(&mut self.held, room.verdict(), &room.room_id, room.position);
            out.push(Event::Resumed(room));
        }
        Next::Read
    }

    fn event(&mut self, event: WireEvent, out: &mut Vec<Event>) -> Next {
        match self.held.get(&event.room_id).copied() {
            Some(held) if event.position <= held => return Next::Read,
            Some(held) if event.previous_position != held => return self.out_of_order(out),
            // Without a verdict for its room, an event is where the room begins.
            Some(_) | None => {}
        }
        hold(&mut self.held, &event.room_id, event.position);
        out.push(Event::Room(event.into()));
        Next::Read
    }

    fn heartbeat(&mut self, heartbeat: &Heartbeat, out: &mut Vec<Event>) -> Next {
        let behind = |at: &RoomPosition| self.held.get(&at.room_id).is_some_and(|held| *held < at.position);
        if heartbeat.positions.iter().any(behind) { self.out_of_order(out) } else { Next::Read }
    }

    fn out_of_order(&mut self, out: &mut Vec<Event>) -> Next {
        Next::Leave(self.failed(DisconnectReason::OutOfOrder, None, out))
    }

    fn failed(&mut self, reason: DisconnectReason, asked: Option<Duration>, out: &mut Vec<Event>) -> Leave {
        let after = backoff::delay_asked(self.failures, (self.random)(), asked);
        self.failures = self.failures.saturating_add(1);
        self.token_refused = false;
        leave(reason, after, out)
    }
}

/// Gives out what a frame says about how something is now. It has no position, and nothing is held of it.
fn state(kind: Option<Kind>, out: &mut Vec<Event>) {
    match kind {
        Some(Kind::Memberships(changed)) => out.extend(changed.memberships.into_iter().map(Event::Memberships)),
        Some(Kind::Receipts(changed)) => out.push(Event::Receipts(changed)),
        Some(Kind::Presence(changed)) => out.extend(changed.presence.map(Event::Presence)),
        Some(Kind::RoomPresence(room)) => out.push(Event::RoomPresence(room)),
        Some(Kind::Typing(changed)) => out.push(Event::Typing(changed)),
        Some(Kind::Block(changed)) => {
            out.push(Event::Block { user_id: changed.user_id, blocked: changed.blocked });
        }
        _ => {}
    }
}

/// Notes a position that was given out, or a verdict's.
pub(super) fn hold(held: &mut Positions, room_id: &str, position: u64) {
    match held.get_mut(room_id) {
        Some(old) => *old = position,
        None => drop(held.insert(room_id.to_owned(), position)),
    }
}

/// Notes what a verdict says about a room.
pub(super) fn hold_verdict(held: &mut Positions, verdict: ResumeVerdict, room_id: &str, position: u64) {
    match verdict {
        ResumeVerdict::Left => drop(held.remove(room_id)),
        ResumeVerdict::Complete | ResumeVerdict::Gap | ResumeVerdict::Joined => hold(held, room_id, position),
        // A verdict of a later version: events will show.
        ResumeVerdict::Unspecified => {}
    }
}

fn leave(reason: DisconnectReason, after: Duration, out: &mut Vec<Event>) -> Leave {
    out.push(Event::Disconnected { reason, retry_in: after });
    Leave::Reopen { after, forget_token: false }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
