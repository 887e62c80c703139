//! Messages that are written into the file first and sent when that is possible, in order.

use std::{collections::HashSet, sync::Arc, time::Duration};

use relay_proto::chat::v1::{SendMessageRequest, SkipLaneRequest};
use tokio::{
    sync::{Notify, broadcast},
    task::{AbortHandle, JoinSet},
    time::sleep,
};

use super::{
    queue::{Answered, Pending, Step},
    store::Store,
};
use crate::{Client, Error, NewContent, OutgoingMessage, SendReceipt, backoff};

/// How many changes may wait for a listener before it misses the oldest.
const CHANGES: usize = 256;

/// The messages of this device that are not acknowledged. Cheap to clone.
///
/// A message is in the file before [`send`](Self::send) returns. Then it is sent when its turn comes, however long that
/// takes and whatever becomes of this process, and written once. The messages of a room are written in the order of their
/// `send`s: each when the one before is acknowledged or refused, and rooms independent of each other.
///
/// Sending reads the room up to the message. Where others came after the user wrote it, it reads nothing, so that what nobody
/// has seen stays unread: as far as the [cache](super::Offline) has the room's messages.
///
/// What passes (no connection, a server that restarts or has too much to do, slow mode) is tried again, for ever. What
/// the server refuses is **parked**, and the messages after it go on: the user can [`edit`](Self::edit) it, have it
/// [tried again](Self::retry) or [`drop`](Self::discard) it.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// Sends. It ends with the last clone.
    worker: AbortHandle,
}

struct Shared {
    client: Client,
    store: Store,
    changes: broadcast::Sender<OutboxChange>,
    /// Something is to be done.
    work: Notify,
    /// What waits to be tried again is tried now.
    hurry: Notify,
}

/// Has the file looked through for work when it is dropped: after a change of it, and when the caller gives up on that half-way,
/// as it may be written all the same.
struct Look<'a>(&'a Shared);

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.0.work.notify_one();
    }
}

/// A message's way through the outbox.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OutboxChange {
    /// The message's id.
    pub client_message_id: String,
    /// Its room.
    pub room_id: String,
    /// How it stands now.
    pub state: OutboxState,
}

/// How a message of the outbox stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum OutboxState {
    /// It waits for its turn; after a failure that passes, for another try.
    Waiting(Option<Error>),
    /// It is on its way.
    Sending,
    /// It is written, and out of the outbox.
    Sent(SendReceipt),
    /// The server refuses it. It waits for the user.
    Parked(Error),
    /// The user gave it up.
    Discarded,
}

impl Outbox {
    pub(super) fn open(client: Client, store: Store) -> Self {
        let changes = broadcast::Sender::new(CHANGES);
        let (work, hurry) = (Notify::new(), Notify::new());
        let shared = Arc::new(Shared { client, store, changes, work, hurry });
        let worker = shared.client.runtime().spawn(run(shared.clone())).abort_handle();
        Self(Arc::new(Inner { shared, worker }))
    }

    /// Writes a message into the file, to be sent. Answers with its client message id. One whose id is in the outbox already is
    /// left as it is: what waits is sent once, and what is parked stays parked until it is [tried again](Self::retry).
    ///
    /// # Errors
    /// [`Storage`](crate::ErrorKind::Storage).
    pub async fn send(&self, message: OutgoingMessage) -> Result<String, Error> {
        let shared = self.shared();
        let _look = Look(shared);
        let (id, room_id) = (message.client_message_id().to_owned(), message.room_id().to_owned());
        shared.client.typing_is_over(&room_id);
        if shared.store.write(message).await? {
            shared.changed(&id, &room_id, OutboxState::Waiting(None));
        }
        Ok(id)
    }

    /// Gives a message other content. A parked one goes to the end of its room's messages, one that waits keeps its place.
    /// It keeps its id.
    ///
    /// # Errors
    /// `NotFound`: the outbox does not have it. `FailedPrecondition`: it is being sent and may be written already; edit the
    /// written message then. [`Storage`](crate::ErrorKind::Storage).
    pub async fn edit(&self, client_message_id: &str, content: impl Into<NewContent>) -> Result<(), Error> {
        let _look = Look(self.shared());
        let room_id = self.shared().store.edit(client_message_id, content.into()).await?;
        self.waits(client_message_id, &room_id);
        Ok(())
    }

    /// Has a parked message tried again, at the end of its room's messages and under its id. One that waits is tried now.
    ///
    /// # Errors
    /// `NotFound`, [`Storage`](crate::ErrorKind::Storage).
    pub async fn retry(&self, client_message_id: &str) -> Result<(), Error> {
        let _look = Look(self.shared());
        let room_id = self.shared().store.retry(client_message_id).await?;
        self.waits(client_message_id, &room_id);
        Ok(())
    }

    /// Gives a message up. Answers whether it may be written all the same, because an attempt was under way.
    ///
    /// # Errors
    /// `NotFound`, [`Storage`](crate::ErrorKind::Storage).
    pub async fn discard(&self, client_message_id: &str) -> Result<bool, Error> {
        let shared = self.shared();
        let _look = Look(shared);
        let (room_id, maybe_written) = shared.store.give_up(client_message_id).await?;
        shared.changed(client_message_id, &room_id, OutboxState::Discarded);
        Ok(maybe_written)
    }

    /// The messages of a room that are not acknowledged: in the order in which they are sent, parked ones last.
    ///
    /// # Errors
    /// [`Storage`](crate::ErrorKind::Storage).
    pub async fn pending(&self, room_id: &str) -> Result<Vec<Pending>, Error> {
        self.shared().store.pending(Some(room_id)).await
    }

    /// The messages of all rooms that are not acknowledged, room by room.
    ///
    /// # Errors
    /// [`Storage`](crate::ErrorKind::Storage).
    pub async fn pending_all(&self) -> Result<Vec<Pending>, Error> {
        self.shared().store.pending(None).await
    }

    /// Every change from now on. Who reads too slowly misses the oldest of more than 256, and is told so:
    /// [`pending`](Self::pending) says how things stand.
    pub fn watch(&self) -> broadcast::Receiver<OutboxChange> {
        self.shared().changes.subscribe()
    }

    /// Has everything that waits for another try tried now.
    pub fn hurry(&self) {
        self.shared().hurry.notify_waiters();
    }

    fn waits(&self, id: &str, room_id: &str) {
        let shared = self.shared();
        shared.changed(id, room_id, OutboxState::Waiting(None));
        shared.hurry.notify_waiters();
    }

    fn shared(&self) -> &Shared {
        &self.0.shared
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl Shared {
    fn changed(&self, id: &str, room_id: &str, state: OutboxState) {
        let (client_message_id, room_id) = (id.to_owned(), room_id.to_owned());
        // Nobody may listen.
        let _ = self.changes.send(OutboxChange { client_message_id, room_id, state });
    }
}

/// Runs a task for each room in which something is to be done.
async fn run(shared: Arc<Shared>) {
    let (mut rooms, mut running) = (JoinSet::new(), HashSet::new());
    loop {
        match shared.store.busy_rooms().await {
            Ok(busy) => {
                for room_id in busy.into_iter().filter(|room_id| running.insert(room_id.clone())).collect::<Vec<_>>() {
                    rooms.spawn(run_room(shared.clone(), room_id));
                }
            }
            Err(_) => {
                // Nobody may say again that something is to be done.
                sleep(backoff::delay(1, fastrand::f64())).await;
                continue;
            }
        }
        tokio::select! {
            () = shared.work.notified() => {}
            Some(ended) = rooms.join_next() => {
                // A task that panicked leaves its room alone until the next start.
                if let Ok(room_id) = ended {
                    running.remove(&room_id);
                }
            }
        }
    }
}

/// Does what is to be done in a room, one step after another, until there is nothing more.
async fn run_room(shared: Arc<Shared>, room_id: String) -> String {
    let mut failures = 0;
    loop {
        let hurry = shared.hurry.notified();
        let wait = match one_step(&shared, &room_id).await {
            Ok(Progress::Nothing) => return room_id,
            Ok(Progress::Done) => {
                failures = 0;
                continue;
            }
            Ok(Progress::Again(asked)) => backoff::delay_asked(failures, fastrand::f64(), asked),
            // The file cannot be written: another program may have it.
            Err(_) => backoff::delay(failures.max(1), fastrand::f64()),
        };
        failures = failures.saturating_add(1);
        tokio::select! {
            () = sleep(wait) => {}
            () = hurry => {}
        }
    }
}

enum Progress {
    Nothing,
    Done,
    /// The step comes again, after the wait that the server asked for.
    Again(Option<Duration>),
}

async fn one_step(shared: &Shared, room_id: &str) -> Result<Progress, Error> {
    let Some(step) = shared.store.next(room_id).await? else { return Ok(Progress::Nothing) };
    let (answer, id) = match &step {
        Step::Skip { room_id, generation, number } => {
            (skip(shared, room_id, *generation, *number).await.map(|()| None), None)
        }
        Step::Send { request, .. } => {
            shared.changed(&request.client_message_id, room_id, OutboxState::Sending);
            (send(&shared.client, (**request).clone()).await.map(Some), Some(&request.client_message_id))
        }
    };
    let answered = shared.store.answered(&step, answer.as_ref().map(Option::as_ref)).await?;
    let state = match (answered, answer.clone()) {
        (Answered::Done, Ok(Some(receipt))) => Some(OutboxState::Sent(receipt)),
        (Answered::Parked, Err(error)) => Some(OutboxState::Parked(error)),
        (Answered::Again | Answered::Renumbered, Err(error)) => Some(OutboxState::Waiting(Some(error))),
        _ => None,
    };
    if let (Some(id), Some(state)) = (id, state) {
        shared.changed(id, room_id, state);
    }
    Ok(match (answered, answer) {
        (Answered::Again, Err(error)) => Progress::Again(error.retry_after()),
        _ => Progress::Done,
    })
}

/// One attempt, as the waits between attempts are this module's. The error is the server's own, whatever became of the send.
async fn send(client: &Client, request: SendMessageRequest) -> Result<SendReceipt, Error> {
    let send = |request| {
        let mut chat = client.chat();
        async move { chat.send_message(request).await }
    };
    let written_after = request.written_after_seq;
    let receipt = client.call_once(request, send).await?.receipt.ok_or_else(|| Error::missing("receipt"))?;
    client.has_sent(&receipt, written_after);
    Ok(receipt)
}

async fn skip(shared: &Shared, room_id: &str, generation: u64, number: u64) -> Result<(), Error> {
    let skip = |request| {
        let mut chat = shared.client.chat();
        async move { chat.skip_lane(request).await }
    };
    let request = SkipLaneRequest {
        room_id: room_id.to_owned(),
        lane_id: shared.store.lane_id(generation),
        first_client_seq: number,
        last_client_seq: number,
    };
    shared.client.call_once(request, skip).await.map(drop)
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("store", &self.shared().store).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
