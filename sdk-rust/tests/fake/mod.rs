//! A server with one room, in memory, that can be killed and started again: just enough of the contract for the client.

mod service;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use relay_proto::chat::v1::{
    Message, MessageCreated, RoomEvent, SendMessageRequest, SendReceipt, room_event::Event as Kind,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::watch,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Status, transport};
use tonic_types::{ErrorDetails, StatusExt as _};

pub(crate) const ROOM: &str = "general";

/// What outlives a kill: the log, and what the tests want to know.
#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// The position of the newest event.
    head: watch::Sender<u64>,
    /// How many streams are open.
    streams: watch::Sender<usize>,
    /// How much was asked for.
    heard: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    messages: Vec<Message>,
    receipts: HashMap<String, SendReceipt>,
    /// How many of the next sends are written and yet answered with UNAVAILABLE.
    lose_answers: u32,
    refused_token: Option<String>,
    /// Texts that are refused, and why.
    refused_texts: HashMap<String, (Code, &'static str)>,
    /// What was asked for beside sending, as one line each.
    asked: Vec<String>,
    /// The lanes and numbers of what was written.
    places: Vec<(String, u64)>,
}

/// A running server.
pub(crate) struct Server {
    addr: SocketAddr,
    runtime: Option<Runtime>,
}

impl Log {
    pub(crate) fn new() -> Self {
        let (head, streams, heard) = (watch::Sender::new(0), watch::Sender::new(0), watch::Sender::new(0));
        Self(Arc::new(Shared { state: Mutex::default(), head, streams, heard }))
    }

    pub(crate) fn lose_answers(&self, sends: u32) {
        self.0.state.lock().unwrap().lose_answers = sends;
    }

    /// Answers this token with TOKEN_EXPIRED.
    pub(crate) fn refuse_token(&self, token: &str) {
        self.0.state.lock().unwrap().refused_token = Some(token.to_owned());
    }

    /// Refuses messages with this text, or takes them again.
    pub(crate) fn refuse_text(&self, text: &str, answer: Option<(Code, &'static str)>) {
        let mut state = self.0.state.lock().unwrap();
        match answer {
            Some(answer) => drop(state.refused_texts.insert(text.to_owned(), answer)),
            None => drop(state.refused_texts.remove(text)),
        }
    }

    /// What was asked for beside sending, in order: `skip 3`, `receipts 0 7 by stream`, …
    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.state.lock().unwrap().asked.clone()
    }

    /// The lanes and numbers of what was written, in order.
    pub(crate) fn places(&self) -> Vec<(String, u64)> {
        self.0.state.lock().unwrap().places.clone()
    }

    /// Waits until the server has been asked for this.
    pub(crate) async fn asked_for(&self, what: &str) {
        let mut heard = self.0.heard.subscribe();
        let found = heard.wait_for(|_| self.asked().iter().any(|asked| asked == what));
        let waited = tokio::time::timeout(Duration::from_secs(10), found).await;
        assert!(waited.is_ok(), "{what} is not among {:?}", self.asked());
    }

    fn hear(&self, what: String) {
        self.0.state.lock().unwrap().asked.push(what);
        self.0.heard.send_modify(|count| *count += 1);
    }

    /// The newest messages from a number on.
    fn from(&self, seq: u64, count: usize) -> (Vec<Message>, u64) {
        let state = self.0.state.lock().unwrap();
        let from = (seq.max(1) - 1) as usize;
        let messages: Vec<_> = state.messages.iter().skip(from).take(count).cloned().collect();
        (messages, state.messages.len() as u64)
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.state.lock().unwrap().messages.iter().map(|message| message.text.clone()).collect()
    }

    /// Waits until so many streams are open.
    pub(crate) async fn streams(&self, count: usize) {
        self.0.streams.subscribe().wait_for(|open| *open == count).await.unwrap();
    }

    fn append(&self, request: SendMessageRequest) -> Result<SendReceipt, Status> {
        let mut state = self.0.state.lock().unwrap();
        if request.text.is_empty() {
            let mut details = ErrorDetails::with_bad_request_violation("text", "at least 1 byte");
            details.set_error_info("FIELD_INVALID", "relay", HashMap::new());
            return Err(Status::with_error_details(Code::InvalidArgument, "a field is out of its limits", details));
        }
        if let Some((code, reason)) = state.refused_texts.get(&request.text) {
            return Err(failure(*code, reason));
        }
        let known = state.receipts.get(&request.client_message_id).cloned();
        let receipt = known.map(|receipt| SendReceipt { duplicate: true, ..receipt }).unwrap_or_else(|| {
            let seq = state.messages.len() as u64 + 1;
            state.places.push((request.lane_id.clone(), request.client_seq));
            let SendMessageRequest { room_id, client_message_id, text, .. } = request;
            let receipt = SendReceipt { seq, position: seq, client_message_id, ..SendReceipt::default() };
            state.receipts.insert(receipt.client_message_id.clone(), receipt.clone());
            let sender_id = if text.starts_with("ben: ") { "ben" } else { "ana" }.to_owned();
            state.messages.push(Message { room_id, seq, position: seq, sender_id, text, ..Message::default() });
            self.0.head.send_replace(seq);
            receipt
        });
        if state.lose_answers > 0 {
            state.lose_answers -= 1;
            return Err(failure(Code::Unavailable, "STORAGE_UNAVAILABLE"));
        }
        Ok(receipt)
    }

    /// The events after a position.
    fn after(&self, position: u64) -> Vec<RoomEvent> {
        let state = self.0.state.lock().unwrap();
        let event = |message: &Message| RoomEvent {
            room_id: ROOM.to_owned(),
            position: message.position,
            previous_position: message.position - 1,
            event: Some(Kind::MessageCreated(MessageCreated { message: Some(message.clone()) })),
            ..RoomEvent::default()
        };
        state.messages.iter().skip(position as usize).map(event).collect()
    }

    fn authorize(&self, authorization: Option<&str>) -> Result<(), Status> {
        let state = self.0.state.lock().unwrap();
        let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
        match token {
            None => Err(failure(Code::Unauthenticated, "CREDENTIALS_MISSING")),
            Some(token) if state.refused_token.as_deref() == Some(token) => {
                Err(failure(Code::Unauthenticated, "TOKEN_EXPIRED"))
            }
            Some(_) => Ok(()),
        }
    }
}

impl Server {
    /// Starts a server on a free port.
    pub(crate) fn start(log: &Log) -> Self {
        Self::start_at(log, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Cuts all connections as a killed process would, and starts a server on the same port.
    pub(crate) async fn kill_and_restart(mut self, log: &Log) -> Self {
        let runtime = self.runtime.take().unwrap();
        // Waits until the port is free again.
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
        Self::start_at(log, self.addr)
    }

    fn start_at(log: &Log, addr: SocketAddr) -> Self {
        // Its own runtime, so that killing it ends its connections as well.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let std_listener = std::net::TcpListener::bind(addr).unwrap();
        std_listener.set_nonblocking(true).unwrap();
        let addr = std_listener.local_addr().unwrap();
        let service = service::Fake(log.clone());
        runtime.spawn(async move {
            let listener = TcpListenerStream::new(TcpListener::from_std(std_listener).unwrap());
            transport::Server::builder().add_service(service).serve_with_incoming(listener).await.unwrap();
        });
        Self { addr, runtime: Some(runtime) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn failure(code: Code, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "relay", HashMap::new());
    Status::with_error_details(code, reason.to_lowercase(), details)
}
