//! The outbox and the cache against a server on a real socket, which refuses, loses answers and is killed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "shared with other tests")]
mod fake;

use std::{path::PathBuf, time::Duration};

use fake::{Log, ROOM, Server};
use relay_sdk::{
    Client, ErrorKind, ErrorReason, Event, OutgoingMessage,
    offline::{Offline, OfflineEvents, OfflineOptions, Outbox, OutboxState, Store},
};
use tempfile::TempDir;
use tonic::Code;

const REFUSED: Option<(Code, &str)> = Some((Code::PermissionDenied, "USER_BLOCKED"));

/// A device: its file outlives its program.
struct Device {
    folder: TempDir,
    url: String,
}

impl Device {
    fn new(url: String) -> Self {
        Self { folder: TempDir::new().unwrap(), url }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ana.db")
    }

    /// Starts the program, which must have ended before.
    async fn start(&self) -> Offline {
        self.start_with(OfflineOptions::default()).await
    }

    async fn start_with(&self, options: OfflineOptions) -> Offline {
        let client = Client::builder(&self.url).token("t").build().unwrap();
        client.offline_with(Store::open(self.file()).await.unwrap(), options)
    }
}

fn message(text: &str) -> OutgoingMessage {
    OutgoingMessage::text(ROOM, text)
}

/// Waits until nothing waits to be sent, parked messages aside.
async fn all_sent(outbox: &Outbox) {
    let mut changes = outbox.watch();
    let sent = async {
        while outbox.pending(ROOM).await.unwrap().iter().any(|message| !message.parked) {
            changes.recv().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), sent).await.unwrap();
}

/// Waits until the message with this id is parked.
async fn parked(outbox: &Outbox, id: &str) {
    let mut changes = outbox.watch();
    let parked = async {
        let is_it = |message: &relay_sdk::offline::Pending| message.parked && message.message.client_message_id() == id;
        while !outbox.pending(ROOM).await.unwrap().iter().any(is_it) {
            changes.recv().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), parked).await.unwrap();
}

async fn caught_up(events: &mut OfflineEvents) {
    while !matches!(events.next().await.unwrap().unwrap(), Event::CaughtUp) {}
}

async fn room_events(events: &mut OfflineEvents, count: usize) {
    for _ in 0..count {
        while !matches!(events.next().await.unwrap().unwrap(), Event::Room(_)) {}
    }
}

fn texts(offline: &relay_sdk::offline::Timeline) -> Vec<&str> {
    offline.messages.iter().map(|message| message.text.as_str()).collect()
}

#[tokio::test]
async fn what_is_written_without_a_server_is_sent_once_and_in_order_after_the_restart() {
    let log = Log::new();
    let url = Server::start(&log).url();
    let device = Device::new(url.clone());
    let offline = device.start().await;
    for text in ["a", "b", "c"] {
        offline.outbox().send(message(text)).await.unwrap();
    }
    drop(offline);
    log.lose_answers(2);
    let server = Server::start(&log);
    let device = Device { folder: device.folder, url: server.url() };
    let offline = device.start().await;
    offline.outbox().send(message("d")).await.unwrap();
    all_sent(offline.outbox()).await;
    assert_eq!(log.texts(), ["a", "b", "c", "d"]);
    let lane = log.places()[0].0.clone();
    assert_eq!(log.places(), (1..=4).map(|number| (lane.clone(), number)).collect::<Vec<_>>());
}

#[tokio::test]
async fn order_and_once_hold_while_server_and_program_are_killed_again_and_again() {
    let log = Log::new();
    let mut server = Server::start(&log);
    let device = Device::new(server.url());
    let mut written = Vec::new();
    for round in 0..4 {
        let offline = device.start().await;
        for number in 0..10 {
            let text = format!("{round}-{number}");
            offline.outbox().send(message(&text)).await.unwrap();
            written.push(text);
        }
        log.lose_answers(2);
        server = server.kill_and_restart(&log).await;
    }
    let offline = device.start().await;
    all_sent(offline.outbox()).await;
    assert_eq!(log.texts(), written);
}

#[tokio::test]
async fn a_refused_message_is_parked_and_skipped_while_the_others_go_on() {
    let log = Log::new();
    let server = Server::start(&log);
    let device = Device::new(server.url());
    log.refuse_text("b", REFUSED);
    let offline = device.start().await;
    let outbox = offline.outbox();
    outbox.send(message("a")).await.unwrap();
    let refused = outbox.send(message("b")).await.unwrap();
    outbox.send(message("c")).await.unwrap();
    parked(outbox, &refused).await;
    all_sent(outbox).await;
    assert_eq!((log.texts(), log.asked()), (vec!["a".to_owned(), "c".to_owned()], vec!["skip 2".to_owned()]));
    let pending = outbox.pending(ROOM).await.unwrap();
    assert_eq!(pending[0].refusal.as_ref().unwrap().reason, Some(ErrorReason::UserBlocked));

    // It is there after a restart, and can be edited.
    drop(offline);
    let offline = device.start().await;
    offline.outbox().edit(&refused, "better").await.unwrap();
    all_sent(offline.outbox()).await;
    assert_eq!(log.texts(), ["a", "c", "better"]);
    assert_eq!(log.places().last().unwrap().1, 4);
}

#[tokio::test]
async fn a_parked_message_is_tried_again_or_given_up_as_the_user_says() {
    let log = Log::new();
    let server = Server::start(&log);
    let device = Device::new(server.url());
    let offline = device.start().await;
    let outbox = offline.outbox();
    let mut ids = Vec::new();
    for text in ["b", "c"] {
        log.refuse_text(text, REFUSED);
        ids.push(outbox.send(message(text)).await.unwrap());
        parked(outbox, ids.last().unwrap()).await;
    }
    log.refuse_text("b", None);
    outbox.retry(&ids[0]).await.unwrap();
    assert!(!outbox.discard(&ids[1]).await.unwrap(), "it was refused, so it is not written");
    all_sent(outbox).await;
    assert!(outbox.pending(ROOM).await.unwrap().is_empty());
    assert_eq!(log.texts(), ["b"]);
    assert_eq!(outbox.discard(&ids[1]).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_parked_message_that_is_sent_again_under_its_id_stays_parked_and_no_change_says_otherwise() {
    let log = Log::new();
    let server = Server::start(&log);
    let device = Device::new(server.url());
    log.refuse_text("b", REFUSED);
    let offline = device.start().await;
    let outbox = offline.outbox();
    let refused = outbox.send(message("b")).await.unwrap();
    parked(outbox, &refused).await;
    let mut changes = outbox.watch();
    assert_eq!(outbox.send(message("b").with_client_message_id(&refused)).await.unwrap(), refused);
    outbox.send(message("c")).await.unwrap();
    loop {
        let change = changes.recv().await.unwrap();
        match change.client_message_id == refused {
            true => assert!(!matches!(change.state, OutboxState::Waiting(_)), "{change:?}"),
            false => break,
        }
    }
    let pending = outbox.pending(ROOM).await.unwrap();
    assert!(pending.iter().any(|message| message.parked && message.message.client_message_id() == refused));
}

#[tokio::test]
async fn changes_tell_a_message_on_its_way() {
    let log = Log::new();
    let server = Server::start(&log);
    let device = Device::new(server.url());
    let offline = device.start().await;
    let mut changes = offline.outbox().watch();
    let id = offline.outbox().send(message("a")).await.unwrap();
    let mut states = Vec::new();
    loop {
        let change = changes.recv().await.unwrap();
        assert_eq!((change.client_message_id.as_str(), change.room_id.as_str()), (id.as_str(), ROOM));
        match change.state {
            OutboxState::Sent(receipt) => break assert_eq!(receipt.seq, 1),
            state => states.push(format!("{state:?}")),
        }
    }
    assert_eq!(states, ["Waiting(None)", "Sending"]);
}

#[tokio::test]
async fn a_file_serves_one_program_at_a_time() {
    let log = Log::new();
    let server = Server::start(&log);
    let device = Device::new(server.url());
    let _offline = device.start().await;
    let error = Store::open(device.file()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
}

#[tokio::test]
async fn the_timeline_is_read_offline_and_the_stream_goes_on_behind_it() {
    let log = Log::new();
    let server = Server::start(&log);
    let device = Device::new(server.url());
    let offline = device.start().await;
    let mut events = offline.events().await.unwrap();
    caught_up(&mut events).await;
    for text in ["a", "ben: b", "c"] {
        offline.outbox().send(message(text)).await.unwrap();
    }
    room_events(&mut events, 3).await;
    drop((events, offline, server));

    let offline = device.start().await;
    let timeline = offline.timeline(ROOM, 0, 2).await.unwrap();
    assert_eq!((texts(&timeline), timeline.more, timeline.stale), (vec!["ben: b", "c"], true, false));
    assert_eq!(texts(&offline.timeline(ROOM, 2, 10).await.unwrap()), ["a"]);
    drop(offline);

    let server = Server::start(&log);
    let device = Device { folder: device.folder, url: server.url() };
    let offline = device.start().await;
    let mut events = offline.events().await.unwrap();
    caught_up(&mut events).await;
    offline.outbox().send(message("d")).await.unwrap();
    room_events(&mut events, 1).await;
    assert_eq!(texts(&offline.timeline(ROOM, 0, 10).await.unwrap()), ["a", "ben: b", "c", "d"]);
}

#[tokio::test]
async fn what_the_file_lacks_is_read_from_the_server_when_it_is_there_and_named_when_not() {
    let log = Log::new();
    let server = Server::start(&log);
    let device = Device::new(server.url());
    let options = OfflineOptions::default().messages_kept(3);
    let offline = device.start_with(options).await;
    let mut events = offline.events().await.unwrap();
    caught_up(&mut events).await;
    for text in ["a", "b", "c", "d", "e"] {
        offline.outbox().send(message(text)).await.unwrap();
    }
    room_events(&mut events, 5).await;
    assert_eq!(texts(&offline.timeline(ROOM, 0, 10).await.unwrap()), ["a", "b", "c", "d", "e"]);
    drop((events, offline));

    let offline = device.start_with(options).await;
    let timeline = offline.timeline(ROOM, 0, 10).await.unwrap();
    assert_eq!((texts(&timeline), timeline.missing.as_slice()), (vec!["c", "d", "e"], [1..=2].as_slice()));
}
