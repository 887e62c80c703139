//! The stream of events that keeps itself open.

mod driver;
mod event;
mod machine;
mod tap;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::{sync::mpsc, task::AbortHandle};

pub use self::event::{
    DisconnectReason, Event, Positions, ReceiptsChanged, ResumeVerdict, RoomEvent, RoomEventKind, RoomResume, Session,
    TypingChanged,
};
pub(crate) use self::tap::Tap;
use self::{driver::Driver, machine::Machine};
use crate::{Client, Error, ErrorKind};

/// The events of all rooms of the user, in one stream that opens itself again when it is lost.
///
/// * Each event of a room comes once and in order, whatever happens to connection or server. Where the server cannot
///   replay any more, the verdict `Gap` says so.
/// * The first retry is at once; then it waits between 0.5 s and 20 s, longer with each failure, until a stream lasts for
///   a heartbeat interval. A server that drains or is overloaded says how long to wait. A link without a frame for three heartbeats is dead.
/// * Tokens are renewed in the stream before they expire.
/// * It never drops an event: when it is not polled, a bounded number waits here and the rest on the server.
/// * The item `Err` is final and the last: the server refuses even a new token, or the user is not permitted to open a
///   stream, or it refuses the request as wrong; or, with the kind [`Cancelled`](ErrorKind::Cancelled), the runtime that
///   kept it open was shut down.
/// * Messages that it yields are reported as delivered to this device, unless the builder says otherwise.
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
    /// Reports what was yielded. `None` in tests.
    client: Option<Client>,
    /// The user, once a stream has said.
    user_id: String,
    /// Whether the stream is open and has not told all yet.
    opening: bool,
    /// Whether the last item was yielded.
    over: bool,
}

impl Events {
    pub(crate) fn open(client: Client, tap: Tap, positions: Positions) -> Self {
        let (events, incoming) = mpsc::channel(client.settings().event_buffer);
        let machine = Machine::new(positions.clone(), client.settings().request_timeout, fastrand::f64);
        let (tokens, live) = (tap.tokens.clone(), client.shared_live());
        let driver = Driver { dial: tap, tokens, machine, events, live, token: None };
        let driver = client.runtime().spawn(driver.run()).abort_handle();
        Self { incoming, positions, driver, client: Some(client), user_id: String::new(), opening: false, over: false }
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

    /// Ends the stream. No item follows.
    #[cfg(feature = "sqlite")]
    pub(crate) fn close(&mut self) {
        self.over = true;
        self.driver.abort();
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Connected(session) => {
                self.user_id.clone_from(&session.user_id);
                self.opening = true;
                if let Some(client) = self.client.as_ref().filter(|client| !client.settings().memberships) {
                    client.is_held_unknown();
                }
            }
            Event::CaughtUp => self.opening = false,
            Event::Memberships(state) if self.opening => {
                if let Some(client) = &self.client {
                    client.is_held(state);
                }
            }
            Event::Room(event) => {
                machine::hold(&mut self.positions, &event.room_id, event.position);
                self.report(event);
            }
            Event::Resumed(room) => {
                machine::hold_verdict(&mut self.positions, room.verdict(), &room.room_id, room.position);
                // The server has passed over a room that the user was not in.
                if let Some(client) = self.client.as_ref().filter(|_| !self.opening)
                    && room.verdict() == ResumeVerdict::Joined
                {
                    client.joined_watched(&room.room_id);
                }
            }
            Event::Block { user_id, blocked } => {
                if let Some(client) = &self.client {
                    client.blocks().changed(user_id, *blocked);
                }
            }
            _ => {}
        }
    }

    /// Reports a message as delivered. One's own, from whatever device, has been read by sending it unless it keeps the room
    /// unread, which the server knows and may forget in a crash: then the next opening says so. What comes in an opening may
    /// have been forgotten already.
    fn report(&self, event: &RoomEvent) {
        let (Some(client), RoomEventKind::MessageCreated(message)) = (&self.client, &event.kind) else { return };
        match message.sender_id == self.user_id && !message.keeps_unread {
            true if self.opening => client.mark_read(&event.room_id, message.seq),
            true => client.has_read_by_sending(&event.room_id, message.seq),
            false if client.settings().report_delivered => client.mark_delivered(&event.room_id, message.seq),
            false => {}
        }
    }
}

impl Stream for Events {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        // The driver ends with an error. If there is none, it was ended.
        let item = std::task::ready!(self.incoming.poll_recv(cx)).unwrap_or_else(|| Err(cut_short()));
        match &item {
            Ok(event) => self.note(event),
            Err(_) => self.over = true,
        }
        Poll::Ready(Some(item))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn cut_short() -> Error {
    Error::new(
        ErrorKind::Cancelled,
        "the task that keeps the stream open is gone: its runtime was shut down, or it panicked",
    )
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("positions", &self.positions).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events whose driver gives out these items and is gone then.
    fn events(items: Vec<Result<Event, Error>>) -> Events {
        let (driver, incoming) = mpsc::channel(items.len() + 1);
        items.into_iter().for_each(|item| driver.try_send(item).unwrap());
        let gone = tokio::spawn(std::future::ready(())).abort_handle();
        Events {
            incoming,
            positions: Positions::new(),
            driver: gone,
            client: None,
            user_id: String::new(),
            opening: false,
            over: false,
        }
    }

    #[tokio::test]
    async fn a_driver_that_is_gone_without_a_word_is_an_error_and_the_last_item() {
        let mut events = events(vec![Ok(Event::CaughtUp)]);
        assert!(matches!(events.next().await, Some(Ok(Event::CaughtUp))));
        assert_eq!(events.next().await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        assert!(events.next().await.is_none());
    }

    #[tokio::test]
    async fn the_error_that_ends_the_driver_is_the_only_one() {
        let mut events = events(vec![Err(Error::new(ErrorKind::PermissionDenied, ""))]);
        assert_eq!(events.next().await.unwrap().unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert!(events.next().await.is_none());
    }
}
