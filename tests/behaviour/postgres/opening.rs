//! Databases that cannot be opened, and rights that suffice.

use std::net::TcpListener;

use relay_proto::chat::v1::RoomKind;

use super::{PASSWORD, migrate, refused, serve};
use crate::support::{Database, Postgres, Server, message};

#[test]
fn a_database_that_cannot_be_opened_is_refused_with_advice() {
    let postgres = Postgres::start();
    let database = Database::create(postgres.url());
    let url = database.url();

    refused(&serve(&url.replace(PASSWORD, "hunter2")), &["cannot open", "password", "database.url"]);
    refused(&serve(&format!("{}x", url)), &["does not exist", "CREATE DATABASE"]);
    refused(&serve("postgres://ana:hunter2@127.0.0.1:1/chat"), &["cannot open", "127.0.0.1:1", "is it running"]);
    refused(&serve("postgres://ana:hunter2@127.0.0.1:port/chat"), &["database.url"]);

    database.run("CREATE ROLE lowly LOGIN PASSWORD 'hunter2'");
    let lowly = url.replace("relay:relay-test@", "lowly:hunter2@");
    refused(&serve(&lowly), &["permission denied", "grant", "relay migrate"]);

    assert!(migrate(&url).status.success());
    database.run("INSERT INTO _sqlx_migrations VALUES (9999, 'later', now(), true, '\\x00', 0)");
    refused(&serve(&url), &["newer Relay", "9999"]);
    refused(&migrate(&url), &["newer Relay", "9999"]);
}

#[test]
fn a_database_is_migrated_once_however_many_start_together() {
    let postgres = Postgres::start();
    let database = Database::create(postgres.url());
    let url = database.url();
    let starting: Vec<_> = (0..4)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || migrate(&url))
        })
        .collect();
    for output in starting.into_iter().map(|start| start.join().unwrap()) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let migrations = std::fs::read_dir("migrations/postgres").unwrap().count();
    assert_eq!(database.run("SELECT COUNT(*) FROM _sqlx_migrations"), migrations.to_string());
    assert_eq!(database.run("SELECT COUNT(*) FROM projects"), "1");
}

#[test]
fn a_database_that_does_not_answer_is_given_up() {
    // It takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let output = serve(&format!("postgres://ana:hunter2@127.0.0.1:{port}/chat?sslmode=disable"));
    refused(&output, &["does not answer", "database.connect_timeout (2s)", "firewall"]);
}

#[test]
fn a_database_that_another_program_migrated_is_refused() {
    let postgres = Postgres::start();
    let database = Database::create(postgres.url());
    assert!(migrate(&database.url()).status.success());
    database.run("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 2");
    refused(&serve(&database.url()), &["another Relay", "migration 2", "start that version"]);
}

#[tokio::test]
async fn a_user_who_may_only_read_and_write_rows_serves_once_the_owner_has_migrated() {
    let postgres = Postgres::start();
    let database = Database::create(postgres.url());
    let url = database.url();
    database.run("CREATE ROLE clerk LOGIN PASSWORD 'hunter2'");
    let clerk = url.replace("relay:relay-test@", "clerk:hunter2@");
    refused(&serve(&clerk), &["permission denied", "relay migrate"]);

    assert!(migrate(&url).status.success());
    refused(&serve(&clerk), &["permission denied", "_sqlx_migrations", "SELECT, INSERT"]);
    database.run("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk");
    database.run("REVOKE INSERT, UPDATE, DELETE ON _sqlx_migrations FROM clerk");
    assert!(migrate(&clerk).status.success(), "there is nothing to do");
    let server = Server::with(&[("database.url", &clerk)]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.chat.send_message(message("r", "hello")).await.unwrap();
    assert_eq!(ana.history("r").await.len(), 1);

    database.run("DELETE FROM _sqlx_migrations WHERE version = 2");
    refused(&serve(&clerk), &["permission denied", "relay migrate"]);
}
