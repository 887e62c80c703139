//! Credentials: which tokens are taken, and what all others are told.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use relay_proto::chat::v1::PingRequest;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Raw, Server, Token, error_of, methods};

/// An Ed25519 key pair that is used nowhere but here.
struct Pair {
    kid: &'static str,
    private: &'static str,
    public: &'static str,
}

const OLD: Pair = Pair {
    kid: "backend-2025",
    private: "MC4CAQAwBQYDK2VwBCIEILiVG+CawDV87fTKKfpxtPj7BcJ3QLcgso3pJ/Ziodg+",
    public: "MCowBQYDK2VwAyEAtJckUsaA2r56gsj8nLnPSozFm0Qkbyj5OIVRAvd87A8=",
};
const NEW: Pair = Pair {
    kid: "backend-2026",
    private: "MC4CAQAwBQYDK2VwBCIEIOCDtEzhQOvW0gLV/nGTQTA5gpswqUucEWUzO3zpkmt6",
    public: "MCowBQYDK2VwAyEAoHx1twHxUA7T1wBse0Dn5btJ/zYItNVrdM2LDm7TlAg=",
};

impl Pair {
    fn sign(&self, token: &Token) -> String {
        self.sign_as(token, Some(self.kid))
    }

    fn sign_as(&self, token: &Token, kid: Option<&str>) -> String {
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", self.private);
        let key = EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &token.claims, &key).unwrap()
    }

    fn pem(&self) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", self.public)
    }

    /// The 32 bytes of the public key, which end its DER form.
    fn raw(&self) -> String {
        let der = base64::engine::general_purpose::STANDARD.decode(self.public).unwrap();
        URL_SAFE_NO_PAD.encode(&der[der.len() - 32..])
    }

    /// As an entry of the settings, with the key as PEM text or as bytes.
    fn setting(&self, public_key: &str) -> String {
        format!("[[auth.keys]]\nkid = \"{}\"\nalgorithm = \"EdDSA\"\npublic_key = \"\"\"{public_key}\"\"\"\n", self.kid)
    }
}

/// The reason that a token is refused with; empty if it is good.
async fn told(raw: &Raw, token: &str) -> String {
    match raw.bearer(token).call("ChatService/Ping", PingRequest {}).await {
        Ok(_) => String::new(),
        Err(status) => {
            assert!(!format!("{status:?}").contains(token) || token.len() < 4, "the answer repeats the token");
            let (code, reason, _) = error_of(&status);
            let denied = reason == "PROJECT_NOT_FOUND";
            assert_eq!(code, if denied { Code::PermissionDenied } else { Code::Unauthenticated }, "{reason}");
            reason
        }
    }
}

fn now() -> i64 {
    i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap()
}

/// A token with a header and claims as they stand here, and whatever signature.
fn assembled(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[tokio::test]
async fn every_method_refuses_who_has_no_good_token() {
    let server = Server::start();
    let raw = Raw::connect(&server.url()).await;
    let good = Token::of("ana").sign();
    let callers = [
        (raw.clone(), Code::Unauthenticated, "CREDENTIALS_MISSING"),
        (raw.authorized(""), Code::Unauthenticated, "CREDENTIALS_MISSING"),
        (raw.authorized(good.clone()), Code::Unauthenticated, "CREDENTIALS_MISSING"),
        (raw.authorized(format!("Basic {good}")), Code::Unauthenticated, "CREDENTIALS_MISSING"),
        (raw.bearer("nonsense"), Code::Unauthenticated, "TOKEN_INVALID"),
        (raw.bearer(&Token::of("ana").sign_with(&[8; 32])), Code::Unauthenticated, "TOKEN_INVALID"),
        (raw.bearer(&Token::of("ana").for_seconds(-60).sign()), Code::Unauthenticated, "TOKEN_EXPIRED"),
        (
            raw.bearer(&Token::of("ana").claim("aud", json!("another")).sign()),
            Code::PermissionDenied,
            "PROJECT_NOT_FOUND",
        ),
    ];
    assert!(methods().len() >= 24);
    for method in methods() {
        for (caller, code, reason) in &callers {
            let status = caller.call_bytes(&method, Bytes::new()).await.unwrap_err();
            assert_eq!(error_of(&status), (*code, (*reason).to_owned(), vec![]), "{method}");
        }
    }
    assert_eq!(told(&raw, &good).await, "");
    raw.authorized(format!("bearer  {good}")).call("ChatService/Ping", PingRequest {}).await.unwrap();
}

#[tokio::test]
async fn claims_are_checked_one_by_one() {
    let server = Server::start();
    let raw = Raw::connect(&server.url()).await;
    let of_ana = || Token::of("ana");
    let without = |name: &str| {
        let mut token = of_ana();
        token.claims.as_object_mut().unwrap().remove(name);
        token
    };
    let tokens = [
        ("expired", of_ana().for_seconds(-6), "TOKEN_EXPIRED"),
        ("expired long ago", of_ana().claim("exp", json!(0)), "TOKEN_EXPIRED"),
        ("expired within the leeway", of_ana().for_seconds(-1), ""),
        ("good for ever", of_ana().claim("exp", json!(i64::MAX)), ""),
        ("exp as text", of_ana().claim("exp", json!("tomorrow")), "TOKEN_INVALID"),
        ("no exp", without("exp"), "TOKEN_INVALID"),
        ("not yet valid", of_ana().claim("nbf", json!(now() + 60)), "TOKEN_INVALID"),
        ("valid since", of_ana().claim("nbf", json!(now() - 60)), ""),
        ("valid within the leeway", of_ana().claim("nbf", json!(now() + 2)), ""),
        ("no sub", without("sub"), "TOKEN_INVALID"),
        ("empty sub", of_ana().claim("sub", json!("")), "TOKEN_INVALID"),
        ("a sub with a space", of_ana().claim("sub", json!("ana b")), "TOKEN_INVALID"),
        ("a long sub", of_ana().claim("sub", json!("x".repeat(129))), "TOKEN_INVALID"),
        ("the longest sub", of_ana().claim("sub", json!("x".repeat(128))), ""),
        ("a number as sub", of_ana().claim("sub", json!(7)), "TOKEN_INVALID"),
        ("no aud", without("aud"), "TOKEN_INVALID"),
        ("aud as list", of_ana().claim("aud", json!(["default"])), ""),
        ("two auds", of_ana().claim("aud", json!(["default", "other"])), "TOKEN_INVALID"),
        ("empty aud", of_ana().claim("aud", json!("")), "TOKEN_INVALID"),
        ("another aud", of_ana().claim("aud", json!("other")), "PROJECT_NOT_FOUND"),
        ("more claims", of_ana().claim("roles", json!(["admin"])), ""),
        ("9 KiB", of_ana().claim("x", json!("x".repeat(9_000))), "TOKEN_INVALID"),
    ];
    for (what, token, reason) in tokens {
        assert_eq!(told(&raw, &token.sign()).await, reason, "{what}");
    }
}

#[tokio::test]
async fn the_algorithm_is_the_keys_whatever_the_token_says() {
    let server = Server::with_file(&OLD.setting(&OLD.pem()), &[]);
    let raw = Raw::connect(&server.url()).await;
    let claims = Token::of("ana").claims;
    let of_ana = || Token::of("ana");
    assert_eq!(told(&raw, &OLD.sign(&of_ana())).await, "");
    assert_eq!(told(&raw, &of_ana().sign()).await, "");

    // The classic: an HMAC under the public key, which everybody knows, with the kid of the key pair.
    let mut confused = of_ana();
    confused.header.kid = Some(OLD.kid.into());
    let public = base64::engine::general_purpose::STANDARD.decode(OLD.public).unwrap();
    let good = of_ana().sign();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let header = |alg: &str| json!({ "alg": alg, "typ": "JWT", "kid": "server" });
    let without_signature = |alg: &str| assembled(&header(alg), &claims, "");
    let mut unknown = of_ana();
    unknown.header.kid = Some("unknown".into());
    let mut other_hash = of_ana();
    other_hash.header.alg = Algorithm::HS512;
    let changed = assembled(&json!({ "alg": "HS256", "kid": "server" }), &Token::of("ben").claims, signature);
    for (what, token) in [
        ("HMAC under the PEM", confused.sign_with(OLD.pem().as_bytes())),
        ("HMAC under the DER", confused.sign_with(&public)),
        ("HMAC under the bytes", confused.sign_with(&public[public.len() - 32..])),
        ("HMAC of the server under another kid", confused.sign()),
        ("a key pair under the server's kid", OLD.sign_as(&of_ana(), Some("server"))),
        ("a key pair without a kid", OLD.sign_as(&of_ana(), None)),
        ("alg none", without_signature("none")),
        ("alg NONE", without_signature("NONE")),
        ("alg none with a signature", assembled(&header("none"), &claims, signature)),
        ("no signature", without_signature("HS256")),
        ("HS512 under the server's key", other_hash.sign()),
        ("an unknown kid", unknown.sign()),
        ("other claims under the signature", changed),
        ("half a signature", format!("{signed}.{}", &signature[..20])),
        ("another pair's signature", NEW.sign_as(&of_ana(), Some(OLD.kid))),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{good}.x")),
        ("dots", "..".into()),
    ] {
        assert_eq!(told(&raw, &token).await, "TOKEN_INVALID", "{what}");
    }
    assert_eq!(told(&raw, &good).await, "");
}

#[tokio::test]
async fn a_token_without_a_kid_is_held_against_the_servers_own_key() {
    let server = Server::start();
    let raw = Raw::connect(&server.url()).await;
    let mut token = Token::of("ana");
    token.header.kid = None;
    assert_eq!(told(&raw, &token.sign()).await, "");
    assert_eq!(told(&raw, &token.sign_with(&[9; 32])).await, "TOKEN_INVALID");
}

#[tokio::test]
async fn keys_rotate_by_their_kid() {
    let both = format!("{}{}", OLD.setting(&OLD.pem()), NEW.setting(&NEW.raw()));
    let during = Server::with_file(&both, &[]);
    let raw = Raw::connect(&during.url()).await;
    let old = OLD.sign(&Token::of("ana"));
    let new = NEW.sign(&Token::of("ana"));
    assert_eq!((told(&raw, &old).await.as_str(), told(&raw, &new).await.as_str()), ("", ""));
    assert_eq!(told(&raw, &OLD.sign(&Token::of("ana").for_seconds(-60))).await, "TOKEN_EXPIRED");

    let after = Server::with_file(&NEW.setting(&NEW.raw()), &[]);
    let raw = Raw::connect(&after.url()).await;
    assert_eq!((told(&raw, &old).await.as_str(), told(&raw, &new).await.as_str()), ("TOKEN_INVALID", ""));
}

#[tokio::test]
async fn the_servers_own_key_rotates_too() {
    let old = "[[auth.keys]]\nkid = \"server\"\nalgorithm = \"HS256\"\n\
               secret = \"CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg\"\n";
    let server = Server::with_file(old, &[("auth.signing_kid", "server-2026")]);
    let raw = Raw::connect(&server.url()).await;
    assert_eq!(told(&raw, &Token::of("ana").sign_with(&[8; 32])).await, "");
    let mut new = Token::of("ana");
    new.header.kid = Some("server-2026".into());
    assert_eq!(told(&raw, &new.sign()).await, "");
    assert_eq!(told(&raw, &Token::of("ana").sign()).await, "TOKEN_INVALID", "the new key under the old name");
}
