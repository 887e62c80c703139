//! How a client is set up.

use std::{fmt, time::Duration};

use tokio::runtime::Handle;
use tonic::transport::Endpoint;

use crate::{
    Client, Error, ErrorKind,
    backoff::LONGEST,
    client::Settings,
    token::{StaticToken, TokenProvider, Tokens},
};

/// Sets up a [`Client`]. Made by [`Client::builder`]. A time limit of more than a year counts as a year.
pub struct ClientBuilder {
    url: String,
    provider: Option<Box<dyn TokenProvider>>,
    user_agent: String,
    connect_timeout: Duration,
    request_timeout: Duration,
    call_deadline: Duration,
    send_deadline: Duration,
    keepalive_interval: Duration,
    keepalive_timeout: Duration,
    event_buffer: usize,
    memberships: bool,
    report_delivered: bool,
}

impl ClientBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            provider: None,
            user_agent: concat!("relay-sdk-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            call_deadline: Duration::from_secs(30),
            send_deadline: Duration::from_secs(300),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            event_buffer: 256,
            memberships: true,
            report_delivered: true,
        }
    }

    /// The user's token, if it never changes. Once it has expired, calls fail with
    /// [`Unauthenticated`](ErrorKind::Unauthenticated).
    pub fn token(self, token: impl Into<String>) -> Self {
        self.token_provider(StaticToken(token.into()))
    }

    /// Where tokens come from: an async closure, or a type of your own. See [`TokenProvider`] for when it is asked.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), relay_sdk::Error> {
    /// # async fn from_our_backend() -> Result<String, std::io::Error> { Ok("t".into()) }
    /// let client = relay_sdk::Client::builder("http://127.0.0.1:8080")
    ///     .token_provider(|| async { Ok(from_our_backend().await?) })
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn token_provider(mut self, provider: impl TokenProvider) -> Self {
        self.provider = Some(Box::new(provider));
        self
    }

    /// What stands before tonic's own name in the `user-agent` header. Default: `relay-sdk-rust/<version>`.
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    /// How long connecting may take. Default: 5 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit.min(LONGEST);
        self
    }

    /// How long one attempt of a call, the first frame of a stream, and the token provider may take. Default: 10 s.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit.min(LONGEST);
        self
    }

    /// How long a call that may be repeated is tried, sends excepted. Default: 30 s.
    pub fn call_deadline(mut self, limit: Duration) -> Self {
        self.call_deadline = limit.min(LONGEST);
        self
    }

    /// How long a send is tried before it fails with [`OutcomeUnknown`](ErrorKind::OutcomeUnknown). Default: 5 min.
    pub fn send_deadline(mut self, limit: Duration) -> Self {
        self.send_deadline = limit.min(LONGEST);
        self
    }

    /// How often an HTTP/2 ping asks whether a connection with open calls is alive, and how long the answer may take.
    /// Default: every 20 s, 10 s.
    pub fn keepalive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.keepalive_interval = interval.min(LONGEST);
        self.keepalive_timeout = timeout.min(LONGEST);
        self
    }

    /// How many events wait at most for an [`Events`](crate::Events) that is not polled; the rest waits on the server.
    /// At least 1. Default: 256.
    pub fn event_buffer(mut self, events: usize) -> Self {
        self.event_buffer = events.max(1);
        self
    }

    /// Whether event streams tell how the user stands in each room, which [`Unread`](crate::Unread) counts from: one
    /// [`Memberships`](crate::Event::Memberships) for each room at each opening. Default: yes.
    pub fn memberships(mut self, tell: bool) -> Self {
        self.memberships = tell;
        self
    }

    /// Whether event streams report the messages that they yield as delivered to this device. Default: yes.
    pub fn report_delivered(mut self, report: bool) -> Self {
        self.report_delivered = report;
        self
    }

    /// The client. It connects when it is first used, and again whenever the connection is lost.
    ///
    /// # Errors
    /// [`Configuration`](ErrorKind::Configuration): the address is none, it is `https` and the feature `tls` is off, the
    /// user agent cannot be a header, no token was given, or there is no tokio runtime around.
    pub fn build(self) -> Result<Client, Error> {
        let configuration = |text: &str| Error::new(ErrorKind::Configuration, text);
        // tonic would panic without one.
        let runtime = Handle::try_current().map_err(|_| configuration("a client is built inside a tokio runtime"))?;
        let endpoint = self.endpoint()?;
        let provider = self.provider.ok_or_else(|| configuration("neither a token nor a token provider was given"))?;
        let settings = Settings {
            request_timeout: self.request_timeout,
            call_deadline: self.call_deadline,
            send_deadline: self.send_deadline,
            event_buffer: self.event_buffer,
            memberships: self.memberships,
            report_delivered: self.report_delivered,
        };
        Ok(Client::new(endpoint, Tokens::new(provider, self.request_timeout), settings, runtime))
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        let wrong = |error: tonic::transport::Error| {
            Error::caused_by(ErrorKind::Configuration, "the client cannot be set up", Box::new(error))
        };
        let endpoint = Endpoint::from_shared(self.url.clone())
            .and_then(|endpoint| endpoint.user_agent(self.user_agent.as_str()))
            .map_err(wrong)?
            .connect_timeout(self.connect_timeout)
            .http2_keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_timeout);
        match endpoint.uri().scheme_str() {
            Some("http") => Ok(endpoint),
            #[cfg(feature = "tls")]
            Some("https") => {
                let roots = tonic::transport::ClientTlsConfig::new().with_native_roots();
                endpoint.tls_config(roots).map_err(wrong)
            }
            #[cfg(not(feature = "tls"))]
            Some("https") => Err(Error::new(ErrorKind::Configuration, "https needs the feature `tls` of relay-sdk")),
            _ => Err(Error::new(ErrorKind::Configuration, "the address begins neither with http:// nor with https://")),
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(builder: ClientBuilder) -> String {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.to_string()
    }

    #[tokio::test]
    async fn a_wrong_set_up_says_what_is_wrong() {
        assert!(refused(Client::builder("http://127.0.0.1:8080")).contains("neither a token"));
        assert!(refused(Client::builder("127.0.0.1:8080").token("t")).contains("http"));
        assert!(refused(Client::builder("not a url").token("t")).contains("cannot be set up"));
        assert!(refused(Client::builder("http://a").user_agent("\n").token("t")).contains("cannot be set up"));
    }

    #[test]
    fn without_a_runtime_it_is_an_error_and_no_panic() {
        assert!(refused(Client::builder("http://127.0.0.1:8080").token("t")).contains("runtime"));
    }

    #[tokio::test]
    async fn the_token_is_in_no_debug_output() {
        let builder = Client::builder("http://127.0.0.1:8080").token("s3cret");
        assert!(!format!("{builder:?}").contains("s3cret"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("s3cret"));
    }
}
