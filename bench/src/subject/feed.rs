//! A subscriber's end of a connection: bytes in, messages out.

use bytes::{Buf as _, BytesMut};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::socketio::Socket;
use crate::{error::Error, grpc::Call};

/// What a subscriber reads from.
pub(crate) enum Feed {
    /// A gRPC stream, and which of its messages are those that were published.
    Grpc(Box<Call>, fn(&[u8]) -> bool),
    /// A connection of Socket.IO.
    SocketIo(Box<Socket>),
    /// A raw connection.
    Raw(RawFeed),
}

impl Feed {
    /// Waits for messages and hands on all that have come. The end is an error.
    pub(crate) async fn read(&mut self, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        match self {
            Self::Grpc(call, is_published) => {
                let wanted = |message: &[u8]| {
                    if is_published(message) {
                        each(message);
                    }
                };
                call.read(wanted).await
            }
            Self::SocketIo(socket) => socket.events(each).await,
            Self::Raw(raw) => raw.read(each).await,
        }
    }
}

/// A raw connection that carries frames of one length.
pub(crate) struct RawFeed {
    socket: TcpStream,
    frame: usize,
    buffer: BytesMut,
}

impl RawFeed {
    pub(super) fn new(socket: TcpStream, frame: usize) -> Self {
        Self { socket, frame, buffer: BytesMut::new() }
    }

    async fn read(&mut self, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        self.buffer.reserve(16 << 10);
        if self.socket.read_buf(&mut self.buffer).await? == 0 {
            return Err(Error::unexpected("the floor closed a connection"));
        }
        let whole = self.buffer.len() / self.frame * self.frame;
        self.buffer.chunks_exact(self.frame).for_each(&mut each);
        self.buffer.advance(whole);
        Ok(())
    }
}
