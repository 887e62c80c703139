//! The keys that tokens are signed with and checked against.

use std::{
    collections::HashMap,
    fmt, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use crate::config::{AuthConfig, KeyConfig};

const KEY_BYTES: usize = 32;
const MAX_KEY_BYTES: usize = 128;

/// Why the keys cannot be used. It names the setting, never the key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

/// A key that tokens are accepted from; its algorithm is the only one that it takes.
pub(super) struct VerifyingKey {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// Of a key that can sign as well.
    fingerprint: Option<String>,
}

/// All keys, by `kid`.
pub struct KeyRing {
    signing_kid: String,
    signing: EncodingKey,
    page_tokens: [u8; 32],
    fingerprint: String,
    verifying: HashMap<String, VerifyingKey>,
}

impl KeyRing {
    /// The keys of `config`; the server's own is made under `data_dir` if neither has it.
    pub fn load(config: &AuthConfig, data_dir: &Path) -> Result<Self, KeyError> {
        let secret = match configured(config)? {
            Some(secret) => secret,
            None => stored_key(&data_dir.join("keys").join("signing.key"))?,
        };
        let own = VerifyingKey::hs256(&secret);
        let mut verifying = further_keys(config)?;
        verifying.insert(config.signing_kid.clone(), own);
        Ok(Self {
            signing_kid: config.signing_kid.clone(),
            signing: EncodingKey::from_secret(&secret),
            page_tokens: derive(&secret, b"relay page tokens"),
            fingerprint: fingerprint(&secret),
            verifying,
        })
    }

    /// Looks at the keys of `config`, and touches no file.
    pub fn check(config: &AuthConfig) -> Result<(), KeyError> {
        configured(config)?;
        further_keys(config).map(drop)
    }

    /// The key to check a token that names `kid`; without a name, the server's own.
    pub(super) fn verifying(&self, kid: Option<&str>) -> Option<&VerifyingKey> {
        self.verifying.get(kid.unwrap_or(&self.signing_kid))
    }

    pub(super) fn signing(&self) -> (&str, &EncodingKey) {
        (&self.signing_kid, &self.signing)
    }

    /// The key for page tokens: its own, so that it tells nothing of the signing key.
    pub fn page_tokens(&self) -> [u8; 32] {
        self.page_tokens
    }

    /// What the signing key is known by. It tells nothing of the key.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether tokens are accepted that were signed with the key of this fingerprint.
    pub(super) fn accepts(&self, fingerprint: &str) -> bool {
        self.verifying.values().any(|key| key.fingerprint.as_deref() == Some(fingerprint))
    }
}

impl VerifyingKey {
    fn hs256(secret: &[u8]) -> Self {
        let key = DecodingKey::from_secret(secret);
        Self { algorithm: Algorithm::HS256, key, fingerprint: Some(fingerprint(secret)) }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("kids", &self.verifying.keys()).finish_non_exhaustive()
    }
}

/// The signing key, if the settings have it.
fn configured(config: &AuthConfig) -> Result<Option<Vec<u8>>, KeyError> {
    match config.signing_key.expose_secret() {
        "" => Ok(None),
        _ => secret_bytes(&config.signing_key, "auth.signing_key").map(Some),
    }
}

fn further_keys(config: &AuthConfig) -> Result<HashMap<String, VerifyingKey>, KeyError> {
    let mut keys = HashMap::new();
    for (i, key) in config.keys.iter().enumerate() {
        let (kid, key) = verifying_key(key, &format!("auth.keys[{i}]"))?;
        if kid == config.signing_kid || keys.insert(kid.clone(), key).is_some() {
            return Err(KeyError(format!("auth.keys[{i}].kid: {kid:?} is used twice")));
        }
    }
    Ok(keys)
}

fn derive(secret: &[u8], purpose: &[u8]) -> [u8; 32] {
    match Hmac::<Sha256>::new_from_slice(secret) {
        Ok(mac) => mac.chain_update(purpose).finalize().into_bytes().into(),
        // HMAC takes keys of any length.
        Err(_) => [0; 32],
    }
}

fn fingerprint(secret: &[u8]) -> String {
    derive(secret, b"relay signing key")[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn secret_bytes(secret: &SecretString, setting: &str) -> Result<Vec<u8>, KeyError> {
    BASE64
        .decode(secret.expose_secret().trim())
        .ok()
        .filter(|bytes| (KEY_BYTES..=MAX_KEY_BYTES).contains(&bytes.len()))
        .ok_or_else(|| {
            KeyError(format!("{setting}: takes {KEY_BYTES} to {MAX_KEY_BYTES} bytes in base64url without padding"))
        })
}

fn verifying_key(config: &KeyConfig, setting: &str) -> Result<(String, VerifyingKey), KeyError> {
    let (kid, key) = match config {
        KeyConfig::Hs256 { kid, secret } => {
            let secret = secret_bytes(secret, &format!("{setting}.secret"))?;
            (kid, VerifyingKey::hs256(&secret))
        }
        KeyConfig::EdDsa { kid, public_key } => {
            let wrong = || KeyError(format!("{setting}.public_key: is no Ed25519 public key, as 32 bytes or PEM"));
            let raw = || BASE64.decode(public_key.trim()).ok().filter(|bytes| bytes.len() == KEY_BYTES);
            let key = match public_key.contains("BEGIN") {
                true => DecodingKey::from_ed_pem(public_key.as_bytes()).map_err(|_| wrong())?,
                false => raw().map(|bytes| DecodingKey::from_ed_der(&bytes)).ok_or_else(wrong)?,
            };
            (kid, VerifyingKey { algorithm: Algorithm::EdDSA, key, fingerprint: None })
        }
    };
    if kid.is_empty() {
        return Err(KeyError(format!("{setting}.kid: is empty")));
    }
    Ok((kid.clone(), key))
}

/// The key in `path`, made there if it is missing.
fn stored_key(path: &Path) -> Result<Vec<u8>, KeyError> {
    let explain = |error: io::Error| KeyError(format!("{}: {error}", path.display()));
    match std::fs::read_to_string(path) {
        Ok(text) => secret_bytes(&text.into(), &path.display().to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_key(path).map_err(explain)?;
            tracing::info!(path = %path.display(), "made a new signing key");
            // Read back: of two processes that start together, one made it.
            let text = std::fs::read_to_string(path).map_err(explain)?;
            secret_bytes(&text.into(), &path.display().to_string())
        }
        Err(error) => Err(explain(error)),
    }
}

/// Writes a new key beside `path` and links it there: nobody ever reads half a key, and the first of two wins.
fn make_key(path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let fresh = folder.join(format!(".{}.new", uuid::Uuid::now_v7()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(BASE64.encode(key).as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&fresh, path);
    std::fs::remove_file(&fresh)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
