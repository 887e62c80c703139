//! A gRPC client that costs little: one HTTP/2 connection, one call at a time on it, one task for both.
//!
//! Messages are cut out of the DATA frames by their 5-byte prefix and handed on as bytes; who wants more decodes them.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{Builder, Connection, ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response, Version};
use prost::Message;
use tokio::net::TcpStream;

use crate::error::Error;

/// The length of a message's prefix: a flag, then the length of what follows in 4 bytes.
pub(crate) const PREFIX: usize = 5;
/// The length of the header of an HTTP/2 frame.
pub(crate) const FRAME_HEADER: usize = 9;
/// So large that the server never waits for window.
const WINDOW: u32 = 16 << 20;

/// A connection.
pub(crate) struct Link {
    requests: SendRequest<Bytes>,
    connection: Connection<TcpStream, Bytes>,
    server: SocketAddr,
}

impl Link {
    /// Connects.
    pub(crate) async fn connect(server: SocketAddr) -> Result<Self, Error> {
        let socket = TcpStream::connect(server).await?;
        socket.set_nodelay(true)?;
        let mut builder = Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).enable_push(false);
        let (requests, connection) = builder.handshake(socket).await?;
        Ok(Self { requests, connection, server })
    }

    /// One request, one answer.
    pub(crate) async fn unary<A: Message + Default>(
        &mut self,
        path: &'static str,
        token: &str,
        request: &impl Message,
    ) -> Result<A, Error> {
        let (response, mut send) = self.request(path, token).await?;
        send.send_data(frame(request), true)?;
        let mut recv = head(&mut self.connection, path, response).await?;
        let (mut deframer, mut answer) = (Deframer::default(), None);
        while data(&mut self.connection, &mut recv, &mut deframer, &mut |message| answer = Some(A::decode(message)))
            .await?
        {}
        status(&mut self.connection, path, &mut recv).await?;
        Ok(answer.ok_or_else(|| Error::unexpected(format!("{path} answered nothing")))??)
    }

    /// Opens a stream. The server may accept it only when it has read something.
    pub(crate) async fn open(mut self, path: &'static str, token: &str) -> Result<Call, Error> {
        let (response, send) = self.request(path, token).await?;
        Ok(Call { link: self, path, send, answer: Answer::Awaited(response), deframer: Deframer::default() })
    }

    async fn request(&mut self, path: &'static str, token: &str) -> Result<(ResponseFuture, SendStream<Bytes>), Error> {
        let request = Request::post(format!("http://{}{path}", self.server))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {token}"))
            .body(())
            .map_err(|error| Error::unexpected(error.to_string()))?;
        let requests = &mut self.requests;
        drive(&mut self.connection, poll_fn(|cx| requests.poll_ready(cx).map_err(Error::from))).await?;
        Ok(self.requests.send_request(request, false)?)
    }
}

/// An open stream.
pub(crate) struct Call {
    link: Link,
    path: &'static str,
    send: SendStream<Bytes>,
    answer: Answer,
    deframer: Deframer,
}

/// What the server sends on a stream.
enum Answer {
    /// Its headers have not come.
    Awaited(ResponseFuture),
    /// They have.
    Open(RecvStream),
}

impl Call {
    /// Queues a message; it leaves with the next `read`. The caller bounds how many are under way.
    pub(crate) fn send(&mut self, message: &impl Message) -> Result<(), Error> {
        Ok(self.send.send_data(frame(message), false)?)
    }

    /// Queues the last message.
    pub(crate) fn send_last(&mut self, message: &impl Message) -> Result<(), Error> {
        Ok(self.send.send_data(frame(message), true)?)
    }

    /// Waits until the server accepts the stream.
    pub(crate) async fn accepted(&mut self) -> Result<(), Error> {
        if let Answer::Awaited(response) = &mut self.answer {
            self.answer = Answer::Open(head(&mut self.link.connection, self.path, response).await?);
        }
        Ok(())
    }

    /// Waits for messages and hands on all that have come. The stream's end is an error. May be cancelled.
    pub(crate) async fn read(&mut self, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        self.accepted().await?;
        let (Answer::Open(recv), connection) = (&mut self.answer, &mut self.link.connection) else { return Ok(()) };
        if data(connection, recv, &mut self.deframer, &mut each).await? {
            return Ok(());
        }
        status(connection, self.path, recv).await?;
        Err(Error::unexpected(format!("{} ended", self.path)))
    }
}

type Driven = Connection<TcpStream, Bytes>;

/// Waits for the response's headers.
async fn head(
    connection: &mut Driven,
    path: &'static str,
    response: impl Future<Output = Result<Response<RecvStream>, h2::Error>>,
) -> Result<RecvStream, Error> {
    let response = drive(connection, async { Ok(response.await?) }).await?;
    if response.status() != http::StatusCode::OK {
        return Err(Error::unexpected(format!("{path} answered with HTTP {}", response.status())));
    }
    // A call that fails at once says so here, and has no trailers.
    if response.headers().contains_key("grpc-status") {
        check(path, response.headers())?;
    }
    Ok(response.into_body())
}

/// Waits for data and hands on every message that has come. False: the stream has ended.
async fn data(
    connection: &mut Driven,
    recv: &mut RecvStream,
    deframer: &mut Deframer,
    each: &mut impl FnMut(&[u8]),
) -> Result<bool, Error> {
    drive(connection, poll_fn(|cx| poll_data(cx, recv, deframer, each))).await
}

/// Waits for the trailers; an error unless they say OK.
async fn status(connection: &mut Driven, path: &'static str, recv: &mut RecvStream) -> Result<(), Error> {
    let trailers = drive(connection, async { Ok(recv.trailers().await?) }).await?;
    check(path, &trailers.unwrap_or_default())
}

/// Puts the prefix before a message.
fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(length as u32);
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

/// Runs the connection while `work` waits for something that comes over it.
async fn drive<T>(connection: &mut Driven, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let ended = Pin::new(&mut *connection).poll(cx);
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        ended.map(|result| {
            Err(result.map_or_else(Error::from, |()| Error::unexpected("the server closed a connection")))
        })
    })
    .await
}

/// Hands on all that is there. Ready(false): the stream has ended.
fn poll_data(
    cx: &mut Context<'_>,
    recv: &mut RecvStream,
    deframer: &mut Deframer,
    each: &mut impl FnMut(&[u8]),
) -> Poll<Result<bool, Error>> {
    let mut some = false;
    loop {
        match recv.poll_data(cx) {
            Poll::Ready(Some(chunk)) => {
                let chunk = chunk?;
                recv.flow_control().release_capacity(chunk.len())?;
                deframer.push(&chunk, each);
                some = true;
            }
            // If data came before the end, the next call sees the end again.
            Poll::Ready(None) => return Poll::Ready(Ok(some)),
            Poll::Pending if some => return Poll::Ready(Ok(true)),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Cuts a stream of bytes into messages.
#[derive(Default)]
struct Deframer {
    /// The beginning of a message whose rest has not come.
    partial: BytesMut,
}

impl Deframer {
    fn push(&mut self, chunk: &[u8], each: &mut impl FnMut(&[u8])) {
        if self.partial.is_empty() {
            let used = cut(chunk, each);
            self.partial.extend_from_slice(chunk.get(used..).unwrap_or_default());
        } else {
            self.partial.extend_from_slice(chunk);
            let used = cut(&self.partial, each);
            self.partial.advance(used);
        }
    }
}

/// Hands on the whole messages at the start of `bytes`; answers how many bytes they took.
fn cut(bytes: &[u8], each: &mut impl FnMut(&[u8])) -> usize {
    let mut used = 0;
    while let Some((&[_, a, b, c, d], rest)) = bytes.get(used..).and_then(|rest| rest.split_first_chunk::<PREFIX>()) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(message) = rest.get(..length) else { break };
        each(message);
        used += PREFIX + length;
    }
    used
}

fn check(path: &'static str, headers: &HeaderMap) -> Result<(), Error> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match text("grpc-status").unwrap_or_else(|| "none".into()) {
        status if status == "0" => Ok(()),
        status => Err(Error::Status { path, status, message: text("grpc-message").unwrap_or_default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_wherever_the_chunks_end() {
        let stream: Vec<u8> = [&[0, 0, 0, 0, 3, 1, 2, 3], &[0, 0, 0, 0, 0][..], &[0, 0, 0, 0, 1, 9]].concat();
        for size in 1..=stream.len() {
            let (mut deframer, mut messages) = (Deframer::default(), Vec::new());
            for chunk in stream.chunks(size) {
                deframer.push(chunk, &mut |message| messages.push(message.to_vec()));
            }
            assert_eq!(messages, [vec![1, 2, 3], vec![], vec![9]], "in chunks of {size}");
        }
    }
}
