//! That what is in the file is sent, whatever becomes of those who put it there.

use std::{future::Future, pin::Pin, task::Poll};

use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tokio::{task::yield_now, time::timeout};

use super::*;

/// An outbox whose server is not there.
async fn outbox(store: &Store) -> Outbox {
    let client = Client::builder("http://127.0.0.1:1").token("t").build().unwrap();
    let outbox = Outbox::open(client, store.clone());
    // It has the file before its caller comes, and the first look is over when that one has it.
    yield_now().await;
    drop(store.connection().await);
    outbox
}

async fn store(folder: &tempfile::TempDir) -> Store {
    Store::open(folder.path().join("ana.db")).await.unwrap()
}

async fn execute(store: &Store, statement: &'static str) {
    let mut connection = store.connection().await;
    sqlx::raw_sql(statement).execute(&mut *connection).await.unwrap();
}

/// Waits until a message is on its way.
async fn is_sent(changes: &mut broadcast::Receiver<OutboxChange>) -> bool {
    let sending = async { while !matches!(changes.recv().await.unwrap().state, OutboxState::Sending) {} };
    timeout(Duration::from_secs(10), sending).await.is_ok()
}

#[tokio::test]
async fn a_file_that_could_not_be_read_once_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    store.write(OutgoingMessage::text("r", "a")).await.unwrap();
    execute(&store, "ALTER TABLE outbox RENAME TO hidden").await;
    let outbox = outbox(&store).await;
    let mut changes = outbox.watch();
    execute(&store, "ALTER TABLE hidden RENAME TO outbox").await;
    assert!(is_sent(&mut changes).await);
}

/// Polls a future once and waits until it wants to be polled again. `None`: it does.
async fn woken<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut polled = false;
    std::future::poll_fn(|cx| match std::mem::replace(&mut polled, true) {
        true => Poll::Ready(None),
        false => future.as_mut().poll(cx).map(Some),
    })
    .await
}

#[tokio::test]
async fn a_message_whose_sender_gave_up_while_it_was_written_is_sent() {
    let given_up = loop {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let outbox = outbox(&store).await;
        let changes = outbox.watch();
        let mut reader = SqliteConnectOptions::new().filename(folder.path().join("ana.db")).connect().await.unwrap();
        let mut sending = Box::pin(outbox.send(OutgoingMessage::text("r", "a")));
        // Until the sender would hear of the commit. Or has heard of it, if it was too quick: then once more.
        let done = loop {
            let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&mut reader).await.unwrap();
            if rows > 0 {
                break false;
            }
            if woken(sending.as_mut()).await.is_some() {
                break true;
            }
        };
        drop(sending);
        if !done {
            break (folder, outbox, changes);
        }
    };
    let (_folder, _outbox, mut changes) = given_up;
    assert!(is_sent(&mut changes).await);
}
