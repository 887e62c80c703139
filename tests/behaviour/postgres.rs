//! Relay on PostgreSQL: how it opens the database, what it asks of it, and what becomes of messages when that goes away.

mod hang_up;
mod keys;
mod opening;
mod plans;
mod replica;
mod search;
mod tls;

use std::{
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::join_all;
use relay_proto::chat::v1::{self as wire, RoomKind, SendMessageRequest, room_event::Event};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{Clients, Database, Postgres, SIGNING_KEY, Server, Stream, eventually, message, relay_with};

const PASSWORD: &str = "relay-test";

/// Starts a server on the database that `url` names, where that is refused.
fn serve(url: &str) -> Output {
    serve_with(&[("RELAY_DATABASE_URL", url), ("RELAY_AUTH_SIGNING_KEY", SIGNING_KEY)])
}

fn serve_with(environment: &[(&str, &str)]) -> Output {
    let data = tempfile::tempdir().unwrap();
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data.path().to_str().unwrap()];
    relay_with(&[&args[..], &["--set", "database.connect_timeout=2s"]].concat(), environment)
}

fn migrate(url: &str) -> Output {
    relay_with(&["migrate"], &[("RELAY_DATABASE_URL", url)])
}

/// It did not start, says why and what to do, and repeats no password.
fn refused(output: &Output, why: &[&str]) {
    let complaint = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!output.status.success(), "it was taken; expected {why:?}");
    for part in why {
        assert!(complaint.contains(part), "{part:?} is not in {complaint:?}");
    }
    let said = complaint + &String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains(PASSWORD) && !said.contains("hunter2") && !said.contains(SIGNING_KEY), "{said}");
}

/// What a send came to: its receipt, or the reason that the id was used before.
async fn outcome(clients: &mut Clients, request: SendMessageRequest) -> Result<wire::SendReceipt, Status> {
    Ok(clients.chat.send_message(request).await?.into_inner().receipt.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_database_write_a_message_once_and_number_without_holes() {
    const ROUNDS: usize = 40;
    let postgres = Postgres::start();
    let database = Database::create(postgres.url());
    let url = database.url();
    let servers = [Server::with(&[("database.url", &url)]), Server::with(&[("database.url", &url)])];
    let mut ana = servers[0].user("ana").await;
    ana.create_room("a", RoomKind::Private, &[]).await;
    ana.create_room("b", RoomKind::Private, &[]).await;
    let mut clients = [servers[0].user("ana").await, servers[1].user("ana").await];
    for round in 0..ROUNDS {
        // The same id to both, and among others: in the same room, and (by mistake) in another.
        let same = message("a", &format!("same {round}"));
        let elsewhere = message("a", &format!("elsewhere {round}"));
        let sends = clients.iter_mut().enumerate().map(|(i, clients)| {
            let room = ["a", "b"][i];
            let mine = [
                same.clone(),
                SendMessageRequest { room_id: room.into(), ..elsewhere.clone() },
                message("a", "in passing"),
                message("b", "in passing"),
            ];
            let clients = &*clients;
            async move {
                join_all(mine.map(|request| {
                    let mut clients = clients.clone();
                    async move { outcome(&mut clients, request).await }
                }))
                .await
            }
        });
        let answers = join_all(sends).await;
        let receipts = [answers[0][0].as_ref().unwrap(), answers[1][0].as_ref().unwrap()];
        assert_eq!((receipts[0].seq, receipts[0].position), (receipts[1].seq, receipts[1].position));
        assert_eq!(receipts.iter().filter(|receipt| receipt.duplicate).count(), 1);
        let twice = [&answers[0][1], &answers[1][1]];
        assert_eq!(twice.iter().filter(|answer| answer.is_ok()).count(), 1, "{twice:?}");
        let refused = twice.iter().find_map(|answer| answer.as_ref().err()).unwrap();
        assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");
        assert!(answers.iter().flat_map(|answers| &answers[2..]).all(Result::is_ok));
    }
    let (a, b) = (ana.history("a").await, ana.history("b").await);
    assert_eq!(a.len() + b.len(), ROUNDS * 6);
    for room in [a, b] {
        assert!(room.iter().zip(1..).all(|(message, seq)| message.seq == seq), "without holes");
    }
}

/// How often senders were answered, and told to come back later.
#[derive(Default)]
struct Counts {
    answered: AtomicUsize,
    later: AtomicUsize,
}

/// Sends one after the other, each until it is answered; after a refusal when the server says that it is ready.
async fn send_all(server: Arc<Server>, texts: Vec<String>, counts: Arc<Counts>) -> Vec<(String, u64)> {
    let mut clients = server.user("ana").await;
    let mut sent = Vec::new();
    for text in texts {
        let request = message("r", &text);
        let receipt = loop {
            match outcome(&mut clients, request.clone()).await {
                Ok(receipt) => break receipt,
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                    assert!(status.get_details_retry_info().is_some(), "{status:?}");
                    counts.later.fetch_add(1, Ordering::Relaxed);
                    eventually("the database again", async || server.get("/ready").await.0 == 200).await;
                }
            }
        };
        counts.answered.fetch_add(1, Ordering::Relaxed);
        sent.push((text, receipt.seq));
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_database_loses_and_doubles_nothing() {
    const SENDERS: usize = 8;
    const SENDS: usize = 250;
    let mut postgres = Postgres::start();
    let database = Database::create(postgres.url());
    let server = Arc::new(Server::with(&[("database.url", &database.url())]));
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["zoe"]).await;
    let (mut zoe, _) = Stream::caught_up(&server.user("zoe").await, &[]).await;
    let counts = Arc::new(Counts::default());
    let mut senders = Vec::new();
    for sender in 0..SENDERS {
        let texts = (0..SENDS).map(|i| format!("{sender} {i}")).collect();
        senders.push(tokio::spawn(send_all(server.clone(), texts, counts.clone())));
    }
    let watching = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < SENDERS * SENDS {
            let event = zoe.event().await;
            let Some(Event::MessageCreated(created)) = event.event else { panic!("only messages: {event:?}") };
            seen.push((created.message.unwrap().text, event.position));
        }
        seen
    });
    for (mode, answered) in [("restart -m immediate", SENDERS * SENDS / 10), ("restart -m fast", SENDERS * SENDS / 3)] {
        eventually("the senders under way", async || counts.answered.load(Ordering::Relaxed) >= answered).await;
        postgres = tokio::task::spawn_blocking(move || {
            postgres.control(mode);
            postgres
        })
        .await
        .unwrap();
    }
    let sent: Vec<(String, u64)> = join_all(senders).await.into_iter().flat_map(Result::unwrap).collect();
    let seen = watching.await.unwrap();
    assert!(counts.later.load(Ordering::Relaxed) > 0, "the database was away");

    let history = ana.history("r").await;
    assert_eq!(history.len(), SENDERS * SENDS, "nothing lost, nothing double");
    assert!(history.iter().zip(1..).all(|(message, seq)| message.seq == seq), "without holes");
    for (text, seq) in sent {
        assert_eq!(history[seq as usize - 1].text, text);
    }
    let written: Vec<_> = history.into_iter().map(|message| (message.text, message.position)).collect();
    assert_eq!(seen, written, "a reader that stayed connected has all of it, once and in order");
    let (status, _) = server.get("/ready").await;
    assert_eq!(status, 200);
}
