//! Where tokens come from, and how long one is kept.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};
use tonic::metadata::{Ascii, MetadataValue};

use crate::{Error, ErrorKind};

/// How long before its `exp` a token is replaced; a quarter of its life if that is shorter.
const LEEWAY: Duration = Duration::from_secs(30);

/// A failure of a token provider, of whatever type.
pub type TokenError = Box<dyn std::error::Error + Send + Sync>;

/// The future of [`TokenProvider::token`].
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send + 'a>>;

/// Gives the user's token whenever a new one is needed. An async closure is one.
///
/// It is asked for the first call, shortly before the last token's `exp`, and when the server refuses the last token.
/// Never twice at once. A failure counts as passing: the call is tried again until its deadline, a stream for ever.
pub trait TokenProvider: Send + Sync + 'static {
    /// A token that is good from now on, as it stands after `Bearer `.
    fn token(&self) -> TokenFuture<'_>;
}

impl<F, Fut> TokenProvider for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<String, TokenError>> + Send + 'static,
{
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(self())
    }
}

/// The same token, always.
pub(crate) struct StaticToken(pub(crate) String);

impl TokenProvider for StaticToken {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// A token in use.
#[derive(Clone)]
pub(crate) struct Token {
    text: Arc<str>,
    header: MetadataValue<Ascii>,
    /// Tells tokens apart: the provider may well give the same text again.
    generation: u64,
    /// Not to be renewed before, unless it is refused. `None`: at any time.
    renew_from: Option<Instant>,
}

impl Token {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The value of the `authorization` metadata.
    pub(crate) fn header(&self) -> MetadataValue<Ascii> {
        self.header.clone()
    }

    /// When a quarter of its life is over, as far as its `exp` tells. A server that warns of each token for all of its
    /// life would otherwise get one after another.
    pub(crate) fn renew_from(&self) -> Option<Instant> {
        self.renew_from
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(generation {})", self.generation)
    }
}

/// The provider and the token that it gave last, shared by everything that a client does.
pub(crate) struct Tokens {
    provider: Box<dyn TokenProvider>,
    /// How long the provider may take.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    generation: u64,
    held: Option<Held>,
}

struct Held {
    token: Token,
    /// `None`: until the server refuses it.
    good_until: Option<Instant>,
}

impl Tokens {
    pub(crate) fn new(provider: Box<dyn TokenProvider>, patience: Duration) -> Self {
        Self { provider, patience, state: Mutex::default() }
    }

    /// The token to use now. Fetches one if none is held or the held one is about to expire; whoever else needs one
    /// meanwhile waits for the same.
    pub(crate) async fn get(&self) -> Result<Token, Error> {
        let mut state = self.state.lock().await;
        if let Some(held) = &state.held
            && held.good_until.is_none_or(|end| Instant::now() < end)
        {
            return Ok(held.token.clone());
        }
        let text = match tokio::time::timeout(self.patience, self.provider.token()).await {
            Ok(Ok(text)) => text,
            Ok(Err(source)) => return Err(Error::caused_by(ErrorKind::Token, "the token provider failed", source)),
            Err(_) => return Err(Error::new(ErrorKind::Token, "the token provider gave no token in time")),
        };
        state.generation += 1;
        let life = expiry(&text).map(|exp| exp.saturating_sub(unix_now()));
        let after = |wait| Instant::now().checked_add(wait);
        let renew_from = life.and_then(|life| after(life / 4));
        let good_until = life.and_then(|life| after(usable(life)));
        let token = Token { header: header(&text)?, text: text.into(), generation: state.generation, renew_from };
        state.held = Some(Held { token: token.clone(), good_until });
        Ok(token)
    }

    /// Forgets `token`, unless another has taken its place already: of many calls refused at once, one fetches.
    pub(crate) async fn forget(&self, token: &Token) {
        let mut state = self.state.lock().await;
        if state.held.as_ref().is_some_and(|held| held.token.generation == token.generation) {
            state.held = None;
        }
    }
}

fn header(text: &str) -> Result<MetadataValue<Ascii>, Error> {
    let mut value = MetadataValue::try_from(format!("Bearer {text}"))
        .map_err(|_| Error::new(ErrorKind::Token, "the token has characters that a header cannot carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// For how much of the `remaining` life a token is handed out.
fn usable(remaining: Duration) -> Duration {
    remaining - LEEWAY.min(remaining / 4)
}

/// The `exp` of a JSON web token since the epoch. `None` if the token is something else or has none: nothing is verified
/// here, the server does that.
fn expiry(token: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Duration::try_from_secs_f64(claims.exp).ok()
}

#[expect(clippy::disallowed_methods, reason = "`exp` is wall time, and this is the one place that compares with it")]
fn unix_now() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn jwt(exp: Duration) -> String {
        jwt_numbered(0, exp)
    }

    fn jwt_numbered(number: u32, exp: Duration) -> String {
        let claims = format!(r#"{{"sub":"ana","jti":"{number}","exp":{}}}"#, exp.as_secs());
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims))
    }

    /// A token that expires after `life` from now. Another for each number.
    pub(crate) fn expiring(number: u32, life: Duration) -> String {
        jwt_numbered(number, unix_now() + life)
    }

    /// A provider that counts how often it was asked, with tokens of the given life.
    fn counted(life: Duration) -> (Arc<AtomicU32>, Tokens) {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let provider = move || {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(jwt(unix_now() + life)))
        };
        (asked, Tokens::new(Box::new(provider), Duration::from_secs(1)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_kept_until_shortly_before_its_exp() {
        let (asked, tokens) = counted(Duration::from_secs(3600));
        tokens.get().await.unwrap();
        tokio::time::advance(Duration::from_secs(3500)).await;
        tokens.get().await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(Duration::from_secs(80)).await;
        tokens.get().await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_fetched_once_for_all_who_held_it() {
        let (asked, tokens) = counted(Duration::from_secs(3600));
        let (first, second) = (tokens.get().await.unwrap(), tokens.get().await.unwrap());
        tokens.forget(&first).await;
        tokens.get().await.unwrap();
        tokens.forget(&second).await;
        tokens.get().await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_or_fails_is_an_error_of_kind_token() {
        let hangs = Tokens::new(Box::new(std::future::pending), Duration::from_secs(1));
        assert_eq!(hangs.get().await.unwrap_err().kind(), ErrorKind::Token);
        let fails = Tokens::new(Box::new(|| async { Err("no session".into()) }), Duration::from_secs(1));
        assert_eq!(fails.get().await.unwrap_err().to_string(), "the token provider failed: no session");
    }

    #[tokio::test]
    async fn a_token_shows_in_no_debug_output() {
        let tokens = Tokens::new(Box::new(StaticToken("s3cret".into())), Duration::from_secs(1));
        let token = tokens.get().await.unwrap();
        assert!(!format!("{token:?} {:?}", token.header()).contains("s3cret"));
    }

    #[test]
    fn only_a_json_web_token_has_an_expiry() {
        assert_eq!(expiry(&jwt(Duration::from_secs(1_800_000_000))), Some(Duration::from_secs(1_800_000_000)));
        for other in ["", "opaque", "a.b.c", "e30.e30.sig"] {
            assert_eq!(expiry(other), None, "{other}");
        }
    }

    #[test]
    fn a_short_lived_token_is_used_for_three_quarters_of_its_life() {
        assert_eq!(usable(Duration::from_secs(40)), Duration::from_secs(30));
        assert_eq!(usable(Duration::from_secs(600)), Duration::from_secs(570));
        assert_eq!(usable(Duration::ZERO), Duration::ZERO);
    }
}
