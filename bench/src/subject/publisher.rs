//! The publisher's end of a connection.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{TEXT, frames, plain_tonic, relay, socketio};
use crate::{error::Error, grpc::Call, stamp};

/// Who publishes. The caller bounds how many messages are under way.
pub(crate) enum Publisher {
    /// A Connect stream of Relay.
    Relay(Box<Call>),
    /// The client stream of the plain service, and how long its events are.
    PlainTonic(Box<Call>, usize),
    /// A connection of Socket.IO.
    SocketIo(Box<socketio::Socket>),
    /// A raw connection, and how long its frames are.
    Raw(TcpStream, usize),
}

impl Publisher {
    /// Publishes message `number`, which says that it was sent at `at`. Over gRPC and Socket.IO it leaves with the next
    /// `listen`.
    pub(crate) async fn send(&mut self, number: u64, at: u64) -> Result<(), Error> {
        match self {
            Self::Relay(call) => call.send(&frames::send(String::new(), relay::ROOM, stamp::text(at, TEXT))),
            Self::PlainTonic(call, length) => call.send(&plain_tonic::event(number, at, *length)),
            Self::SocketIo(socket) => socket.send(number, &stamp::text(at, TEXT)).await,
            Self::Raw(socket, frame) => Ok(socket.write_all(stamp::text(at, *frame).as_bytes()).await?),
        }
    }

    /// Keeps the connection going, and reads the answers. Ends only with an error. May be cancelled.
    pub(crate) async fn listen(&mut self) -> Error {
        loop {
            let heard = match self {
                Self::Relay(call) => {
                    let mut refused = Ok(());
                    let read = call.read(|message| {
                        if let Some(Err(error)) = frames::reply(message).map(frames::accepted) {
                            refused = Err(error);
                        }
                    });
                    read.await.and(refused)
                }
                Self::PlainTonic(call, _) => call.read(|_| {}).await,
                Self::SocketIo(socket) => socket.acknowledged().await,
                Self::Raw(socket, _) => match socket.read_u8().await {
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(error) = heard {
                return error;
            }
        }
    }
}
