//! The stream of events that keeps itself open.

mod driver;
mod event;
mod machine;
mod tap;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use tokio::{runtime::Handle, sync::mpsc, task::AbortHandle};

pub use self::event::{
    DisconnectReason, Event, Positions, ResumeVerdict, RoomEvent, RoomEventKind, RoomResume, Session,
};
pub(crate) use self::tap::Tap;
use self::{driver::Driver, machine::Machine};
use crate::Error;

/// The events of all rooms of the user, in one stream that opens itself again when it is lost.
///
/// * Each event of a room comes once and in order, whatever happens to connection or server. Where the server cannot
///   replay any more, the verdict `Gap` says so.
/// * The first retry is at once; then it waits between 0.5 s and 20 s, longer with each failure, until a stream lasts for
///   a heartbeat interval. A server that drains or is overloaded says how long to wait. A link without a frame for three heartbeats is dead.
/// * Tokens are renewed in the stream before they expire.
/// * It never drops an event: when it is not polled, a bounded number waits here and the rest on the server.
/// * The item `Err` is final and the last: the server refuses even a new token, or the user is not permitted to open a
///   stream, or it refuses the request as wrong.
/// * Dropping it ends the stream.
///
/// ```no_run
/// use relay_sdk::{Client, Event, RoomEventKind};
///
/// # async fn run(client: Client) -> Result<(), relay_sdk::Error> {
/// let mut events = client.events();
/// while let Some(event) = events.next().await {
///     if let Event::Room(event) = event?
///         && let RoomEventKind::MessageCreated(message) = event.kind
///     {
///         println!("{} in {}: {}", message.sender_id, event.room_id, message.text);
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Events {
    incoming: mpsc::Receiver<Result<Event, Error>>,
    positions: Positions,
    driver: AbortHandle,
}

impl Events {
    pub(crate) fn open(
        runtime: &Handle,
        tap: Tap,
        positions: Positions,
        opening_limit: Duration,
        buffer: usize,
    ) -> Self {
        let (events, incoming) = mpsc::channel(buffer);
        let machine = Machine::new(positions.clone(), opening_limit, fastrand::f64);
        let tokens = tap.tokens.clone();
        let driver = Driver { dial: tap, tokens, machine, events, token: None };
        Self { incoming, positions, driver: runtime.spawn(driver.run()).abort_handle() }
    }

    /// The next item, or `None` after the last. Nothing is lost when the future is dropped while it waits.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The position of each room as of the last item that was yielded. Store it once that item is dealt with, and begin
    /// there after a restart with [`events_from`](crate::Client::events_from).
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Room(event) => machine::hold(&mut self.positions, &event.room_id, event.position),
            Event::Resumed(room) => {
                machine::hold_verdict(&mut self.positions, room.verdict(), &room.room_id, room.position);
            }
            Event::Connected(_) | Event::Disconnected { .. } | Event::CaughtUp => {}
        }
    }
}

impl Stream for Events {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = std::task::ready!(self.incoming.poll_recv(cx));
        if let Some(Ok(event)) = &item {
            self.note(event);
        }
        Poll::Ready(item)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("positions", &self.positions).finish_non_exhaustive()
    }
}
