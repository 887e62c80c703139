//! Connections: accepted within a limit, served as HTTP/1.1 or HTTP/2 whichever they speak, ended in order.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use futures_util::FutureExt as _;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

use super::patience::PatientStream;
use crate::{config::ServerConfig, telemetry::Metrics};

/// What a client may send on one stream, and on a connection, before the server has read it.
const WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What HTTP/2 holds of one response before the client has taken it.
const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// The largest set of request headers: a token of 8 KiB fits.
const HEADER_BYTES: u32 = 16 * 1024;
/// How long a client may take to send its first bytes, and over HTTP/1.1 a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;

/// The listener's limits.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    max_connections: usize,
    max_concurrent_streams: u32,
    http2_keepalive_interval: Duration,
    http2_keepalive_timeout: Duration,
    tcp_keepalive: Duration,
}

impl From<&ServerConfig> for ListenerOptions {
    fn from(config: &ServerConfig) -> Self {
        Self {
            max_connections: config.max_connections,
            max_concurrent_streams: config.max_concurrent_streams,
            http2_keepalive_interval: config.http2_keepalive_interval,
            http2_keepalive_timeout: config.http2_keepalive_timeout,
            tcp_keepalive: config.tcp_keepalive,
        }
    }
}

/// A bound port.
pub struct Listener {
    tcp: TcpListener,
    options: ListenerOptions,
    metrics: Arc<Metrics>,
}

impl Listener {
    /// Binds `address`; connections wait until [`Listener::run`].
    pub fn bind(address: SocketAddr, options: ListenerOptions, metrics: Arc<Metrics>) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { tcp: socket.listen(BACKLOG)?, options, metrics })
    }

    /// The address that was bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves `router`. At `stop` it takes no more connections and asks the open ones to finish; it returns when they
    /// have, or at `abort`; what is then still open ends with the process.
    pub async fn run(self, router: Router, stop: CancellationToken, abort: CancellationToken) {
        let builder = self.builder();
        let graceful = GracefulShutdown::new();
        let free = Arc::new(Semaphore::new(self.options.max_connections));
        while let Some(accepted) = stop.run_until_cancelled(self.accept(&free)).await {
            let (stream, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, for one: others end, then it goes on.
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let service = TowerToHyperService::new(router.clone());
            let stream = TokioIo::new(PatientStream::new(stream, HEAD_TIMEOUT));
            let connection = builder.serve_connection(stream, service).into_owned();
            let metrics = self.metrics.clone();
            metrics.connections.inc();
            // Mapped rather than awaited in a block: a block would hold the connection's 2 KB three times over. How a
            // connection ends is its client's business.
            tokio::spawn(graceful.watch(connection).map(move |_| {
                metrics.connections.dec();
                drop(permit);
            }));
        }
        drop(self.tcp);
        abort.run_until_cancelled(graceful.shutdown()).await;
    }

    async fn accept(&self, free: &Arc<Semaphore>) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
        let permit = free.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = self.tcp.accept().await?;
        stream.set_nodelay(true)?;
        let keepalive =
            TcpKeepalive::new().with_time(self.options.tcp_keepalive).with_interval(Duration::from_secs(10));
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok((stream, permit))
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(64 * 1024);
        builder
            .http2()
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(self.options.max_concurrent_streams)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_header_list_size(HEADER_BYTES)
            .keep_alive_interval(self.options.http2_keepalive_interval)
            .keep_alive_timeout(self.options.http2_keepalive_timeout);
        builder
    }
}
