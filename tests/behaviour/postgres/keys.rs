//! Several Relays on one database sign with one key.

use std::process::Output;

use relay_proto::chat::v1::{ListRoomsRequest, RoomKind};

use super::{refused, serve_with};
use crate::support::{Database, Postgres, SIGNING_KEY, Server, relay_with};

/// 32 bytes of 9, in base64url.
const OTHER_KEY: &str = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk";

fn serve(url: &str, key: &str) -> Output {
    serve_with(&[("RELAY_DATABASE_URL", url), ("RELAY_AUTH_SIGNING_KEY", key)])
}

fn adopt(url: &str, key: &str) -> String {
    let output = relay_with(&["adopt-key"], &[("RELAY_DATABASE_URL", url), ("RELAY_AUTH_SIGNING_KEY", key)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A settings file in which this HS256 key is accepted beside the signing key.
fn accepting(key: &str) -> String {
    format!("[[auth.keys]]\nkid = \"former\"\nalgorithm = \"HS256\"\nsecret = \"{key}\"\n")
}

/// It does not start, and says what to do.
fn refused_as_a_stranger(output: &Output) {
    refused(output, &["another key", "RELAY_AUTH_SIGNING_KEY", "keys/signing.key", "auth.keys", "relay adopt-key"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains(OTHER_KEY));
}

#[tokio::test]
async fn a_second_relay_needs_the_key_of_the_first() {
    let postgres = Postgres::start();
    let database = Database::create(postgres.url());
    let url = database.url();
    let on_it = [("database.url", url.as_str())];
    let first = Server::with(&on_it);
    refused_as_a_stranger(&serve(&url, OTHER_KEY));
    // Without one it would make its own.
    refused_as_a_stranger(&serve(&url, ""));
    let second = Server::with(&on_it);

    // What one hands out the other takes.
    let mut ana = first.user("ana").await;
    ana.create_room("a", RoomKind::Public, &[]).await;
    ana.create_room("b", RoomKind::Public, &[]).await;
    let mut there = second.user("ana").await;
    let list = |page_token| ListRoomsRequest { page_size: 1, page_token, ..Default::default() };
    let page = ana.rooms.list_rooms(list(String::new())).await.unwrap().into_inner();
    let next = there.rooms.list_rooms(list(page.next_page_token)).await.unwrap().into_inner();
    assert_eq!(next.rooms.len(), 1);

    let recorded = database.run("SELECT signing_key FROM deployment");
    assert_eq!(recorded.len(), 32);
    assert!(!recorded.contains(SIGNING_KEY) && !recorded.contains("0707"), "{recorded}");
}

#[tokio::test]
async fn a_relay_that_accepts_the_former_key_rotates_it() {
    let postgres = Postgres::start();
    let database = Database::create(postgres.url());
    let url = database.url();
    assert!(adopt(&url, OTHER_KEY).contains("already"), "there was no other");
    refused_as_a_stranger(&serve(&url, SIGNING_KEY));

    let on_it = [("database.url", url.as_str())];
    let rotated = Server::with_file(&accepting(OTHER_KEY), &on_it);
    refused_as_a_stranger(&serve(&url, OTHER_KEY));
    drop(rotated);
    let _new_alone = Server::with(&on_it);
}

#[tokio::test]
async fn a_key_that_leaked_is_left_behind() {
    let postgres = Postgres::start();
    let database = Database::create(postgres.url());
    let url = database.url();
    adopt(&url, OTHER_KEY);
    assert!(adopt(&url, SIGNING_KEY).contains("restart all of them"));
    assert!(adopt(&url, SIGNING_KEY).contains("already"));
    refused_as_a_stranger(&serve(&url, OTHER_KEY));
    let _server = Server::with(&[("database.url", &url)]);
}

#[test]
fn of_relays_that_start_together_those_with_the_first_key_stay() {
    let postgres = Postgres::start();
    let database = Database::create(postgres.url());
    let url = database.url();
    let start = |key: &'static str| {
        let settings = [("database.url", url.clone()), ("auth.signing_key", key.to_owned())];
        std::thread::spawn(move || {
            let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
            drop(Server::alone(&settings));
            key
        })
    };
    let started = |keys: [&'static str; 4]| -> Vec<&str> {
        let starting = keys.map(start);
        // One that does not start panics.
        starting.into_iter().filter_map(|start| start.join().ok()).collect()
    };
    assert_eq!(started([SIGNING_KEY; 4]), [SIGNING_KEY; 4]);

    database.run("DELETE FROM deployment");
    let both = started([SIGNING_KEY, OTHER_KEY, SIGNING_KEY, OTHER_KEY]);
    assert!(both == [SIGNING_KEY; 2] || both == [OTHER_KEY; 2], "{both:?}");
}
