//! Users' tokens: JWTs whose `sub` is the user and whose `aud` is the project.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};

use super::{Caller, keys::KeyRing};
use crate::{
    clock::{Clock, Timestamp},
    error::{Error, Reason, Result},
    id::{ProjectId, UserId, UserKey},
};

/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Checks tokens; clones share the keys.
#[derive(Clone)]
pub struct Tokens {
    keys: Arc<KeyRing>,
    projects: Arc<HashSet<ProjectId>>,
    clock: Arc<dyn Clock>,
    leeway: Duration,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    aud: Audience,
    /// Seconds since 1970, whole or not: so RFC 7519 has it.
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    /// Whether the user is an admin of the project.
    #[serde(default)]
    relay_admin: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Serialize)]
struct NewClaims<'a> {
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    relay_admin: bool,
}

impl Tokens {
    /// Accepts tokens of `projects` that are signed with one of `keys`.
    pub fn new(keys: Arc<KeyRing>, projects: HashSet<ProjectId>, clock: Arc<dyn Clock>, leeway: Duration) -> Self {
        Self { keys, projects: Arc::new(projects), clock, leeway }
    }

    /// Whose token it is. The algorithm is the key's, whatever the token says.
    ///
    /// # Errors
    /// TOKEN_INVALID, TOKEN_EXPIRED, PROJECT_NOT_FOUND. None repeats anything of the token.
    pub fn verify(&self, token: &str) -> Result<Caller> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid("is longer than 8 KiB"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid("is not a JWT"))?;
        let key = self.keys.verifying(header.kid.as_deref()).ok_or_else(|| invalid("has an unknown kid"))?;
        let claims: Claims = jsonwebtoken::decode(token, &key.key, &validation(key.algorithm))
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidAlgorithm => invalid("is signed with another algorithm than its key's"),
                ErrorKind::InvalidSignature => invalid("has a wrong signature"),
                _ => invalid("lacks a claim, or has one of a wrong type: sub, aud and exp are required"),
            })?
            .claims;
        self.check(claims)
    }

    fn check(&self, claims: Claims) -> Result<Caller> {
        let now = self.clock.now();
        // The leeway is part of the token's life, for calls and for streams alike.
        let expires_at = moment(claims.exp).plus(self.leeway);
        if expires_at <= now {
            return Err(Error::new(Reason::TokenExpired, "the token has expired"));
        }
        if claims.nbf.is_some_and(|nbf| moment(nbf) > now.plus(self.leeway)) {
            return Err(invalid("is not valid yet"));
        }
        let user = UserId::parse(&claims.sub, "sub").map_err(|_| invalid("has a sub that is no user id"))?;
        let project = match claims.aud {
            Audience::One(project) => project,
            Audience::Many(mut projects) if projects.len() == 1 => projects.remove(0),
            Audience::Many(_) => return Err(invalid("has more or less than one aud")),
        };
        let project = ProjectId::parse(&project, "aud").map_err(|_| invalid("has an aud that is no project id"))?;
        if !self.projects.contains(&project) {
            return Err(Error::new(Reason::ProjectNotFound, "the token's aud is no project of this server"));
        }
        Ok(Caller { user: UserKey { project, user }, expires_at, admin: claims.relay_admin })
    }
}

/// A claim's seconds as a moment. What is beyond the clock's reach is its end.
fn moment(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1e6) as i64)
}

fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    // Times are held against the injected clock, the audience against the projects: see `check`.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

fn invalid(what: &str) -> Error {
    Error::new(Reason::TokenInvalid, format!("the token {what}"))
}

/// A token of `user` that is good for `ttl` from `now` on, signed with the server's key; `admin`: it names an admin of the
/// project.
pub fn mint(keys: &KeyRing, user: &UserKey, admin: bool, now: Timestamp, ttl: Duration) -> Result<String> {
    let (kid, key) = keys.signing();
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
    let exp = now.plus(ttl).seconds();
    let claims =
        NewClaims { sub: user.user.as_str(), aud: user.project.as_str(), iat: now.seconds(), exp, relay_admin: admin };
    jsonwebtoken::encode(&header, &claims, key).map_err(|error| Error::internal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::ManualClock,
        config::{self, Overrides},
    };

    #[test]
    fn a_token_lives_as_long_as_it_says_and_the_leeway() {
        let set = vec![("auth.signing_key".to_owned(), "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc".to_owned())];
        let config = config::load(&Overrides { file: None, set }, std::iter::empty()).unwrap();
        let keys = Arc::new(KeyRing::load(&config.auth, std::path::Path::new("unused")).unwrap());
        let start = Timestamp::from_seconds(1_700_000_000);
        let clock = Arc::new(ManualClock::at(start));
        let user = UserKey {
            project: ProjectId::parse("default", "project").unwrap(),
            user: UserId::parse("ana", "user").unwrap(),
        };
        let projects = HashSet::from([user.project.clone()]);
        let tokens = Tokens::new(keys.clone(), projects, clock.clone(), Duration::from_secs(5));
        let token = mint(&keys, &user, false, start, Duration::from_secs(60)).unwrap();

        clock.advance(Duration::from_secs(64));
        let caller = tokens.verify(&token).unwrap();
        assert_eq!((caller.user, caller.expires_at), (user.clone(), start.plus(Duration::from_secs(65))));
        assert!(!caller.admin);
        let admin = mint(&keys, &user, true, start, Duration::from_secs(60)).unwrap();
        assert!(tokens.verify(&admin).unwrap().admin);
        clock.advance(Duration::from_secs(1));
        assert_eq!(tokens.verify(&token).unwrap_err().reason(), Reason::TokenExpired);
    }
}
