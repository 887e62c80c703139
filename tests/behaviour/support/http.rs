//! Requests as plain HTTP, made by hand: what browsers send, and what no gRPC library would.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::{Body, Frame, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::Status;

use super::{Server, within};

/// A request in the making.
pub(crate) struct Http {
    request: hyper::http::request::Builder,
    path: String,
    address: String,
}

/// The head of a response, with its body on the way.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
}

impl Http {
    /// `GET path`
    pub(crate) fn get(server: &Server, path: &str) -> Self {
        Self::method("GET", server, path)
    }

    /// `POST path`
    pub(crate) fn post(server: &Server, path: &str) -> Self {
        Self::method("POST", server, path)
    }

    /// Any method.
    pub(crate) fn method(method: &str, server: &Server, path: &str) -> Self {
        Self::at(server.address(), method, path)
    }

    /// Any method, at `127.0.0.1:PORT`.
    pub(crate) fn at(address: &str, method: &str, path: &str) -> Self {
        Self { request: Request::builder().method(method), path: path.into(), address: address.into() }
    }

    /// With a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sends it over HTTP/1.1.
    pub(crate) async fn send(self, body: impl Into<Bytes>) -> Answer {
        let tcp = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        let request = self.request.uri(&self.path).header("host", &self.address).body(Full::new(body.into())).unwrap();
        Answer::new(within("a response", sender.send_request(request)).await.unwrap())
    }

    /// Sends it over HTTP/2.
    pub(crate) async fn send_h2(self, body: impl Into<Bytes>) -> Answer {
        self.over_h2(Full::new(body.into())).await
    }

    /// Sends its head over HTTP/2, and never anything of its body.
    pub(crate) async fn send_head_h2(self) -> Answer {
        self.over_h2(StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Infallible>>())).await
    }

    async fn over_h2<B>(self, body: B) -> Answer
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
    {
        let tcp = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        let uri = format!("http://{}{}", self.address, self.path);
        let request = self.request.uri(uri).body(body).unwrap();
        Answer::new(within("a response", sender.send_request(request)).await.unwrap())
    }
}

impl Answer {
    fn new(response: hyper::Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, headers: head.headers, body }
    }

    /// A header as text; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// More of the body, if there is more.
    pub(crate) async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            let frame = within("more of the body", self.body.frame()).await?.unwrap();
            if let Ok(data) = frame.into_data() {
                return Some(data);
            }
        }
    }

    /// The whole body.
    pub(crate) async fn bytes(self) -> Bytes {
        within("the body", self.body.collect()).await.unwrap().to_bytes()
    }

    /// The whole body as text.
    pub(crate) async fn text(self) -> String {
        String::from_utf8(self.bytes().await.to_vec()).unwrap()
    }

    /// The status that gRPC ended with, in the headers or in the trailers.
    pub(crate) async fn grpc_status(self) -> Status {
        if let Some(status) = Status::from_header_map(&self.headers) {
            return status;
        }
        let collected = within("the trailers", self.body.collect()).await.unwrap();
        Status::from_header_map(collected.trailers().unwrap()).unwrap()
    }
}
