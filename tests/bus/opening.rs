//! What a person is told who starts Relay with a Redis that will not do.

use std::time::Duration;

use relay::bus::{Keep, RedisBus};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{KEEP, Node, Redis, config, free_port};

/// What opening fails with. It never repeats the password of these tests.
async fn refusal(url: &str, keep: Keep) -> String {
    let refusal = Node::try_start(&config(url), keep).await.err().expect("it does not open").to_string();
    assert!(!refusal.contains("hunter2"), "{refusal}");
    refusal
}

fn assert_says(refusal: &str, parts: &[&str]) {
    for part in parts {
        assert!(refusal.contains(part), "{part:?} is missing in: {refusal}");
    }
}

#[tokio::test]
async fn a_url_that_cannot_be_read_is_refused_with_the_forms() {
    for url in ["localhost:6379", "redis://ana:hunter2@", "http://hunter2@localhost"] {
        let refusal = refusal(url, KEEP).await;
        assert_says(&refusal, &["redis.url", "redis://", "redis+sentinel://", "redis+cluster://"]);
        assert_eq!(RedisBus::check(&config(url)).unwrap_err().to_string(), refusal);
    }
    assert!(RedisBus::check(&config("redis://127.0.0.1:1")).is_ok(), "a check touches nothing");
}

#[tokio::test]
async fn a_prefix_with_other_characters_is_refused() {
    for prefix in ["", "{relay}", "re lay", "rélay"] {
        let mut config = config("redis://127.0.0.1:1");
        config.prefix = prefix.to_owned();
        assert_says(&RedisBus::check(&config).unwrap_err().to_string(), &["redis.prefix"]);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_silent_is_named() {
    let port = free_port();
    let gone = refusal(&format!("redis://ana:hunter2@127.0.0.1:{port}"), KEEP).await;
    assert_says(&gone, &[&format!("127.0.0.1:{port}"), "is it running"]);
    let redis = Redis::start().await;
    redis.signal("STOP");
    let mut config = config(&redis.url());
    config.connect_timeout = Duration::from_millis(300);
    let silent = Node::try_start(&config, KEEP).await.err().expect("it does not open").to_string();
    redis.signal("CONT");
    assert_says(&silent, &["does not answer", "redis.connect_timeout", "300ms"]);
}

#[tokio::test]
async fn wrong_and_missing_passwords_are_told_apart() {
    let redis = Redis::start_with(&["--requirepass", "correct"]).await;
    let wrong = refusal(&format!("redis://:hunter2@127.0.0.1:{}", redis.port), KEEP).await;
    assert_says(&wrong, &["needs a user and a password that it accepts"]);
    assert_says(&refusal(&redis.url(), KEEP).await, &["needs a password"]);
    Node::start(&format!("redis://:correct@127.0.0.1:{}", redis.port)).await;
}

#[tokio::test]
async fn a_user_without_rights_is_told_which() {
    let redis = Redis::start().await;
    let user = |name: &str, rights: &[&str]| {
        redis.cli(&[&["ACL", "SETUSER", name, "on", ">hunter2"], rights].concat());
        format!("redis://{name}:hunter2@127.0.0.1:{}", redis.port)
    };
    let all = ["+publish", "+subscribe", "+unsubscribe", "+rpush", "+ltrim", "+pexpire", "+lrange", "+del"];
    let names = ["~relay-test:*", "&relay-test:*"];
    let rights = [&names[..], &all[..]].concat();
    Node::start(&user("enough", &rights)).await;
    for missing in all.iter().filter(|right| **right != "+unsubscribe") {
        let rights: Vec<_> = rights.iter().filter(|right| right != &missing).copied().collect();
        let refusal = refusal(&user(&format!("no{}", &missing[1..]), &rights), KEEP).await;
        assert_says(&refusal, &[&missing[1..], "its user needs", "&PREFIX:*"]);
    }
    for missing in names {
        let rights: Vec<_> = rights.iter().filter(|right| **right != missing).copied().collect();
        assert_says(&refusal(&user("nonames", &rights), KEEP).await, &["its user needs"]);
        redis.cli(&["ACL", "DELUSER", "nonames"]);
    }
    // Where nothing is kept, no rights to keep are needed.
    let url = user("listener", &["&relay-test:*", "+publish", "+subscribe", "+unsubscribe"]);
    Node::start_with(&config(&url), Keep { events: 0, ..KEEP }).await;
}

/// A server that greets as an old Redis does, and knows nothing else.
async fn old_redis(version: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4_096];
                while let Ok(read @ 1..) = client.read(&mut buffer).await {
                    let asked = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    let answer: String = asked.split('*').skip(1).map(|command| answer(command, version)).collect();
                    client.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    format!("redis://{address}")
}

fn answer(command: &str, version: &str) -> String {
    match command.contains("HELLO") {
        true if version.starts_with('5') => {
            "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n".to_owned()
        }
        true => {
            let fields = [("server", "redis"), ("version", version), ("mode", "standalone"), ("role", "master")];
            let fields = fields.map(|(key, value)| format!("+{key}\r\n+{value}\r\n"));
            format!("%4\r\n{}", fields.concat())
        }
        false => "-ERR unknown command\r\n".to_owned(),
    }
}

#[tokio::test]
async fn an_old_version_is_refused() {
    assert_says(&refusal(&old_redis("6.2.0").await, KEEP).await, &["6.2.0", "needs 7 or newer"]);
    assert_says(&refusal(&old_redis("5.0.0").await, KEEP).await, &["older than version 6", "needs 7 or newer"]);
}

#[tokio::test]
async fn a_replica_is_refused() {
    let master = Redis::start().await;
    let replica = Redis::start_with(&["--replicaof", &format!("127.0.0.1 {}", master.port)]).await;
    assert_says(&refusal(&replica.url(), KEEP).await, &["is a replica"]);
}

#[tokio::test]
async fn the_wrong_form_is_refused_with_the_right_one() {
    let single = Redis::start().await;
    let place = format!("127.0.0.1:{}", single.port);
    assert_says(&refusal(&format!("redis+cluster://{place}"), KEEP).await, &["not a node of a cluster", "redis://"]);
    assert_says(&refusal(&format!("redis+sentinel://{place}/main"), KEEP).await, &["no Sentinel", "redis://"]);
    let cluster = Redis::start_with(&["--cluster-enabled", "yes"]).await;
    assert_says(&refusal(&cluster.url(), KEEP).await, &["is a node of a cluster", "redis+cluster://"]);
    let empty = refusal(&format!("redis+cluster://127.0.0.1:{}", cluster.port), KEEP).await;
    assert_says(&empty, &["16384 of its 16384 slots"]);
}
