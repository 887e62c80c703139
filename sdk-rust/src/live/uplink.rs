//! The way up: the open streams of a client, and who waits for an answer on them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use relay_proto::chat::v1::{ConnectRequest, Reply, connect_request::Frame as Up, reply::Result as Outcome};
use tokio::sync::{mpsc, oneshot};

use crate::{Client, Error, live::Live};

type Sender = mpsc::Sender<ConnectRequest>;
type Answer = Result<(), Error>;

/// The open streams of a client.
#[derive(Default)]
pub(crate) struct Uplink(Mutex<State>);

#[derive(Default)]
struct State {
    /// By number, the newest last.
    streams: Vec<(u64, Sender)>,
    /// Who waits for the answer to a frame, by its request id; and on which stream.
    asked: HashMap<String, (u64, oneshot::Sender<Answer>)>,
    /// Numbers streams and frames.
    last: u64,
}

/// A stream that frames go up on. Dropped, it is none any more, and whoever waits for an answer on it is told.
pub(crate) struct Attached {
    live: Arc<Live>,
    stream: u64,
}

impl Attached {
    pub(crate) fn new(live: Arc<Live>, sender: Sender) -> Self {
        let stream = {
            let mut state = live.uplink.state();
            state.last += 1;
            let stream = state.last;
            state.streams.push((stream, sender));
            stream
        };
        Self { live, stream }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut state = self.live.uplink.state();
        state.streams.retain(|(stream, _)| *stream != self.stream);
        state.asked.retain(|_, (stream, _)| *stream != self.stream);
    }
}

impl Uplink {
    /// Whether a stream is open.
    pub(crate) fn is_open(&self) -> bool {
        !self.state().streams.is_empty()
    }

    /// The open streams.
    pub(super) fn streams(&self) -> Vec<Sender> {
        self.state().streams.iter().map(|(_, sender)| sender.clone()).collect()
    }

    /// Hands an answer to whoever waits for it.
    pub(crate) fn answered(&self, reply: Reply) {
        let Some((_, waiting)) = self.state().asked.remove(&reply.request_id) else { return };
        // Whether they still wait changes nothing.
        let _ = waiting.send(match reply.result {
            Some(Outcome::Error(error)) => Err(Error::from_wire(error)),
            _ => Ok(()),
        });
    }

    /// Sends a frame up on the newest stream, without waiting. `None`: there is no stream, or its queue is full.
    fn ask(&self, frame: Up) -> Option<oneshot::Receiver<Answer>> {
        let mut state = self.state();
        state.last += 1;
        let request_id = state.last.to_string();
        let (stream, sender) = state.streams.last()?;
        sender.try_send(ConnectRequest { request_id: request_id.clone(), frame: Some(frame) }).ok()?;
        let (waiting, answer) = oneshot::channel();
        let stream = *stream;
        state.asked.retain(|_, (_, waiting)| !waiting.is_closed());
        state.asked.insert(request_id, (stream, waiting));
        Some(answer)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Says something on the open stream and waits for the answer. `None`: there is no stream, or it gave no answer, so it
    /// is to be said by a call.
    pub(super) async fn say(&self, frame: Up) -> Option<Answer> {
        let answer = self.live().uplink.ask(frame)?;
        tokio::time::timeout(self.settings().request_timeout, answer).await.ok()?.ok()
    }
}
