//! The floor of fan-out: what the operating system itself takes for handing the same bytes to as many connections.
//!
//! One thread reads a frame and writes it to each connection, blocking, with one `write(2)` a message and connection;
//! or, for servers that put into one write what has queued up, whatever frames are there with one `write(2)`.
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
use crate::{error::Error, process::Processes, report};

/// The word on the command line.
pub(super) const ROLE: &str = "floor";
/// The word for the one that writes in batches.
pub(super) const BATCHED_ROLE: &str = "floor-batched";
/// What a batch holds at most, in bytes.
const BATCH: usize = 64 << 10;
/// The first byte of a connection says what it is for.
const SUBSCRIBER: u8 = b's';
const PUBLISHER: u8 = b'p';

/// What goes into one write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// One message.
    Single,
    /// The messages that have come meanwhile.
    Batched,
}

/// The running floor.
pub(crate) struct Floor {
    server: Server,
    writes: Writes,
    frame: usize,
}

impl Floor {
    /// Starts it for frames of `frame` bytes.
    pub(crate) async fn start(writes: Writes, frame: usize) -> Result<Self, Error> {
        let mut command = own(if writes == Writes::Single { ROLE } else { BATCHED_ROLE })?;
        command.arg(frame.to_string());
        Ok(Self { server: Server::start(command).await?, writes, frame })
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
    fn name(&self) -> &'static str {
        match self.writes {
            Writes::Single => "floor",
            Writes::Batched => "floor_batched",
        }
    }

    fn processes(&self) -> Processes {
        Processes::one(self.server.pid)
    }

    async fn subscribe(&self, _number: usize) -> Result<Feed, Error> {
        Ok(Feed::Raw(RawFeed::new(self.connect(SUBSCRIBER).await?, self.frame)))
    }

    async fn publish(&self) -> Result<Publisher, Error> {
        Ok(Publisher::Raw(self.connect(PUBLISHER).await?, self.frame))
    }
}

/// Is the floor.
pub(super) fn serve(writes: Writes, frame: usize) -> Result<(), Error> {
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
            std::thread::spawn(move || copy(socket, &subscribers, writes, frame));
        } else {
            let mut list = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
            socket.write_all(&what)?;
            list.push(socket);
        }
    }
}

/// Copies the frames of the publisher to all subscribers; one that cannot be written to is dropped.
fn copy(mut publisher: TcpStream, subscribers: &Mutex<Vec<TcpStream>>, writes: Writes, frame: usize) {
    let most = if writes == Writes::Single { frame } else { BATCH.max(frame) };
    let mut bytes = vec![0; most];
    let mut held = 0;
    while let Some(free) = bytes.get_mut(held..) {
        match publisher.read(free) {
            Ok(read @ 1..) => held += read,
            _ => return,
        }
        let whole = held / frame * frame;
        let Some(frames) = bytes.get(..whole).filter(|frames| !frames.is_empty()) else { continue };
        let mut list = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain_mut(|socket| socket.write_all(frames).is_ok());
        bytes.copy_within(whole..held, 0);
        held -= whole;
    }
}
