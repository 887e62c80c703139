//! Tokens, good and bad.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::node::SIGNING_KEY;

/// A token in the making: good unless it is changed.
pub(crate) struct Token {
    pub(crate) claims: Value,
    pub(crate) header: Header,
}

impl Token {
    /// A token of a user of the default project, good for an hour.
    pub(crate) fn of(user: &str) -> Self {
        let now = jsonwebtoken::get_current_timestamp();
        let claims = json!({ "sub": user, "aud": "default", "iat": now, "exp": now + 3_600 });
        Self { claims, header: Header { kid: Some("server".into()), ..Header::new(Algorithm::HS256) } }
    }

    /// Good for this many seconds from now on; below 0 it has expired.
    pub(crate) fn for_seconds(mut self, seconds: i64) -> Self {
        let now = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap();
        self.claims["exp"] = json!(now + seconds);
        self
    }

    /// With another claim.
    pub(crate) fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims[name] = value;
        self
    }

    /// Signed with the test servers' key.
    pub(crate) fn sign(&self) -> String {
        self.sign_with(&URL_SAFE_NO_PAD.decode(SIGNING_KEY).unwrap())
    }

    /// Signed with another HS256 key.
    pub(crate) fn sign_with(&self, secret: &[u8]) -> String {
        jsonwebtoken::encode(&self.header, &self.claims, &EncodingKey::from_secret(secret)).unwrap()
    }
}
