//! A session as the body of a response: its queue's bytes as DATA, its ending as trailers.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use tokio::sync::oneshot;
use tokio_util::sync::DropGuard;
use tonic::{Code, Status};

use crate::{
    error::Error,
    hub::{Hub, Session},
    rpc::{gate::Count, status::to_status},
};

/// Frames of one session. When it is dropped, the reader is gone, and the session is taken off the hub.
pub(super) struct SessionBody {
    hub: Arc<Hub>,
    state: State,
    count: Count,
    _request: Option<DropGuard>,
}

enum State {
    /// The client has not opened the stream yet.
    Opening(oneshot::Receiver<Result<Arc<Session>, Error>>),
    Open(Arc<Session>),
    Over,
}

impl SessionBody {
    /// The body of a session that is open.
    pub(super) fn open(hub: Arc<Hub>, session: Arc<Session>, count: Count) -> Self {
        Self { hub, state: State::Open(session), count, _request: None }
    }

    /// The body of a session that opens once `opening` says so; `request` ends with the body.
    pub(super) fn opening(
        hub: Arc<Hub>,
        opening: oneshot::Receiver<Result<Arc<Session>, Error>>,
        count: Count,
        request: DropGuard,
    ) -> Self {
        Self { hub, state: State::Opening(opening), count, _request: Some(request) }
    }

    fn finish(&mut self, ending: &Error) -> Frame<Bytes> {
        if let State::Open(session) = std::mem::replace(&mut self.state, State::Over) {
            self.hub.close(&session);
        }
        let status = to_status(ending);
        self.count.ended(status.code());
        Frame::trailers(trailers(&status))
    }
}

impl Body for SessionBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let State::Opening(opening) = &mut self.state {
            match ready!(Pin::new(opening).poll(cx)) {
                Ok(Ok(session)) => self.state = State::Open(session),
                Ok(Err(error)) => return Poll::Ready(Some(Ok(self.finish(&error)))),
                // The reading task is gone without a word: the server is going away.
                Err(_) => return Poll::Ready(Some(Ok(self.finish(&Error::draining())))),
            }
        }
        let State::Open(session) = &self.state else { return Poll::Ready(None) };
        Poll::Ready(Some(Ok(match ready!(session.poll_read(cx)) {
            Ok(bytes) => Frame::data(bytes),
            Err(ending) => self.finish(&ending),
        })))
    }
}

impl Drop for SessionBody {
    fn drop(&mut self) {
        if !matches!(self.state, State::Over) {
            self.count.ended(Code::Cancelled);
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Open(session) => self.hub.close(&session),
            State::Opening(mut opening) => {
                // It may have been opened just now, with nobody left to read it.
                opening.close();
                if let Ok(Ok(session)) = opening.try_recv() {
                    self.hub.close(&session);
                }
            }
            State::Over => {}
        }
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        trailers.insert("grpc-status", HeaderValue::from_static("13"));
    }
    trailers
}
