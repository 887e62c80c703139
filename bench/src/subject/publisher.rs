//! The publisher's end of a connection.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{TEXT, plain_tonic, relay};
use crate::{error::Error, grpc::Call, stamp};

/// Who publishes. The caller bounds how many messages are under way.
pub(crate) enum Publisher {
    /// A Connect stream of Relay.
    Relay(Box<Call>),
    /// The client stream of the plain service, and how long its events are.
    PlainTonic(Box<Call>, usize),
    /// A raw connection, and how long its frames are.
    Raw(TcpStream, usize),
}

impl Publisher {
    /// Publishes message `number` with the present time in it. Over gRPC it leaves with the next `listen`.
    pub(crate) async fn send(&mut self, number: u64) -> Result<(), Error> {
        let at = stamp::now();
        match self {
            Self::Relay(call) => call.send(&relay::send(String::new(), relay::ROOM, stamp::text(at, TEXT))),
            Self::PlainTonic(call, length) => call.send(&plain_tonic::event(number, at, *length)),
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
                        if let Some(Err(error)) = relay::reply(message).map(relay::accepted) {
                            refused = Err(error);
                        }
                    });
                    read.await.and(refused)
                }
                Self::PlainTonic(call, _) => call.read(|_| {}).await,
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
