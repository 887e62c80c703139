//! Who types: told at once, over by itself, never in anybody's way.

use std::time::Duration;

use relay_proto::chat::v1::{
    self as wire, MemberRole, RoomKind, SetTypingRequest, TypingChanged, connect_request::Frame as Up, frame::Kind,
    reply::Result as Outcome,
};
use tokio::time::{Instant, interval};
use tonic::Code;

use crate::support::{Clients, Raw, RawStream, Server, Stream, Token, error_of, raw_stream, within};

fn set(room: &str, typing: bool) -> SetTypingRequest {
    SetTypingRequest { room_id: room.into(), typing }
}

/// The next word of who types; events are passed over.
async fn typing(stream: &mut Stream) -> TypingChanged {
    let next = async {
        loop {
            if let Kind::Typing(typing) = stream.next().await {
                return typing;
            }
        }
    };
    within("a word of who types", next).await
}

/// The next word, which must say that these type in the room.
async fn type_now(stream: &mut Stream, users: &[&str]) {
    let told = typing(stream).await;
    assert_eq!((told.room_id.as_str(), told.count), ("general", users.len() as u32));
    assert_eq!(told.user_ids, users);
}

/// A private room "general" of ana with these members, and a stream of each who is named after them.
async fn room(server: &Server, members: &[&str]) -> (Clients, Stream) {
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, members).await;
    let (stream, _) = Stream::caught_up(&ana, &[]).await;
    (ana, stream)
}

async fn stream_of(server: &Server, user: &str) -> (Clients, Stream) {
    let clients = server.user(user).await;
    let (stream, _) = Stream::caught_up(&clients, &[]).await;
    (clients, stream)
}

#[tokio::test]
async fn who_types_is_told_at_once_and_stops_by_themselves_and_nothing_of_it_is_stored() {
    const TIMEOUT: Duration = Duration::from_millis(1_500);
    let server = Server::with(&[("chat.typing_timeout", "1500ms")]);
    let (mut ana, of_ana) = room(&server, &["ben"]).await;
    let (_ben, mut of_ben) = stream_of(&server, "ben").await;
    let begun = Instant::now();
    of_ana.send("", Up::SetTyping(set("general", true))).await;
    type_now(&mut of_ben, &["ana"]).await;
    println!("told after {:?}", begun.elapsed());
    type_now(&mut of_ben, &[]).await;
    let took = begun.elapsed();
    println!("over after {took:?}");
    assert!(took >= TIMEOUT && took < TIMEOUT * 2, "{took:?}");
    assert_eq!(ana.say("general", "done").await.position, 3, "typing is no event");
}

#[tokio::test]
async fn who_says_it_again_goes_on_typing_without_a_word_to_anybody() {
    const TIMEOUT: Duration = Duration::from_millis(900);
    let server = Server::with(&[("chat.typing_timeout", "900ms")]);
    let (_ana, of_ana) = room(&server, &["ben"]).await;
    let (_ben, mut of_ben) = stream_of(&server, "ben").await;
    let mut pace = interval(TIMEOUT / 3);
    let mut said = Instant::now();
    for _ in 0..9 {
        pace.tick().await;
        said = Instant::now();
        of_ana.send("", Up::SetTyping(set("general", true))).await;
    }
    type_now(&mut of_ben, &["ana"]).await;
    type_now(&mut of_ben, &[]).await;
    assert!(said.elapsed() >= TIMEOUT - Duration::from_millis(50), "{:?} after the last word", said.elapsed());
}

#[tokio::test]
async fn typing_ends_with_the_word_with_the_message_with_the_membership_and_with_the_stream() {
    // What ends by itself comes too late for this test.
    let server = Server::with(&[("chat.typing_timeout", "1m")]);
    let (mut ana, mut of_ana) = room(&server, &["ben", "cy"]).await;
    let (mut ben, of_ben) = stream_of(&server, "ben").await;
    let mut other_ben = server.user("ben").await;

    of_ben.send("", Up::SetTyping(set("general", true))).await;
    type_now(&mut of_ana, &["ben"]).await;
    of_ben.send("", Up::SetTyping(set("general", false))).await;
    type_now(&mut of_ana, &[]).await;

    ben.chat.set_typing(set("general", true)).await.unwrap();
    type_now(&mut of_ana, &["ben"]).await;
    other_ben.say("general", "from another device").await;
    type_now(&mut of_ana, &[]).await;

    of_ben.send("", Up::SetTyping(set("general", true))).await;
    type_now(&mut of_ana, &["ben"]).await;
    ana.say("general", "it is not ben's").await;
    let (_cy, of_cy) = stream_of(&server, "cy").await;
    of_cy.send("", Up::SetTyping(set("general", true))).await;
    type_now(&mut of_ana, &["ben", "cy"]).await;
    let request = wire::RemoveMemberRequest { room_id: "general".into(), user_id: "ben".into() };
    ana.rooms.remove_member(request).await.unwrap();
    type_now(&mut of_ana, &["cy"]).await;
    drop(of_cy);
    type_now(&mut of_ana, &[]).await;
}

#[tokio::test]
async fn of_many_who_type_the_first_twenty_are_named_and_all_are_counted() {
    let server = Server::with(&[("chat.typing_timeout", "1m")]);
    let users: Vec<String> = (0..25).map(|n| format!("user-{n:02}")).collect();
    let (_ana, mut of_ana) = room(&server, &users.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // All at one node, so that there is an order.
    for user in &users {
        server.node(0).user(user).await.chat.set_typing(set("general", true)).await.unwrap();
    }
    let mut frames = 0;
    let last = loop {
        frames += 1;
        let told = typing(&mut of_ana).await;
        if told.count == 25 {
            break told;
        }
    };
    println!("{frames} frames");
    assert_eq!(last.user_ids, users[..20]);
    assert!(frames <= 25);
}

#[tokio::test]
async fn a_stream_that_opens_later_is_told_who_types() {
    let server = Server::with(&[("chat.typing_timeout", "1m")]);
    let (_ana, mut of_ana) = room(&server, &["ben"]).await;
    of_ana.send("", Up::SetTyping(set("general", true))).await;
    type_now(&mut of_ana, &["ana"]).await;
    // At the same node: another hears of it with the next word that ana types.
    let ben = server.node(0).user("ben").await;
    let mut of_ben = Stream::open(&ben, &[]).await;
    type_now(&mut of_ben, &["ana"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stalls_gets_the_newest_word_ahead_of_the_messages_that_wait() {
    const MESSAGES: u64 = 400;
    let server = Server::with(&[("chat.typing_timeout", "1m")]);
    let (mut ana, mut of_ana) = room(&server, &["ben", "cy"]).await;
    let mut stalled = RawStream::connect(server.address(), "ben", &[("general", 3)], raw_stream::NARROW).await;
    let mut cy = server.user("cy").await;
    ana.say_all("general", (0..MESSAGES).map(|n| format!("{n:08000}"))).await;
    for round in 0..11 {
        let types = round % 2 == 0;
        cy.chat.set_typing(set("general", types)).await.unwrap();
        type_now(&mut of_ana, if types { &["cy"] } else { &[] }).await;
    }
    // Then it reads.
    let (mut events, mut words, mut before, mut last) = (0, 0, 0, None);
    while events < MESSAGES {
        match stalled.next().await.unwrap() {
            Kind::Event(_) => events += 1,
            Kind::Typing(typing) => {
                (words, before) = (words + 1, events);
                last = Some(typing.user_ids);
            }
            _ => {}
        }
    }
    println!("{words} words, the last after {before} messages");
    assert_eq!(last.unwrap(), ["cy"]);
    assert!(words <= 3, "{words} words");
    // What the sockets hold by then is on its way already; the queue holds 32 messages more.
    assert!(before < 40, "the newest word came after {before} messages");
}

#[tokio::test]
async fn who_may_not_send_may_not_type_and_is_told_why() {
    let server = Server::start();
    let (mut ana, _of_ana) = room(&server, &["ben"]).await;
    ana.add("general", "rae", MemberRole::ReadOnly).await;
    let raw = Raw::connect(&server.url()).await;
    let call = async |user: &str, room: &str| {
        let raw = raw.bearer(&Token::of(user).sign());
        error_of(&raw.call("ChatService/SetTyping", set(room, true)).await.unwrap_err())
    };
    assert_eq!(call("rae", "general").await, (Code::PermissionDenied, "ROLE_INSUFFICIENT".into(), vec![]));
    assert_eq!(call("eve", "general").await, (Code::NotFound, "ROOM_NOT_FOUND".into(), vec![]));
    assert_eq!(call("ben", "no room").await, (Code::InvalidArgument, "FIELD_INVALID".into(), vec!["room_id".into()]));

    let (_rae, mut of_rae) = stream_of(&server, "rae").await;
    let refused = [
        (set("general", true), "ERROR_REASON_ROLE_INSUFFICIENT"),
        (set("missing", true), "ERROR_REASON_ROOM_NOT_FOUND"),
        (set("missing", false), "ERROR_REASON_ROOM_NOT_FOUND"),
        (set("", true), "ERROR_REASON_FIELD_INVALID"),
    ];
    for (request, reason) in refused {
        // Also those that ask for no answer.
        for id in ["id", ""] {
            of_rae.send(id, Up::SetTyping(request.clone())).await;
            let Outcome::Error(error) = of_rae.reply(id).await else { panic!("{request:?} is allowed") };
            assert_eq!(error.reason().as_str_name(), reason, "{request:?}");
        }
    }
}

#[tokio::test]
async fn who_was_muted_or_blocked_may_not_type_either() {
    let server = Server::start();
    let (mut ana, _of_ana) = room(&server, &["ben"]).await;
    let mut ben = server.user("ben").await;
    let request = wire::GetDirectRoomRequest { user_id: "ben".into() };
    let direct = ana.rooms.get_direct_room(request).await.unwrap().into_inner().room.unwrap().room.unwrap().room_id;
    ben.chat.set_typing(set(&direct, true)).await.unwrap();
    let seconds = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap() + 60;
    let muted_until = Some(prost_types::Timestamp { seconds, nanos: 0 });
    let mute = wire::MuteMemberRequest { room_id: "general".into(), user_id: "ben".into(), muted_until };
    ana.moderation.mute_member(mute).await.unwrap();
    ana.moderation.block_user(wire::BlockUserRequest { user_id: "ben".into() }).await.unwrap();
    for (room, reason) in [("general", "MEMBER_MUTED"), (&direct, "USER_BLOCKED")] {
        let status = ben.chat.set_typing(set(room, true)).await.unwrap_err();
        assert_eq!(error_of(&status), (Code::PermissionDenied, reason.into(), vec![]));
    }
}

/// Types on and on until that is refused; answers why.
async fn refused_at_last(typist: &mut Stream, room: &str) -> &'static str {
    let mut pace = interval(Duration::from_millis(200));
    let type_on = async {
        loop {
            pace.tick().await;
            typist.send("on", Up::SetTyping(set(room, true))).await;
            match typist.reply("on").await {
                Outcome::Done(_) => {}
                Outcome::Error(error) => return error.reason().as_str_name(),
                other => panic!("{other:?}"),
            }
        }
    };
    within("a refusal", type_on).await
}

#[tokio::test]
async fn who_is_muted_demoted_or_blocked_while_typing_is_refused_and_stops() {
    let server = Server::with(&[("chat.typing_timeout", "900ms")]);
    let mut ana = server.user("ana").await;
    let request = wire::GetDirectRoomRequest { user_id: "dee".into() };
    let direct = ana.rooms.get_direct_room(request).await.unwrap().into_inner().room.unwrap().room.unwrap().room_id;
    let (mut ana, mut of_ana) = room(&server, &["ben", "cy"]).await;
    let seconds = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap() + 60;
    let muted_until = Some(prost_types::Timestamp { seconds, nanos: 0 });
    for (user, room, reason) in [
        ("ben", "general", "ERROR_REASON_MEMBER_MUTED"),
        ("cy", "general", "ERROR_REASON_ROLE_INSUFFICIENT"),
        ("dee", &*direct, "ERROR_REASON_USER_BLOCKED"),
    ] {
        let (_, mut typist) = stream_of(&server, user).await;
        typist.send("", Up::SetTyping(set(room, true))).await;
        let told = typing(&mut of_ana).await;
        assert_eq!((told.room_id.as_str(), told.user_ids), (room, vec![user.to_owned()]));
        let (room_id, user_id) = (room.to_owned(), user.to_owned());
        if user == "ben" {
            ana.moderation.mute_member(wire::MuteMemberRequest { room_id, user_id, muted_until }).await.unwrap();
        } else if user == "cy" {
            let role = MemberRole::ReadOnly.into();
            ana.rooms.update_member(wire::UpdateMemberRequest { room_id, user_id, role }).await.unwrap();
        } else {
            ana.moderation.block_user(wire::BlockUserRequest { user_id }).await.unwrap();
        }
        assert_eq!(refused_at_last(&mut typist, room).await, reason);
        let told = typing(&mut of_ana).await;
        assert_eq!((told.room_id.as_str(), told.count), (room, 0));
    }
}

#[tokio::test]
async fn who_goes_on_typing_is_looked_up_once_in_each_timeout() {
    let server = Server::alone(&[("chat.typing_timeout", "1m")]);
    let (_ana, mut of_ana) = room(&server, &[]).await;
    of_ana.send("first", Up::SetTyping(set("general", true))).await;
    of_ana.reply("first").await;
    // What else the node reads by itself comes now and then.
    let before = server.metric("relay_database_reads_total").await;
    for _ in 0..200 {
        of_ana.send("", Up::SetTyping(set("general", true))).await;
    }
    of_ana.send("last", Up::SetTyping(set("general", true))).await;
    of_ana.reply("last").await;
    let reads = server.metric("relay_database_reads_total").await - before;
    assert!(reads < 100.0, "{reads} reads");
}

#[tokio::test]
async fn a_word_is_answered_only_if_it_asks_for_it() {
    let server = Server::start();
    let (_ana, mut of_ana) = room(&server, &[]).await;
    for id in ["", "", "3"] {
        of_ana.send(id, Up::SetTyping(set("general", true))).await;
    }
    let frames = of_ana.until(|kind| matches!(kind, Kind::Reply(_))).await;
    let Some(Kind::Reply(reply)) = frames.last() else { panic!() };
    assert_eq!((reply.request_id.as_str(), &reply.result), ("3", &Some(Outcome::Done(wire::Done {}))));
}

#[tokio::test]
async fn typing_in_another_project_or_room_is_not_heard() {
    let server = Server::start();
    let (mut ana, of_ana) = room(&server, &["ben"]).await;
    ana.create_room("other", RoomKind::Private, &[]).await;
    let (_ben, mut of_ben) = stream_of(&server, "ben").await;
    of_ana.send("1", Up::SetTyping(set("other", true))).await;
    of_ana.send("2", Up::SetTyping(set("general", true))).await;
    type_now(&mut of_ben, &["ana"]).await;
}
