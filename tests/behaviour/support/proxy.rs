//! A link that can go bad: a TCP proxy that forwards, holds everything back, or breaks its connections.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What it does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    open: bool,
    /// Connections of an older generation are broken.
    generation: u64,
}

/// A proxy in front of a server. Dropped, it is gone with its connections.
pub(crate) struct Proxy {
    address: String,
    flow: watch::Sender<Flow>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Forwards to `server`, `127.0.0.1:PORT`.
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (flow, watched) = watch::channel(Flow { open: true, generation: 0 });
        let task = tokio::spawn(accept(listener, server.to_owned(), watched));
        Self { address, flow, task }
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Reads and forwards nothing any more, in both directions; connections stay, and new ones are accepted.
    pub(crate) fn hold(&self) {
        self.flow.send_modify(|flow| flow.open = false);
    }

    /// Forwards again, what was held back first.
    pub(crate) fn release(&self) {
        self.flow.send_modify(|flow| flow.open = true);
    }

    /// Breaks all connections. New ones are accepted.
    pub(crate) fn cut(&self) {
        self.flow.send_modify(|flow| flow.generation += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, server: String, flow: watch::Receiver<Flow>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let generation = flow.borrow().generation;
        // Without a server there is no connection either.
        let Ok(server) = TcpStream::connect(&server).await else { continue };
        let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
        tokio::spawn(forward(client_in, server_out, flow.clone(), generation));
        tokio::spawn(forward(server_in, client_out, flow.clone(), generation));
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut flow: watch::Receiver<Flow>, generation: u64) {
    let mut cut = flow.clone();
    let copy = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            if flow.wait_for(|flow| flow.open).await.is_err() {
                return;
            }
            let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
            // It may have been closed while nothing came.
            if flow.wait_for(|flow| flow.open).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = copy => {}
        _ = cut.wait_for(|flow| flow.generation > generation) => {}
    }
}
