//! The floor of fan-out: what the operating system itself takes for handing the same bytes to as many connections.
//!
//! One thread reads a frame and writes it to each connection, blocking, with one `write(2)` a message and connection.
//! There is no event loop to pay for, because the generator never has more under way than the socket buffers hold.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    FanOut, Feed, Publisher,
    feed::RawFeed,
    server::{Server, own},
};
use crate::{error::Error, report};

/// The word on the command line.
pub(super) const ROLE: &str = "floor";
/// The first byte of a connection says what it is for.
const SUBSCRIBER: u8 = b's';
const PUBLISHER: u8 = b'p';

/// The running floor.
pub(crate) struct Floor {
    server: Server,
    frame: usize,
}

impl Floor {
    /// Starts it for frames of `frame` bytes.
    pub(crate) async fn start(frame: usize) -> Result<Self, Error> {
        let mut command = own(ROLE)?;
        command.arg(frame.to_string());
        Ok(Self { server: Server::start(command).await?, frame })
    }

    async fn connect(&self, what: u8) -> Result<tokio::net::TcpStream, Error> {
        let mut socket = tokio::net::TcpStream::connect(self.server.address).await?;
        socket.set_nodelay(true)?;
        socket.write_u8(what).await?;
        // The answer says that the connection is on the list.
        socket.read_u8().await?;
        Ok(socket)
    }
}

impl FanOut for Floor {
    const NAME: &'static str = "floor";

    fn pid(&self) -> u32 {
        self.server.pid
    }

    async fn subscribe(&self, _number: usize) -> Result<Feed, Error> {
        Ok(Feed::Raw(RawFeed::new(self.connect(SUBSCRIBER).await?, self.frame)))
    }

    async fn publish(&self) -> Result<Publisher, Error> {
        Ok(Publisher::Raw(self.connect(PUBLISHER).await?, self.frame))
    }
}

/// Is the floor.
pub(super) fn serve(frame: usize) -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    report::say(&format!("floor listening on http://{}", listener.local_addr()?))?;
    let subscribers = Arc::new(Mutex::new(Vec::new()));
    loop {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let mut what = [0];
        socket.read_exact(&mut what)?;
        if what == [PUBLISHER] {
            socket.write_all(&what)?;
            let subscribers = Arc::clone(&subscribers);
            std::thread::spawn(move || copy(socket, &subscribers, frame));
        } else {
            let mut list = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
            socket.write_all(&what)?;
            list.push(socket);
        }
    }
}

/// Copies each frame of the publisher to all subscribers; one that cannot be written to is dropped.
fn copy(mut publisher: TcpStream, subscribers: &Mutex<Vec<TcpStream>>, frame: usize) {
    let mut bytes = vec![0; frame];
    while publisher.read_exact(&mut bytes).is_ok() {
        let mut list = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain_mut(|socket| socket.write_all(&bytes).is_ok());
    }
}
