//! TLS between Relay and PostgreSQL.

use std::{fs, path::Path};

use relay_proto::chat::v1::RoomKind;

use super::{refused, serve};
use crate::support::{Authority, Certificate, Database, Postgres, Server, message};

/// Lets `postgres` speak TLS with a certificate, and trust the clients of `authority`.
fn secure(postgres: &mut Postgres, certificate: &Certificate, authority: &Authority) {
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    postgres.write("server.crt", &text(&certificate.certificate));
    postgres.write("server.key", &text(&certificate.key));
    postgres.write("clients.crt", &text(&authority.certificate()));
    postgres.run("ALTER SYSTEM SET ssl_ca_file = 'clients.crt'");
    postgres.run("ALTER SYSTEM SET ssl = on");
    postgres.control("restart -m fast");
}

/// A URL with these parameters, one of which is a file.
fn with(url: &str, mode: &str, root: &Path) -> String {
    format!("{url}?sslmode={mode}&sslrootcert={}", root.display())
}

/// It serves, over TLS or not.
async fn serves(database: &Database, url: &str, encrypted: bool) {
    let server = Server::with(&[("database.url", url)]);
    let mut ana = server.user("ana").await;
    let room = uuid::Uuid::new_v4().to_string();
    ana.create_room(&room, RoomKind::Private, &[]).await;
    ana.chat.send_message(message(&room, "hello")).await.unwrap();
    assert_eq!(ana.history(&room).await.len(), 1);
    let statement = "SELECT bool_and(ssl), bool_or(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'relay'";
    assert_eq!(database.run(statement), if encrypted { "t|t" } else { "f|f" });
}

#[tokio::test]
async fn connections_are_as_secure_as_sslmode_says() {
    let mut postgres = Postgres::start();
    let (authority, stranger) = (Authority::new(), Authority::new());
    secure(&mut postgres, &authority.sign("server", "IP:127.0.0.1"), &authority);
    let database = Database::create(postgres.url());
    let url = database.url();
    let root = authority.certificate();

    serves(&database, &url, true).await;
    serves(&database, &format!("{url}?sslmode=disable"), false).await;
    for mode in ["prefer", "require"] {
        serves(&database, &format!("{url}?sslmode={mode}"), true).await;
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        serves(&database, &with(&url, mode, &root), true).await;
        let untrusted = ["cannot open", "not trusted", "sslrootcert"];
        refused(&serve(&with(&url, mode, &stranger.certificate())), &untrusted);
    }
    refused(&serve(&format!("{url}?sslmode=verify-full")), &["not trusted", "sslrootcert"]);

    // The certificate is for an address, and the host goes by its name.
    let named = url.replace("127.0.0.1", "localhost");
    refused(&serve(&with(&named, "verify-full", &root)), &["for another host", "verify-ca"]);
    serves(&database, &with(&named, "verify-ca", &root), true).await;
}

#[tokio::test]
async fn a_user_can_be_known_by_a_certificate() {
    let mut postgres = Postgres::start();
    let authority = Authority::new();
    secure(&mut postgres, &authority.sign("server", "IP:127.0.0.1"), &authority);
    postgres.run("CREATE ROLE certified LOGIN SUPERUSER");
    let rule = "hostssl all certified 127.0.0.1/32 cert";
    postgres.run(&format!("COPY (SELECT '{rule}') TO PROGRAM 'cat - pg_hba.conf > hba.new && mv hba.new pg_hba.conf'"));
    postgres.control("reload");
    let database = Database::create(postgres.url());
    let url = with(&database.url().replace("relay:relay-test@", "certified@"), "verify-full", &authority.certificate());
    let client = |certificate: &Certificate| {
        format!("{url}&sslcert={}&sslkey={}", certificate.certificate.display(), certificate.key.display())
    };

    serves(&database, &client(&authority.sign("certified", "DNS:relay")), true).await;
    refused(&serve(&url), &["cannot open", "certificate", "sslcert and sslkey"]);
    refused(&serve(&client(&authority.sign("ana", "DNS:relay"))), &["cannot open", "certified"]);
    refused(&serve(&client(&Authority::new().sign("certified", "DNS:relay"))), &["cannot open", "sslcert and sslkey"]);
    let (certificate, other) = (authority.sign("ben", "DNS:relay"), authority.sign("zoe", "DNS:relay"));
    let mixed = Certificate { certificate: certificate.certificate, key: other.key };
    refused(&serve(&client(&mixed)), &["cannot open", "sslkey"]);
}

#[test]
fn a_server_without_tls_and_files_that_are_none_are_named() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("ca.crt");
    refused(&serve(&format!("{url}?sslmode=require")), &["does not support TLS", "ssl = on", "sslmode=disable"]);
    refused(&serve(&with(url, "verify-full", &missing)), &["sslrootcert", "cannot read", missing.to_str().unwrap()]);
    refused(&serve(&format!("{url}?sslmode=verify-ful")), &["sslmode is one of", "verify-full"]);
    refused(&serve(&format!("{url}?sslmod=verify-full")), &["parameter", "sslmode"]);
}
