//! Callers that go while the database works for them.

use relay_proto::chat::v1::{RoomKind, SetPresenceRequest};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tonic::Code;

use crate::{
    presence::{Watcher, say},
    support::{Database, Postgres, Server},
};

#[tokio::test]
async fn a_status_that_is_being_written_is_written_and_told_though_its_caller_is_gone() {
    let postgres = Postgres::start();
    let database = Database::create(postgres.url());
    let server = Server::alone(&[("database.url", &database.url()), ("server.request_timeout", "3s")]);
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("general", RoomKind::Private, &["ben"]).await;
    let mut watcher = Watcher::open(&ana, &["general"]).await;
    watcher.mark(&mut ben, "ben", "before").await;

    // Somebody holds what is to be written, until the call is given up.
    let mut holder = PgConnection::connect(&database.url()).await.unwrap();
    holder.execute("BEGIN; SELECT 1 FROM presence WHERE user_id = 'ben' FOR UPDATE").await.unwrap();
    let request = SetPresenceRequest { status_text: Some("after".into()), ..SetPresenceRequest::default() };
    let refused = ben.presence.set_presence(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded, "{refused:?}");
    let connections = "FROM pg_stat_activity WHERE application_name = 'relay' AND";
    let waiting = database.run(&format!("SELECT pid {connections} wait_event_type = 'Lock'"));
    waiting.parse::<u32>().expect("one connection waits");
    holder.execute("COMMIT").await.unwrap();

    watcher.until("the status", |w| w.known["ben"].status_text == "after").await;
    assert_eq!(database.run(&format!("SELECT pid {connections} pid = {waiting}")), waiting, "its connection is kept");
    say(&mut ben, "again").await;
}
