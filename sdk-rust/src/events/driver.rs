//! Runs the machine: opens streams, reads frames, waits, and hands events out.

use std::{future::Future, pin::Pin, sync::Arc};

use relay_proto::chat::v1::{ConnectRequest, Frame, RoomPosition};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{
    Error, backoff,
    events::{
        event::Event,
        machine::{Leave, Machine, Next},
    },
    live::{Attached, Live},
    token::{Token, Tokens},
};

/// Opens streams.
pub(super) trait Dial: Send + Sync + 'static {
    /// An open stream.
    type Link: Link;

    /// Opens a stream with these positions. Each on a connection of its own: the last one may be dead without anybody
    /// having noticed.
    fn open(
        &self,
        token: &Token,
        positions: Vec<RoomPosition>,
    ) -> impl Future<Output = Result<Self::Link, Error>> + Send;
}

/// An open stream. Dropping it ends it.
pub(super) trait Link: Send {
    /// The next frame, or `None` at the end. Nothing is lost when it is dropped while it waits.
    fn next(&mut self) -> impl Future<Output = Result<Option<Frame>, Error>> + Send;

    /// Where others send frames up.
    fn way_up(&self) -> mpsc::Sender<ConnectRequest>;

    /// Sends a new token up.
    fn renew(&mut self, token: &Token);
}

/// Keeps a stream open until a final error, which is the last item, or until nobody listens any more.
pub(super) struct Driver<D> {
    pub(super) dial: D,
    pub(super) tokens: Arc<Tokens>,
    pub(super) machine: Machine,
    pub(super) events: mpsc::Sender<Result<Event, Error>>,
    pub(super) live: Arc<Live>,
    /// The token that the stream lives on.
    pub(super) token: Option<Token>,
}

/// Nobody listens any more.
struct Unheard;

type Renewal = Pin<Box<dyn Future<Output = Token> + Send>>;

impl<D: Dial> Driver<D> {
    pub(super) async fn run(mut self) {
        loop {
            let mut out = Vec::new();
            let Ok(leave) = self.one_stream(&mut out).await else { return };
            if self.give_out(&mut out).await.is_err() {
                return;
            }
            match leave {
                Leave::Reopen { after, .. } => sleep(after).await,
                Leave::Stop(error) => {
                    // The last item: whether anybody hears it changes nothing any more.
                    let _ = self.events.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    /// Opens a stream and reads it to its end. What the end gives out is left in `out`.
    async fn one_stream(&mut self, out: &mut Vec<Event>) -> Result<Leave, Unheard> {
        self.machine.opening();
        let token = match self.tokens.get().await {
            Ok(token) => self.token.insert(token),
            Err(error) => return Ok(self.machine.ended(Err(error), None, out)),
        };
        // One limit for the stream and its Hello.
        let silent_at = backoff::from_now(self.machine.patience());
        let leave = match timeout_at(silent_at, self.dial.open(token, self.machine.positions())).await {
            Ok(Ok(link)) => self.read(link, silent_at, out).await?,
            Ok(Err(error)) => self.machine.ended(Err(error), None, out),
            Err(_) => self.machine.silent(out),
        };
        if let (Leave::Reopen { forget_token: true, .. }, Some(token)) = (&leave, &self.token) {
            self.tokens.forget(token).await;
        }
        Ok(leave)
    }

    /// Reads a stream to its end. It is dead if nothing has come by `silent_at`.
    async fn read(
        &mut self,
        mut link: D::Link,
        mut silent_at: Instant,
        out: &mut Vec<Event>,
    ) -> Result<Leave, Unheard> {
        let mut drain_at: Option<Instant> = None;
        let mut renewal: Option<Renewal> = None;
        // Others send frames up from its Hello to its end.
        let mut attached: Option<Attached> = None;
        let opened = Instant::now();
        loop {
            let frame = tokio::select! {
                biased;
                () = until(drain_at) => return Ok(self.machine.drained(out)),
                new = arrival(&mut renewal) => {
                    renewal = None;
                    self.renew(&mut link, new);
                    continue;
                }
                frame = link.next() => frame,
                () = sleep_until(silent_at) => return Ok(self.machine.silent(out)),
            };
            self.machine.lasted(opened.elapsed());
            let left = drain_at.map(|at| at.saturating_duration_since(Instant::now()));
            let next = match frame {
                Ok(Some(frame)) => self.machine.frame(frame, out),
                Ok(None) => Next::Leave(self.machine.ended(Ok(()), left, out)),
                Err(error) => Next::Leave(self.machine.ended(Err(error), left, out)),
            };
            match next {
                Next::Read if attached.is_none() && matches!(out[..], [Event::Connected(_)]) => {
                    attached = Some(self.attach(&link));
                }
                Next::Read => {}
                Next::Answered(reply) => self.live.uplink.answered(reply),
                Next::RenewToken if renewal.is_some() => {}
                Next::RenewToken => renewal = Some(Box::pin(renewed(self.tokens.clone(), self.token.clone()))),
                Next::Drain(after) => drain_at = Some(backoff::from_now(after)),
                Next::Leave(leave) => return Ok(leave),
            }
            self.give_out(out).await?;
            // Counted from here: while the listener was busy, nothing was read, and silence says nothing about the link.
            silent_at = backoff::from_now(self.machine.patience());
        }
    }

    fn attach(&self, link: &D::Link) -> Attached {
        self.live.blocks.forget();
        let up = link.way_up();
        if let Some(word) = self.live.presence.first_word() {
            // The queue of a new stream has room.
            let _ = up.try_send(word);
        }
        Attached::new(self.live.clone(), up)
    }

    fn renew(&mut self, link: &mut D::Link, new: Token) {
        // The same text has the same end: the server would only announce it again.
        if self.token.as_ref().is_none_or(|old| old.text() != new.text()) {
            link.renew(&new);
        }
        self.token = Some(new);
    }

    async fn give_out(&self, out: &mut Vec<Event>) -> Result<(), Unheard> {
        for event in out.drain(..) {
            self.events.send(Ok(event)).await.map_err(|_| Unheard)?;
        }
        Ok(())
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn arrival(renewal: &mut Option<Renewal>) -> Token {
    match renewal {
        Some(renewal) => renewal.await,
        None => std::future::pending().await,
    }
}

/// Another token than `old`, once that one may be renewed, and however long it takes; the stream's end puts an end to it.
async fn renewed(tokens: Arc<Tokens>, old: Option<Token>) -> Token {
    if let Some(old) = old {
        if let Some(from) = old.renew_from() {
            sleep_until(from).await;
        }
        tokens.forget(&old).await;
    }
    let mut attempt = 0;
    loop {
        if let Ok(token) = tokens.get().await {
            return token;
        }
        // Not at once even the first time: the provider has just failed.
        attempt += 1;
        sleep(backoff::delay(attempt, fastrand::f64())).await;
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
