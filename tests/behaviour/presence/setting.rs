//! What is asked for by calls, and what is refused.

use prost::Message as _;
use relay_proto::chat::v1::{
    GetPresenceRequest, OpenStream, RoomKind, SetPresenceRequest, SubscribeRequest, WatchPresence,
    connect_request::Frame as Up, frame::Kind, reply::Result as Outcome,
};
use tonic::Code;
use uuid::Uuid;

use super::{Away, Offline, Online, Watcher, get, watch};
use crate::support::{Raw, Server, Stream, Token, error_of};

fn users(ids: &[&str]) -> GetPresenceRequest {
    GetPresenceRequest { user_ids: ids.iter().map(|id| (*id).to_owned()).collect() }
}

fn state(number: i32) -> SetPresenceRequest {
    SetPresenceRequest { state: number, ..SetPresenceRequest::default() }
}

fn status(text: &str) -> SetPresenceRequest {
    SetPresenceRequest { status_text: Some(text.into()), ..SetPresenceRequest::default() }
}

#[tokio::test]
async fn one_learns_only_of_those_with_whom_one_shares_a_room_in_the_order_of_the_question() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["ben", "cy"]).await;
    let mut eve = server.user("eve").await;
    eve.create_room("elsewhere", RoomKind::Private, &["ben"]).await;
    let names = |presences: Vec<relay_proto::chat::v1::UserPresence>| {
        presences.into_iter().map(|presence| presence.user_id).collect::<Vec<_>>()
    };
    assert_eq!(names(get(&ana, &["cy", "eve", "nobody", "ana", "ben"]).await), ["cy", "ana", "ben"]);
    assert_eq!(names(get(&eve, &["ana", "cy"]).await), [""; 0]);
    assert_eq!(names(get(&eve, &["ben", "eve"]).await), ["ben", "eve"]);
    let request = relay_proto::chat::v1::LeaveRoomRequest { room_id: "general".into() };
    server.user("ben").await.rooms.leave_room(request).await.unwrap();
    assert_eq!(names(get(&ana, &["ben", "cy"]).await), ["cy"]);
}

#[tokio::test]
async fn who_was_blocked_learns_nothing_of_who_blocked_them() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["ben", "cy"]).await;
    let ben = server.user("ben").await;
    let block = relay_proto::chat::v1::BlockUserRequest { user_id: "ben".into() };
    ana.moderation.block_user(block).await.unwrap();
    let known = get(&ben, &["ana", "cy"]).await;
    assert_eq!(known.iter().map(|presence| presence.user_id.as_str()).collect::<Vec<_>>(), ["cy"]);
    assert_eq!(get(&ana, &["ben"]).await.len(), 1, "they still learn of whom they blocked");
}

#[tokio::test]
async fn bad_calls_are_refused_with_their_field() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &[]).await;
    let raw = Raw::connect(&server.url()).await.bearer(&Token::of("ana").sign());
    let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    let many = GetPresenceRequest { user_ids: many };
    let session = |id: &str| SetPresenceRequest { session_id: id.into(), ..state(Online.into()) };
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("PresenceService/GetPresence", users(&[]).encode_to_vec(), "user_ids"),
        ("PresenceService/GetPresence", many.encode_to_vec(), "user_ids"),
        ("PresenceService/GetPresence", users(&["ben", "no user"]).encode_to_vec(), "user_ids[1]"),
        ("PresenceService/SetPresence", state(Offline.into()).encode_to_vec(), "state"),
        ("PresenceService/SetPresence", state(99).encode_to_vec(), "state"),
        ("PresenceService/SetPresence", status(&"x".repeat(257)).encode_to_vec(), "status_text"),
        ("PresenceService/SetPresence", status("a\nb").encode_to_vec(), "status_text"),
        ("PresenceService/SetPresence", session("not a uuid").encode_to_vec(), "session_id"),
    ];
    for (method, request, field) in rows {
        let expected = (Code::InvalidArgument, "FIELD_INVALID".to_owned(), vec![field.to_owned()]);
        let status = raw.call_bytes(method, request.into()).await.unwrap_err();
        assert_eq!(error_of(&status), expected, "{method}");
    }
    ana.presence.set_presence(status(&"é".repeat(128))).await.unwrap();

    let unknown = session(&Uuid::new_v4().to_string());
    let answer = error_of(&ana.presence.set_presence(unknown).await.unwrap_err());
    assert_eq!(answer, (Code::NotFound, "SESSION_NOT_FOUND".into(), vec![]));
}

#[tokio::test]
async fn bad_frames_are_refused_with_their_field_and_the_stream_goes_on() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &[]).await;
    let mut stream = Stream::open(&ana, &[]).await;
    let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    let rows = [
        (Up::SetPresence(state(Offline.into())), "state"),
        (Up::SetPresence(status("\u{7f}")), "status_text"),
        (Up::WatchPresence(WatchPresence { room_ids: many.clone() }), "room_ids"),
        (Up::WatchPresence(watch(&["general", "no room"])), "room_ids[1]"),
        (Up::WatchPresence(watch(&["general", "x", "general"])), "room_ids[2]"),
    ];
    for (frame, field) in rows {
        stream.send("", frame).await;
        let Outcome::Error(error) = stream.reply("").await else { panic!("{field} is allowed") };
        assert_eq!((error.reason().as_str_name(), error.field_violations.len()), ("ERROR_REASON_FIELD_INVALID", 1));
        assert_eq!(error.field_violations[0].field, field);
    }
    for (rooms, field) in
        [(many, "open.watch_presence.room_ids"), (vec![String::new()], "open.watch_presence.room_ids[0]")]
    {
        let watch_presence = Some(WatchPresence { room_ids: rooms });
        let open = OpenStream { watch_presence, ..OpenStream::default() };
        let opened = ana.chat.subscribe(SubscribeRequest { open: Some(open) }).await;
        assert_eq!(error_of(&opened.unwrap_err()).2, [field]);
    }
}

#[tokio::test]
async fn a_call_sets_one_stream_or_all_on_whichever_node_they_are() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["ben"]).await;
    let mut watcher = Watcher::open(&ana, &["general"]).await;
    let (mut ben, mut other) = (server.user("ben").await, server.user("ben").await);
    let (mut first, mut second) = (Stream::silent(&ben).await, Stream::silent(&other).await);
    let mut sessions = Vec::new();
    for stream in [&mut first, &mut second] {
        stream.send("", Up::Open(OpenStream::default())).await;
        let Kind::Hello(hello) = stream.next().await else { panic!("no hello") };
        sessions.push(hello.session_id);
    }
    watcher.until_state("ben", Online).await;
    let one = |session: &str, state: super::PresenceState| SetPresenceRequest {
        session_id: session.into(),
        state: state.into(),
        status_text: None,
    };
    // Each by a call to either node.
    for clients in [&mut ben, &mut other] {
        for session in &sessions {
            clients.presence.set_presence(one(session, Away)).await.unwrap();
        }
        watcher.until_state("ben", Away).await;
        clients.presence.set_presence(one("", Online)).await.unwrap();
        watcher.until_state("ben", Online).await;
        clients.presence.set_presence(one("", Away)).await.unwrap();
        watcher.until_state("ben", Away).await;
        clients.presence.set_presence(one(&sessions[0], Online)).await.unwrap();
        watcher.until_state("ben", Online).await;
    }
    let mut eve = server.user("eve").await;
    let answer = error_of(&eve.presence.set_presence(one(&sessions[0], Away)).await.unwrap_err());
    assert_eq!(answer.1, "SESSION_NOT_FOUND", "it is another's");
}
