//! What can go wrong in a run. The generator retries nothing, but for clients who come back to a node that was
//! restarted, and says how often: a figure from a half-broken run is worse than none.

use std::{io, time::Duration};

/// The statuses of gRPC that say: not now.
const RESOURCE_EXHAUSTED: &str = "8";
const UNAVAILABLE: &str = "14";

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line does not parse.
    #[error("{0}\n\n{help}", help = crate::args::HELP)]
    Usage(String),
    /// A socket, file or process.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An HTTP/2 connection or stream.
    #[error("HTTP/2: {0}")]
    Http2(#[from] h2::Error),
    /// A connection of Socket.IO.
    #[error("WebSocket: {0}")]
    WebSocket(#[from] tokio_tungstenite::tungstenite::Error),
    /// A server's message that is not what the contract says.
    #[error("cannot decode a message: {0}")]
    Decode(#[from] prost::DecodeError),
    /// A server did something else than the scenario needs.
    #[error("{0}")]
    Unexpected(String),
    /// A call ended with a status other than OK.
    #[error("{path} answered with status {status}: {message}")]
    Status { path: &'static str, status: String, message: String },
    /// Something did not come in time.
    #[error("{what} did not come within {within:?}")]
    Late { what: String, within: Duration },
    /// The database of the floor of sends.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A token could not be signed.
    #[error("cannot sign a token: {0}")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// The results could not be written as JSON.
    #[error("cannot write the results: {0}")]
    Json(#[from] serde_json::Error),
    /// A check found broken promises.
    #[error("promises were broken; seeds: {0:?}")]
    Broken(Vec<u64>),
    /// A signal came.
    #[error("stopped")]
    Stopped,
}

impl Error {
    /// What the server did that it should not have.
    pub(crate) fn unexpected(what: impl Into<String>) -> Self {
        Self::Unexpected(what.into())
    }

    /// Whether a client would come again: the server was not reached, or has no room for it now.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Io(_) | Self::Http2(_) => true,
            Self::Status { status, .. } => [RESOURCE_EXHAUSTED, UNAVAILABLE].contains(&status.as_str()),
            _ => false,
        }
    }
}

/// Gives `future` at most `within`; `what` names it if it is late.
pub(crate) async fn in_time<T>(
    what: impl Into<String>,
    within: Duration,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(within, future).await {
        Ok(result) => result,
        Err(_) => Err(Error::Late { what: what.into(), within }),
    }
}
