//! Who takes part, and in which rooms.

use std::{fs, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fastrand::Rng;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::args::{Credentials, FEWEST_USERS};
use crate::error::Error;

/// How long a token is good: longer than any run.
const TOKEN_SECONDS: u64 = 4 * 3600;
const MEMBERS: usize = 6;
const GUESTS: usize = 3;
const VISITORS: usize = 3;

/// A user with a token.
pub(super) struct User {
    pub(super) name: String,
    pub(super) token: String,
}

/// A room of the check.
#[derive(Clone, Serialize)]
pub(super) struct Place {
    pub(super) id: String,
    pub(super) public: bool,
}

/// All who take part.
pub(super) struct Cast {
    /// Makes the rooms, and stays in them.
    pub(super) owner: Arc<User>,
    /// Stay in every room from before the load to its end.
    pub(super) members: Vec<Arc<User>>,
    /// Come and go.
    pub(super) guests: Vec<Arc<User>>,
    /// Are in every room, and open and close streams.
    pub(super) visitors: Vec<Arc<User>>,
    /// Is in no room, and must hear nothing.
    pub(super) outsider: Arc<User>,
    pub(super) rooms: Vec<Place>,
}

impl Cast {
    /// Users and rooms that did not exist before: the same seed is played anew on a deployment that has seen it.
    pub(super) fn draw(random: &mut Rng, seed: u64, credentials: &Credentials) -> Result<Self, Error> {
        let run = format!("{seed}-{}", &Uuid::new_v4().simple().to_string()[..8]);
        let mut users = match credentials {
            Credentials::Key(kid, key) => {
                let secret = URL_SAFE_NO_PAD.decode(key).map_err(|_| Error::Usage("the key is no base64url".into()))?;
                let key = EncodingKey::from_secret(&secret);
                let roles = ["owner".into(), "outsider".into()]
                    .into_iter()
                    .chain((1..=GUESTS).map(|n| format!("guest{n}")))
                    .chain((1..=MEMBERS).map(|n| format!("member{n}")))
                    .chain((1..=VISITORS).map(|n| format!("visitor{n}")));
                roles.map(|role| signed(format!("check-{run}-{role}"), kid, &key)).collect::<Result<Vec<_>, _>>()?
            }
            Credentials::File(path) => {
                fs::read_to_string(path)?.split_whitespace().map(named).collect::<Result<Vec<_>, _>>()?
            }
        };
        if users.len() < FEWEST_USERS {
            return Err(Error::Usage(format!("a check needs tokens of {FEWEST_USERS} users")));
        }
        // There may be none, if there are few tokens.
        let visitors = users.split_off(users.len() - VISITORS.min(users.len() - FEWEST_USERS));
        let members = users.split_off(2 + GUESTS.min(users.len() - 4));
        let guests = users.split_off(2);
        let rooms = (0..random.usize(3..=5)).map(|n| Place { id: format!("check-{run}-{n}"), public: n % 2 == 0 });
        let rooms = rooms.collect();
        let [owner, outsider] = [users.swap_remove(0), users.swap_remove(0)];
        Ok(Self { owner, members, guests, visitors, outsider, rooms })
    }
}

/// What a token says.
#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

fn signed(name: String, kid: &str, key: &EncodingKey) -> Result<Arc<User>, Error> {
    let iat = jsonwebtoken::get_current_timestamp();
    let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::HS256) };
    let claims = Claims { sub: &name, aud: "default", iat, exp: iat + TOKEN_SECONDS };
    let token = jsonwebtoken::encode(&header, &claims, key)?;
    Ok(Arc::new(User { name, token }))
}

/// Whose token it is; whether it is good, the server knows.
fn named(token: &str) -> Result<Arc<User>, Error> {
    #[derive(Deserialize)]
    struct Subject {
        sub: String,
    }
    let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok());
    let subject = claims.and_then(|claims| serde_json::from_slice::<Subject>(&claims).ok());
    let Subject { sub: name } = subject.ok_or_else(|| Error::Usage("a line of --tokens is no token".into()))?;
    Ok(Arc::new(User { name, token: token.into() }))
}
