//! A link between a node and what it stands on, that can go bad: cut, held, or with its messages swallowed.

use std::{io, net::SocketAddr};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

use super::resp;

/// What the link does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It forwards.
    Open,
    /// It breaks what is there and refuses what comes.
    Cut,
    /// Connections stand and are accepted, and nothing gets through.
    Held,
    /// What was published to Redis does not come down; answers do.
    Swallowing,
}

/// A proxy in front of a server. Dropped, it is gone with its connections.
pub(super) struct Proxy {
    port: u16,
    flow: watch::Sender<Flow>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Forwards to `port` of this machine. `speaks_resp`: it is a Redis.
    pub(super) async fn to(port: u16, speaks_resp: bool) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let own = listener.local_addr()?.port();
        let (flow, watched) = watch::channel(Flow::Open);
        let task = tokio::spawn(accept(listener, SocketAddr::from(([127, 0, 0, 1], port)), watched, speaks_resp));
        Ok(Self { port: own, flow, task })
    }

    /// Where it listens on this machine.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Changes what it does.
    pub(super) fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.set(Flow::Cut);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, flow: watch::Receiver<Flow>, speaks_resp: bool) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if *flow.borrow() == Flow::Cut {
            continue;
        }
        tokio::spawn(link(client, server, flow.clone(), speaks_resp));
    }
}

async fn link(client: TcpStream, server: SocketAddr, flow: watch::Receiver<Flow>, speaks_resp: bool) {
    let both = async {
        // Without a server there is no connection either.
        let Ok(server) = TcpStream::connect(server).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
        let up = forward(client_in, server_out, flow.clone(), false);
        let down = forward(server_in, client_out, flow.clone(), speaks_resp);
        tokio::select! { () = up => {}, () = down => {} }
    };
    let mut cut = flow.clone();
    tokio::select! {
        () = both => {}
        _ = cut.wait_for(|flow| *flow == Flow::Cut) => {}
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut flow: watch::Receiver<Flow>, frames: bool) {
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    loop {
        let Ok(1..) = from.read_buf(&mut buffer).await else { return };
        // It may have been held while nothing came.
        let Ok(now) = flow.wait_for(|flow| *flow != Flow::Held).await.map(|flow| *flow) else { return };
        if !frames {
            if to.write_all_buf(&mut buffer).await.is_err() {
                return;
            }
            continue;
        }
        while let Some(length) = resp::frame_length(&buffer) {
            let frame = buffer.split_to(length);
            let swallowed = now == Flow::Swallowing && resp::is_published(&frame);
            if !swallowed && to.write_all(frame.chunk()).await.is_err() {
                return;
            }
        }
    }
}
