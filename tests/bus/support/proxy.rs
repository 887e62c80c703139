//! A TCP proxy in front of Redis that can swallow what it delivers to those who listen.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// The proxy. Answers pass always; what Redis pushes does not pass while it swallows.
pub(crate) struct Proxy {
    port: u16,
    swallows: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<Arc<AtomicBool>>>>,
}

impl Proxy {
    pub(crate) async fn before(redis: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let swallows = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (shared, all) = (swallows.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", redis)).await else { continue };
                let swallowed = Arc::new(AtomicBool::new(shared.load(Ordering::SeqCst)));
                all.lock().unwrap().push(swallowed.clone());
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(upwards(from_client, to_server));
                tokio::spawn(downwards(from_server, to_client, swallowed));
            }
        });
        Self { port, swallows, connections }
    }

    pub(crate) fn swallow(&self, does: bool) {
        self.swallows.store(does, Ordering::SeqCst);
        self.swallow_there(does);
    }

    /// Swallows what comes over the connections that are there, and no others.
    pub(crate) fn swallow_those_there(&self) {
        self.swallow_there(true);
    }

    fn swallow_there(&self, does: bool) {
        for connection in self.connections.lock().unwrap().iter() {
            connection.store(does, Ordering::SeqCst);
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

async fn upwards(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // An end of either side ends the other, too.
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn downwards(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, swallowed: Arc<AtomicBool>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let pushed = buffer[..read].windows(9).any(|part| part == b"\r\nmessage");
        if !(pushed && swallowed.load(Ordering::SeqCst)) && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
