//! The SDK's receipts, counts, presence and typing against the real server.

use relay_proto::chat::v1::RoomKind;
use relay_sdk::{
    Client, Event, Events, MessageState, NewRoom, OutgoingMessage, PresenceState, RoomChanges, RoomEventKind, Search,
    SettingsChanges, Unread, UnreadRoom,
};

use crate::support::{Server, eventually, within};

async fn until(events: &mut Events, mut last: impl FnMut(&Event) -> bool) -> Event {
    let read = async {
        loop {
            let event = events.next().await.unwrap().unwrap();
            if last(&event) {
                return event;
            }
        }
    };
    within("an event", read).await
}

async fn open(client: &Client) -> Events {
    let mut events = client.events();
    until(&mut events, |event| matches!(event, Event::CaughtUp)).await;
    events
}

async fn general(server: &Server) {
    server.user("ana").await.create_room("general", RoomKind::Private, &["ben"]).await;
}

async fn say(client: &Client, text: &str) -> u64 {
    client.send(OutgoingMessage::text("general", text).mention("ben")).await.unwrap().seq
}

async fn state(client: &Client, seq: u64) -> MessageState {
    client.get_message(("general", seq)).await.unwrap().status.unwrap().state()
}

#[tokio::test]
async fn what_a_stream_yields_is_delivered_by_itself_and_read_when_it_is_said() {
    let server = Server::start();
    general(&server).await;
    let (ana, ben) = (server.sdk("ana"), server.sdk("ben"));
    let (mut at_ana, mut at_ben) = (open(&ana).await, open(&ben).await);
    let seq = say(&ana, "hi").await;
    assert_eq!(state(&ana, seq).await, MessageState::Sent);
    until(&mut at_ben, |event| matches!(event, Event::Room(_))).await;
    let bens = |event: &Event, read: bool| match event {
        Event::Receipts(changed) => changed.receipts.iter().any(|receipt| {
            receipt.user_id == "ben" && if read { receipt.read_seq == seq } else { receipt.delivered_seq == seq }
        }),
        _ => false,
    };
    until(&mut at_ana, |event| bens(event, false)).await;
    assert_eq!(state(&ana, seq).await, MessageState::Delivered);
    ben.mark_read("general", seq);
    until(&mut at_ana, |event| bens(event, true)).await;
    assert_eq!(state(&ana, seq).await, MessageState::Read);
    let readers = ana.list_receipts("general", seq, 0, None).await.unwrap().items;
    assert_eq!(readers.iter().map(|receipt| receipt.user_id.as_str()).collect::<Vec<_>>(), ["ana", "ben"]);
}

#[tokio::test]
async fn every_device_counts_the_same_as_the_server_across_kills() {
    let mut server = Server::start();
    general(&server).await;
    let (ana, devices) = (server.sdk("ana"), [server.sdk("ben"), server.sdk("ben")]);
    let mut streams = [open(&devices[0]).await, open(&devices[1]).await];
    let mut counts = [Unread::new(), Unread::new()];
    // The streams were read up to their end to be open: what they told then is asked for again.
    for (device, count) in devices.iter().zip(&mut counts) {
        count.membership(&device.get_room("general").await.unwrap().state.unwrap());
    }
    for round in 0..3 {
        for text in ["plain", "hi @ben", "again @ben"] {
            let seq = say(&ana, text).await;
            if text == "again @ben" && round == 1 {
                ana.edit(("general", seq), "without").await.unwrap();
            }
        }
        match round {
            0 => devices[0].mark_read("general", 2),
            1 => drop(say(&devices[1], "an answer").await),
            _ => ana.delete(("general", 9)).await.unwrap(),
        }
        server.kill();
        server.restart();
        for (stream, count) in streams.iter_mut().zip(&mut counts) {
            let caught_up = |event: &Event| {
                count.apply(event);
                matches!(event, Event::CaughtUp)
            };
            until(stream, caught_up).await;
        }
    }
    // What the server lost by being killed, the devices tell it again when their streams are back.
    let expected = (3, vec![10]);
    for (stream, count) in streams.iter_mut().zip(&mut counts) {
        let agree = async {
            while count.room("general").map(counted) != Some(expected.clone()) {
                count.apply(&stream.next().await.unwrap().unwrap());
            }
        };
        within("the counts to agree", agree).await;
    }
    eventually("the server to count the same", async || {
        let state = devices[0].get_room("general").await.unwrap().state.unwrap();
        (state.unread_count, state.unread_mention_seqs) == expected
    })
    .await;
}

/// Waits until the server counts nothing as unread for the client's user.
async fn all_read(client: &Client) {
    eventually("the server to count nothing as unread", async || {
        let state = client.get_room("general").await.unwrap().state.unwrap();
        state.last_seq > 0 && state.unread_count == 0 && state.unread_mention_seqs.is_empty()
    })
    .await;
}

#[tokio::test]
async fn what_the_user_wrote_on_another_device_is_read_again_after_a_kill() {
    // Cursors wait in the memory of one node, and are lost with it.
    let mut server = Server::alone(&[("chat.receipt_interval", "1m")]);
    general(&server).await;
    let ana = server.sdk("ana");
    let mut events = open(&ana).await;
    let positions = events.positions().clone();
    let gone = server.sdk("ana");
    gone.send(OutgoingMessage::text("general", "hi @room").mention_room()).await.unwrap();
    until(&mut events, |event| matches!(event, Event::Room(_))).await;
    server.kill();
    server.restart();
    until(&mut events, |event| matches!(event, Event::CaughtUp)).await;
    all_read(&ana).await;

    // A program that has seen nothing of it is told by the replay.
    drop((events, ana, gone));
    server.kill();
    server.restart();
    let ana = server.sdk("ana");
    let mut events = ana.events_from(positions);
    until(&mut events, |event| matches!(event, Event::CaughtUp)).await;
    all_read(&ana).await;
}

fn counted(room: &UnreadRoom) -> (u64, Vec<u64>) {
    (room.unread_count(), room.unread_mentions().collect())
}

#[tokio::test]
async fn typing_presence_and_settings_reach_those_whom_they_concern() {
    let server = Server::start();
    general(&server).await;
    let (ana, ben, phone) = (server.sdk("ana"), server.sdk("ben"), server.sdk("ben"));
    ana.watch_presence(["general"]).await;
    let (mut at_ana, _at_ben, mut at_phone) = (open(&ana).await, open(&ben).await, open(&phone).await);
    ben.typing("general").await.unwrap();
    until(&mut at_ana, |event| matches!(event, Event::Typing(typing) if typing.user_ids == ["ben"])).await;
    say(&ben, "done").await;
    until(&mut at_ana, |event| matches!(event, Event::Typing(typing) if typing.user_ids.is_empty())).await;

    ben.set_status_text("at lunch").await.unwrap();
    until(&mut at_ana, |event| matches!(event, Event::Presence(user) if user.status_text == "at lunch")).await;
    ben.set_away(true).await;
    phone.set_away(true).await;
    until(&mut at_ana, |event| matches!(event, Event::Presence(user) if user.state() == PresenceState::Away)).await;
    assert_eq!(ana.get_presence(["ben"]).await.unwrap()[0].state(), PresenceState::Away);

    ben.update_room_settings("general", SettingsChanges::new().favourite(true)).await.unwrap();
    let told = |event: &Event| match event {
        Event::Memberships(state) => state.settings.as_ref().is_some_and(|settings| settings.favourite),
        _ => false,
    };
    until(&mut at_phone, told).await;
}

#[tokio::test]
async fn a_watch_and_being_away_outlast_a_restart_of_the_server() {
    let mut server = Server::start();
    general(&server).await;
    let (ana, ben) = (server.sdk("ana"), server.sdk("ben"));
    ana.watch_presence(["general"]).await;
    let (mut at_ana, mut at_ben) = (open(&ana).await, open(&ben).await);
    ben.set_away(true).await;
    let away = |event: &Event| match event {
        Event::Presence(user) => user.user_id == "ben" && user.state() == PresenceState::Away,
        Event::RoomPresence(room) => {
            room.present.iter().any(|user| user.user_id == "ben" && user.state() == PresenceState::Away)
        }
        _ => false,
    };
    until(&mut at_ana, away).await;
    server.kill();
    server.restart();
    until(&mut at_ben, |event| matches!(event, Event::CaughtUp)).await;
    until(&mut at_ana, |event| matches!(event, Event::Connected(_))).await;
    until(&mut at_ana, away).await;
}

#[tokio::test]
async fn a_watched_room_that_the_user_joins_later_is_watched() {
    let server = Server::start();
    let (ana, ben) = (server.sdk("ana"), server.sdk("ben"));
    ana.watch_presence(["lobby"]).await;
    let (mut at_ana, _at_ben) = (open(&ana).await, open(&ben).await);
    ben.create_room(NewRoom::public("lobby")).await.unwrap();
    ana.join_room("lobby").await.unwrap();
    let there = |event: &Event| match event {
        Event::RoomPresence(room) => room.present.iter().any(|user| user.user_id == "ben"),
        Event::Presence(user) => user.user_id == "ben",
        _ => false,
    };
    until(&mut at_ana, there).await;
}

#[tokio::test]
async fn blocked_users_are_known_on_every_device() {
    let server = Server::start();
    general(&server).await;
    let (one, two) = (server.sdk("ana"), server.sdk("ana"));
    let mut at_two = open(&two).await;
    assert!(two.blocked_users().await.unwrap().is_empty());
    one.block_user("ben").await.unwrap();
    until(&mut at_two, |event| matches!(event, Event::Block { blocked: true, .. })).await;
    assert!(two.blocked_users().await.unwrap().contains("ben"));
    one.unblock_user("ben").await.unwrap();
    until(&mut at_two, |event| matches!(event, Event::Block { blocked: false, .. })).await;
    assert!(two.blocked_users().await.unwrap().is_empty());
    assert!(one.blocked_users().await.unwrap().is_empty());
}

#[tokio::test]
async fn moderation_pins_and_search_are_called_as_the_contract_says() {
    let server = Server::start();
    general(&server).await;
    let (ana, ben) = (server.sdk("ana"), server.sdk("ben"));
    let mut at_ben = open(&ben).await;
    let seq = say(&ana, "the quick brown fox").await;
    eventually("the message to be found", async || {
        let found = ben.search(Search::new("\"quick brown\"").room("general")).await.unwrap().items;
        found.first().is_some_and(|result| {
            result.message.as_ref().is_some_and(|message| message.seq == seq) && !result.highlights.is_empty()
        })
    })
    .await;
    ana.pin(("general", seq)).await.unwrap();
    assert_eq!(ben.list_pinned("general").await.unwrap()[0].pinned_by, "ana");
    ana.unpin(("general", seq)).await.unwrap();
    ben.report(("general", seq), relay_sdk::ReportCategory::Spam, "foxes").await.unwrap();
    ana.update_room("general", RoomChanges::new().slow_mode(60)).await.unwrap();
    say(&ben, "first").await;
    let slow = ben.send(OutgoingMessage::text("general", "second")).await.unwrap_err();
    assert_eq!(slow.reason(), Some(relay_sdk::ErrorReason::SlowMode));
    assert!(slow.retry_after().is_some());
    ana.delete_with_reason(("general", seq), "off topic").await.unwrap();
    ana.ban("general", "ben", "enough", None).await.unwrap();
    let mut kinds = Vec::new();
    until(&mut at_ben, |event| {
        if let Event::Room(event) = event {
            kinds.push(event.kind.clone());
        }
        matches!(event, Event::Resumed(_))
            || matches!(kinds.last(), Some(RoomEventKind::MemberLeft { banned: true, .. }))
    })
    .await;
    assert!(kinds.contains(&RoomEventKind::MessagePinned { seq }));
    assert!(kinds.contains(&RoomEventKind::MessageDeleted { seq, reason: "off topic".into() }));
    assert_eq!(ana.list_bans("general", 0, None).await.unwrap().items[0].reason, "enough");
    ana.unban("general", "ben").await.unwrap();
}
