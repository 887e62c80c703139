//! A Redis that will not do: `relay serve` and `relay config check` say why and what to do, and end.

use std::process::Output;

use uuid::Uuid;

use super::INSTANCES;
use crate::support::{Database, SIGNING_KEY, redis_run, relay_with};

const SECRET: &str = "hunter2-of-redis";

fn serve(redis: &str, database: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let environment =
        [("RELAY_REDIS_URL", redis), ("RELAY_DATABASE_URL", database), ("RELAY_AUTH_SIGNING_KEY", SIGNING_KEY)];
    let settings = ["--set", "redis.connect_timeout=500ms"];
    relay_with(&[&["serve", "--listen", "127.0.0.1:0", "--data-dir", data][..], &settings].concat(), &environment)
}

/// It ended with exit code 1, names what is missing, and repeats no password.
fn assert_refused(output: &Output, says: &[&str]) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(output.stdout.is_empty(), "{complaint}");
    for part in says {
        assert!(complaint.contains(part), "{part:?} is missing in: {complaint}");
    }
    assert!(!complaint.contains(SECRET) && !complaint.contains("relay-test@"), "{complaint}");
}

#[test]
fn a_redis_that_will_not_do_is_refused_at_the_start_with_advice() {
    let database = Database::create(&INSTANCES.postgres);
    let place = INSTANCES.redis.rsplit_once('@').unwrap().1.split_once('/').unwrap().0;
    let clerk = format!("clerk-{}", Uuid::new_v4().simple());
    redis_run(&INSTANCES.redis, &["ACL", "SETUSER", &clerk, "on", &format!(">{SECRET}"), "+ping", "+hello"]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let gone = "127.0.0.1:1";
    for (url, says) in [
        (format!("http://ana:{SECRET}@{place}"), vec!["redis.url cannot be read", "redis+sentinel://"]),
        (format!("redis://ana:{SECRET}@{gone}"), vec![gone, "is it running"]),
        (format!("redis://ana:{SECRET}@{silent}"), vec![silent.as_str(), "is it running"]),
        (format!("redis://default:{SECRET}@{place}/0"), vec!["redis.url needs a user and a password that it accepts"]),
        (format!("redis://{place}"), vec!["redis.url needs a password"]),
        (format!("redis://{clerk}:{SECRET}@{place}"), vec!["its user needs", "+publish", "&PREFIX:*"]),
        (format!("redis+cluster://default:relay-test@{place}"), vec!["not a node of a cluster", "redis://USER"]),
    ] {
        assert_refused(&serve(&url, &database.url()), &says);
    }
    redis_run(&INSTANCES.redis, &["ACL", "DELUSER", &clerk]);
}

#[test]
fn a_redis_url_that_cannot_be_read_is_refused_by_the_check() {
    for (url, says) in [
        (format!("http://ana:{SECRET}@host"), "redis.url cannot be read"),
        (format!("redis://ana:{SECRET}@host:port"), "redis.url cannot be read"),
        (format!("redis+sentinel://ana:{SECRET}@host:26379"), "redis.url cannot be read"),
    ] {
        assert_refused(&relay_with(&["config", "check"], &[("RELAY_REDIS_URL", &url)]), &[says]);
    }
    let good = relay_with(&["config", "check"], &[("RELAY_REDIS_URL", "redis://ana:secret@nowhere.invalid:6379")]);
    assert!(good.status.success(), "a check asks nobody");
}
