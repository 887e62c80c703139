//! A client of Socket.IO: its packets in text frames of a WebSocket, without fallbacks and without reconnecting.
//!
//! A packet begins with the digit of Engine.IO (0 open, 2 ping, 3 pong, 4 message); a message goes on with that of
//! Socket.IO (0 connect, 2 event, 3 acknowledgement), an acknowledgement's number, and JSON.

use std::{
    future::poll_fn,
    net::SocketAddr,
    task::{Context, Poll},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};
use uuid::Uuid;

use super::ROOM;
use crate::error::Error;

const OPEN: &str = "0";
const PING: &str = "2";
const PONG: &str = "3";
const CONNECT: &str = "40";
const EVENT: &str = "42";
const ACKNOWLEDGEMENT: &str = "43";

/// A connection.
pub(crate) struct Socket {
    frames: WebSocketStream<TcpStream>,
}

impl Socket {
    /// Connects as `user`.
    pub(super) async fn connect(server: SocketAddr, user: &str) -> Result<Self, Error> {
        let tcp = TcpStream::connect(server).await?;
        tcp.set_nodelay(true)?;
        let (frames, _) = client_async(format!("ws://{server}/socket.io/?EIO=4&transport=websocket"), tcp).await?;
        let mut socket = Self { frames };
        socket.wait_for(OPEN).await?;
        socket.frames.send(Message::text(format!("{CONNECT}{}", json!({ "user": user })))).await?;
        socket.wait_for(CONNECT).await?;
        Ok(socket)
    }

    /// Joins a room.
    pub(super) async fn join(&mut self, room: &str) -> Result<(), Error> {
        self.frames.send(Message::text(format!("{EVENT}0{}", json!(["join", room])))).await?;
        self.acknowledged().await
    }

    /// Queues a message, whose acknowledgement will carry `number`. It leaves with the next read.
    pub(crate) async fn send(&mut self, number: u64, text: &str) -> Result<(), Error> {
        let message = json!(["send", { "room": ROOM, "id": Uuid::new_v4().to_string(), "text": text }]);
        Ok(self.frames.feed(Message::text(format!("{EVENT}{number}{message}"))).await?)
    }

    /// Waits for events and hands on all that have come. The end is an error. May be cancelled.
    pub(crate) async fn events(&mut self, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        self.read(|packet| {
            if packet.starts_with(EVENT) {
                each(packet.as_bytes());
            }
        })
        .await
    }

    /// Waits until something has been acknowledged. A refusal is an error. May be cancelled.
    pub(crate) async fn acknowledged(&mut self) -> Result<(), Error> {
        let (mut some, mut refused) = (false, Ok(()));
        while !some {
            self.read(|packet| {
                if packet.starts_with(ACKNOWLEDGEMENT) {
                    some = true;
                    if !packet.contains("\"ok\":true") {
                        refused = Err(Error::unexpected(format!("Socket.IO answered {packet}")));
                    }
                }
            })
            .await?;
        }
        refused
    }

    async fn wait_for(&mut self, start: &str) -> Result<(), Error> {
        let mut seen = false;
        while !seen {
            self.read(|packet| seen |= packet.starts_with(start)).await?;
        }
        Ok(())
    }

    async fn read(&mut self, mut each: impl FnMut(&str)) -> Result<(), Error> {
        poll_fn(|cx| self.poll_read(cx, &mut each)).await
    }

    /// Hands on what is there, answers pings, and lets leave what is queued.
    fn poll_read(&mut self, cx: &mut Context<'_>, each: &mut impl FnMut(&str)) -> Poll<Result<(), Error>> {
        let mut some = false;
        loop {
            match self.frames.poll_next_unpin(cx)? {
                Poll::Ready(Some(Message::Text(packet))) => {
                    if packet.as_str() == PING {
                        // A connection whose queue is full is not idle: the server needs no pong from it now.
                        if self.frames.poll_ready_unpin(cx)?.is_ready() {
                            self.frames.start_send_unpin(Message::text(PONG))?;
                        }
                    } else {
                        each(packet.as_str());
                        some = true;
                    }
                }
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => {
                    return Poll::Ready(Err(Error::unexpected("Socket.IO closed a connection")));
                }
                Poll::Pending => {
                    let _ = self.frames.poll_flush_unpin(cx)?;
                    return if some { Poll::Ready(Ok(())) } else { Poll::Pending };
                }
            }
        }
    }
}
