//! The command line and the settings: what is taken, and what is refused by name.

use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Output};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use relay_proto::chat::v1::PingRequest;

use crate::support::{Raw, Server, Token, relay, relay_with};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// It failed, with nothing on standard output, and says why.
fn refused(output: &Output, why: &[&str]) {
    let complaint = text(&output.stderr);
    assert!(!output.status.success(), "it was taken; expected {why:?}");
    assert_eq!(text(&output.stdout), "", "{complaint}");
    for part in why {
        assert!(complaint.contains(part), "{part:?} is not in {complaint:?}");
    }
}

fn check_file(text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    std::fs::write(&file, text).unwrap();
    relay(&["config", "check", "--config", file.to_str().unwrap()])
}

#[test]
fn good_settings_are_said_to_be_good() {
    let output = relay(&["config", "check"]);
    assert_eq!(text(&output.stdout), "the settings are good\n");
    assert!(output.status.success());
    let defaults = relay(&["config", "defaults"]);
    assert_eq!(text(&defaults.stdout).trim(), include_str!("../../relay.default.toml").trim());
    assert!(check_file(&text(&defaults.stdout)).status.success());
    assert!(check_file("").status.success());
    assert!(check_file("[log]\nlevel = \"relay=debug,info\"\nformat = \"json\"\n").status.success());
}

#[test]
fn unknown_keys_are_refused_by_name() {
    for (file, why) in [
        ("[server]\nlistne = \"x\"\n", "server.listne"),
        ("[servre]\nlisten = \"x\"\n", "servre"),
        ("listen = \"x\"\n", "listen"),
        ("server = 1\n", "server"),
        ("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nsecret = \"x\"\nscret = \"y\"\n", "scret"),
    ] {
        refused(&check_file(file), &["relay: ", why]);
    }
    refused(&relay(&["config", "check", "--set", "chat.nothing=1"]), &["--set", "chat.nothing"]);
    refused(&relay(&["config", "check", "--set", "nothing"]), &["section.key=value"]);
    let environment = relay_with(&["config", "check"], &[("RELAY_CHAT_NOTHING", "1")]);
    refused(&environment, &["RELAY_CHAT_NOTHING", "environment"]);
    refused(&relay(&["config", "check", "--config", "/nowhere/relay.toml"]), &["/nowhere/relay.toml"]);
    refused(&relay(&["serve", "--set", "server.listne=x"]), &["server.listne"]);
}

#[test]
fn bad_values_are_refused_by_name() {
    for (setting, why) in [
        ("server.listen=localhost", "listen"),
        ("server.max_connections=many", "server.max_connections"),
        ("server.max_connections=0", "server.max_connections"),
        ("server.max_request_bytes=1024", "server.max_request_bytes"),
        ("server.request_timeout=30", "request_timeout"),
        ("server.request_timeout=1ms", "server.request_timeout"),
        ("stream.heartbeat_interval=16s", "stream.heartbeat_interval"),
        ("stream.queue_bytes=-1", "queue_bytes"),
        ("chat.max_rooms_per_user=5001", "chat.max_rooms_per_user"),
        ("chat.max_members_per_room=1", "chat.max_members_per_room"),
        ("chat.append_queue_bytes=65536", "chat.append_queue_bytes"),
        ("auth.keys=x", "auth.keys"),
        ("auth.signing_kid=", "auth.signing_kid"),
        ("log.format=xml", "format"),
        ("log.level=relay=loud", "log.level"),
        ("database.url=mysql://x", "database.url"),
        ("database.url=postgres://ana@host:port/chat", "database.url"),
        ("database.connect_timeout=1ms", "database.connect_timeout"),
        ("database.statement_timeout=1h", "database.statement_timeout"),
        ("database.read_connections=257", "database.read_connections"),
        ("database.write_connections=0", "database.write_connections"),
        ("auth.signing_key=short", "auth.signing_key"),
        ("server.cors_origins=https://a.example\u{7f}", "server.cors_origins"),
    ] {
        refused(&relay(&["config", "check", "--set", setting]), &[why]);
    }
    for (file, why) in [
        ("[server\n", "relay.toml"),
        ("[chat]\nmax_streams_per_user = \"x\"\n", "max_streams_per_user"),
        ("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"RS256\"\nsecret = \"x\"\n", "RS256"),
        ("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"EdDSA\"\npublic_key = \"AAAA\"\n", "auth.keys[0].public_key"),
        ("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nsecret = \"AAAA\"\n", "auth.keys[0].secret"),
        (
            "[[auth.keys]]\nkid = \"server\"\nalgorithm = \"HS256\"\n\
             secret = \"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\"\n",
            "auth.keys[0].kid",
        ),
    ] {
        refused(&check_file(file), &[why]);
    }
    let all = relay(&["config", "check", "--set", "chat.append_batch=0", "--set", "chat.max_streams_per_user=0"]);
    refused(&all, &["chat.append_batch", "chat.max_streams_per_user"]);
}

#[test]
fn complaints_repeat_no_secret() {
    let secret = "hunter2-hunter2-hunter2";
    for output in [
        relay_with(&["config", "check"], &[("RELAY_AUTH_SIGNING_KEY", secret)]),
        relay_with(&["token", "--user", "ana"], &[("RELAY_AUTH_SIGNING_KEY", secret)]),
        check_file(&format!("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n")),
        check_file(&format!("[auth]\nsigning_key = \"{secret}\"\n")),
        relay_with(&["config", "check"], &[("RELAY_DATABASE_URL", &format!("postgres://ana:{secret}@host:port/chat"))]),
        relay_with(&["config", "check"], &[("RELAY_DATABASE_URL", &format!("mysql://ana:{secret}@host/chat"))]),
        check_file(&format!("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nscret = \"{secret}\"\n")),
        check_file(&format!("[auth]\nsigning_key = [\"{secret}\"]\n")),
    ] {
        assert!(!output.status.success());
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn later_layers_win() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    std::fs::write(&file, "[auth]\nsigning_kid = \"file\"\n").unwrap();
    let data = folder.path().to_str().unwrap();
    let base = ["token", "--user", "ana", "--data-dir", data];
    let kid = |args: &[&str], environment: &[(&str, &str)]| {
        let output = relay_with(&[&base, args].concat(), environment);
        jsonwebtoken::decode_header(text(&output.stdout).trim()).unwrap().kid.unwrap()
    };
    let config = ["--config", file.to_str().unwrap()];
    let set = [&config[..], &["--set", "auth.signing_kid=flag"]].concat();
    let environment = [("RELAY_AUTH_SIGNING_KID", "environment")];
    assert_eq!(kid(&[], &[]), "server");
    assert_eq!(kid(&config, &[]), "file");
    assert_eq!(kid(&config, &environment), "environment");
    assert_eq!(kid(&set, &environment), "flag");
}

#[tokio::test]
async fn a_printed_token_is_alone_on_its_line_and_good() {
    let server = Server::start();
    let data = server.node(0).data_dir();
    let key = [("RELAY_AUTH_SIGNING_KEY", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc")];
    let args = ["token", "--user", "ana", "--project", "default", "--ttl", "1h", "--data-dir", data.to_str().unwrap()];
    let output = relay_with(&args, &key);
    assert_eq!(text(&output.stderr), "");
    let printed = text(&output.stdout);
    let token = printed.strip_suffix('\n').unwrap();
    assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{token}");
    let raw = Raw::connect(&server.url()).await;
    raw.bearer(token).call("ChatService/Ping", PingRequest {}).await.unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((claims["sub"].as_str(), claims["aud"].as_str()), (Some("ana"), Some("default")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3_600);

    refused(&relay_with(&["token", "--user", "a b"], &key), &["--user"]);
    refused(&relay_with(&["token", "--user", "ana", "--project", ""], &key), &["--project"]);
    refused(&relay_with(&["token", "--user", "ana", "--ttl", "soon"], &key), &["--ttl"]);
    refused(&relay(&["token"]), &["--user"]);
}

#[test]
fn the_first_token_makes_a_key_that_only_its_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let token = || {
        let output = relay(&["token", "--user", "ana", "--data-dir", data.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    token();
    let keys = data.join("keys");
    let key = keys.join("signing.key");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&keys), mode(&key)), (0o700, 0o700, 0o600));
    assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 1, "nothing half-made is left");
    let made = std::fs::read_to_string(&key).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(made.trim()).unwrap().len(), 32);
    token();
    assert_eq!(std::fs::read_to_string(&key).unwrap(), made, "it is made once");
}

#[tokio::test]
async fn a_server_and_the_token_command_share_the_key_that_was_made() {
    let server = Server::alone(&[("auth.signing_key", "")]);
    let data = server.node(0).data_dir();
    let key = data.join("keys/signing.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let printed = relay(&["token", "--user", "ana", "--data-dir", data.to_str().unwrap()]);
    let raw = Raw::connect(&server.url()).await;
    raw.bearer(text(&printed.stdout).trim()).call("ChatService/Ping", PingRequest {}).await.unwrap();
    let other = raw.bearer(&Token::of("ana").sign()).call("ChatService/Ping", PingRequest {}).await;
    assert_eq!(other.unwrap_err().code(), tonic::Code::Unauthenticated);
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let server = Server::alone(&[]);
    let data = server.node(0).data_dir();
    let output = relay(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()]);
    refused(&output, &["another relay", "relay.db"]);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let server = Server::alone(&[]);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let output = relay(&["serve", "--listen", server.address(), "--data-dir", data]);
    refused(&output, &[server.address(), "cannot listen"]);
}
