//! The SDK's outbox and cache against the real server, which is killed, refuses and forgets.

use std::path::PathBuf;

use futures_util::TryStreamExt as _;
use relay_proto::chat::v1::RoomKind;
use relay_sdk::{
    Client, ErrorReason, Event, History, Message, OutgoingMessage, ResumeVerdict,
    offline::{Offline, OfflineEvents, Outbox, Store},
};
use tempfile::TempDir;

use crate::support::{Server, within};

/// A device of ana's: its file outlives its program.
struct Device(TempDir);

impl Device {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("ana.db")
    }

    /// Starts the program, which must have ended before.
    async fn start(&self, server: &Server) -> Offline {
        server.sdk("ana").offline(Store::open(self.file()).await.unwrap())
    }
}

async fn general(server: &Server) {
    server.user("ana").await.create_room("general", RoomKind::Private, &["ben"]).await;
}

fn message(text: &str) -> OutgoingMessage {
    OutgoingMessage::text("general", text)
}

/// Waits until nothing waits to be sent, parked messages aside.
async fn all_sent(outbox: &Outbox) {
    let mut changes = outbox.watch();
    let sent = async {
        while outbox.pending_all().await.unwrap().iter().any(|message| !message.parked) {
            changes.recv().await.unwrap();
        }
    };
    within("all to be sent", sent).await;
}

async fn listed(client: &Client) -> Vec<Message> {
    client.history_all(History::newer("general")).try_collect().await.unwrap()
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.text.as_str()).collect()
}

async fn until(events: &mut OfflineEvents, mut last: impl FnMut(&Event) -> bool) {
    let read = async { while !last(&events.next().await.unwrap().unwrap()) {} };
    within("an event", read).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_is_written_once_and_in_order_though_servers_and_programs_are_killed() {
    let mut server = Server::start();
    general(&server).await;
    let device = Device::new();
    let mut written = Vec::new();
    for round in 0..4 {
        let offline = device.start(&server).await;
        let mut changes = offline.outbox().watch();
        for number in 0..30 {
            let text = format!("{round}-{number}");
            offline.outbox().send(message(&text)).await.unwrap();
            written.push(text);
        }
        // In the middle of it, and once without a program.
        for _ in 0..20 {
            within("a change", changes.recv()).await.unwrap();
        }
        server.kill();
        if round % 2 == 0 {
            drop(offline);
        }
        server.restart();
    }
    let offline = device.start(&server).await;
    all_sent(offline.outbox()).await;
    let messages = listed(&server.sdk("ben")).await;
    assert_eq!(texts(&messages), written);
    let numbers: Vec<_> = messages.iter().map(|message| message.lane.as_ref().unwrap().client_seq).collect();
    assert_eq!(numbers, (1..=120).collect::<Vec<_>>());
    assert!(messages.iter().all(|message| message.lane.as_ref().unwrap().missing_before == 0));
}

#[tokio::test]
async fn a_refused_message_is_parked_while_the_others_go_on_and_sent_once_it_is_edited() {
    // Who waited for the number of the refused one would wait for longer than this test may take.
    let server = Server::with(&[("chat.lane_wait", "60s")]);
    general(&server).await;
    let device = Device::new();
    let offline = device.start(&server).await;
    let outbox = offline.outbox();
    outbox.send(message("a")).await.unwrap();
    let refused = outbox.send(message("hi @eve").with_mentions(mention_of("eve"))).await.unwrap();
    outbox.send(message("c")).await.unwrap();
    all_sent(outbox).await;
    assert_eq!(texts(&listed(&server.sdk("ben")).await), ["a", "c"]);
    let pending = outbox.pending("general").await.unwrap();
    assert_eq!(pending[0].refusal.as_ref().unwrap().reason, Some(ErrorReason::MentionInvalid));

    drop(offline);
    let offline = device.start(&server).await;
    offline.outbox().edit(&refused, "hi eve").await.unwrap();
    all_sent(offline.outbox()).await;
    let messages = listed(&server.sdk("ben")).await;
    assert_eq!(texts(&messages), ["a", "c", "hi eve"]);
    assert_eq!(messages[2].client_message_id, refused);
    assert!(messages.iter().all(|message| message.lane.as_ref().unwrap().missing_before == 0));
}

/// A mention of the last word of `hi @user`.
fn mention_of(user: &str) -> Vec<relay_sdk::Mention> {
    message(&format!("hi @{user}")).mention(user).mentions().to_vec()
}

#[tokio::test]
async fn two_devices_keep_their_own_order_in_one_room() {
    let server = Server::start();
    general(&server).await;
    let devices = [Device::new(), Device::new()];
    let (one, two) = (devices[0].start(&server).await, devices[1].start(&server).await);
    for number in 0..10 {
        one.outbox().send(message(&format!("one {number}"))).await.unwrap();
        two.outbox().send(message(&format!("two {number}"))).await.unwrap();
    }
    all_sent(one.outbox()).await;
    all_sent(two.outbox()).await;
    let messages = listed(&server.sdk("ben")).await;
    for device in ["one", "two"] {
        let own: Vec<_> = texts(&messages).into_iter().filter(|text| text.starts_with(device)).collect();
        assert_eq!(own, (0..10).map(|number| format!("{device} {number}")).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_came_while_a_message_waited_to_be_sent_stays_unread() {
    let mut server = Server::start();
    general(&server).await;
    let device = Device::new();
    let offline = device.start(&server).await;
    let mut events = offline.events().await.unwrap();
    until(&mut events, |event| matches!(event, Event::CaughtUp)).await;
    let seen = server.user("ben").await.say("general", "seen").await.seq;
    until(&mut events, |event| matches!(event, Event::Room(_))).await;
    offline.outbox().send(message("answer")).await.unwrap();
    until(&mut events, |event| matches!(event, Event::Room(_))).await;
    drop((events, offline));

    server.kill();
    let offline = device.start(&server).await;
    for text in ["late", "later"] {
        offline.outbox().send(message(text)).await.unwrap();
    }
    drop(offline);
    server.restart();
    let mut ben = server.user("ben").await;
    for text in ["unseen", "too"] {
        ben.say("general", text).await;
    }
    let offline = device.start(&server).await;
    all_sent(offline.outbox()).await;
    let mut events = offline.events().await.unwrap();
    until(&mut events, |event| matches!(event, Event::CaughtUp)).await;
    let unread = async || {
        let unread = offline.unread().await.unwrap();
        let room = unread.room("general").unwrap();
        (room.read_seq(), room.unread_count())
    };
    assert_eq!(unread().await, (seen + 1, 4), "all after the answer that was sent at once");

    offline.outbox().send(message("now")).await.unwrap();
    until(&mut events, |event| matches!(event, Event::Room(_))).await;
    assert_eq!(unread().await, (seen + 6, 0), "who writes among them has seen them");
}

#[tokio::test]
async fn a_timeline_is_read_without_a_server_and_its_gap_is_filled_with_one() {
    let mut server = Server::with(&[("chat.max_replay_events", "2")]);
    general(&server).await;
    let device = Device::new();
    let offline = device.start(&server).await;
    let mut events = offline.events().await.unwrap();
    until(&mut events, |event| matches!(event, Event::CaughtUp)).await;
    let mut ben = server.user("ben").await;
    ben.say("general", "before").await;
    until(&mut events, |event| matches!(event, Event::Room(_))).await;
    drop((events, offline));

    for number in 0..5 {
        ben.say("general", &format!("missed {number}")).await;
    }
    let offline = device.start(&server).await;
    let mut events = offline.events().await.unwrap();
    let mut gap = false;
    until(&mut events, |event| {
        gap |= matches!(event, Event::Resumed(room) if room.verdict() == ResumeVerdict::Gap);
        matches!(event, Event::CaughtUp)
    })
    .await;
    assert!(gap);
    ben.say("general", "after").await;
    until(&mut events, |event| matches!(event, Event::Room(_))).await;
    let whole = ["before", "missed 0", "missed 1", "missed 2", "missed 3", "missed 4", "after"];
    assert_eq!(texts(&offline.timeline("general", 0, 10).await.unwrap().messages), whole);
    drop((events, offline));

    server.kill();
    let offline = device.start(&server).await;
    let timeline = offline.timeline("general", 0, 10).await.unwrap();
    assert_eq!((texts(&timeline.messages), timeline.stale), (whole.to_vec(), false));
}

#[tokio::test]
async fn a_file_of_one_user_is_not_fed_with_the_events_of_another() {
    let server = Server::start();
    general(&server).await;
    let device = Device::new();
    let offline = device.start(&server).await;
    until(&mut offline.events().await.unwrap(), |event| matches!(event, Event::CaughtUp)).await;
    drop(offline);
    let offline = server.sdk("ben").offline(Store::open(device.file()).await.unwrap());
    let mut events = offline.events().await.unwrap();
    let error = within("the error", events.next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), relay_sdk::ErrorKind::Storage);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_message_that_was_written_before_it_came_to_the_outbox_holds_up_nothing_behind_it() {
    let server = Server::with(&[("chat.lane_wait", "1m")]);
    general(&server).await;
    let (device, ana) = (Device::new(), server.sdk("ana"));
    let offline = device.start(&server).await;
    let known = message("b");
    ana.send(known.clone()).await.unwrap();
    for message in [message("a"), known, message("c")] {
        offline.outbox().send(message).await.unwrap();
    }
    all_sent(offline.outbox()).await;
    let listed = listed(&ana).await;
    assert_eq!(texts(&listed), ["b", "a", "c"]);
    assert_eq!(listed[2].lane.as_ref().map(|place| (place.client_seq, place.missing_before)), Some((3, 0)));
}
