//! Isolation: whoever has no part in a room learns nothing of it, whatever they call.

use prost::Message as _;
use prost_types::FieldMask;
use relay_proto::chat::v1::{
    self as wire, ConnectRequest, MemberRole, NewMember, OpenStream, ResumeVerdict, RoomKind, RoomPosition,
    connect_request::Frame as Up, frame::Kind, reply::Result as Outcome,
};
use tonic::Code;

use crate::support::{Raw, Server, Stream, Token, error_of, message, methods};

/// Every call that names a room, as `(method, request)`; none of them is out of any limit.
fn calls(room: &str) -> Vec<(&'static str, Vec<u8>)> {
    let room_id = || room.to_owned();
    let user_id = || "ana".to_owned();
    let emoji = || "x".to_owned();
    let update_mask = Some(FieldMask { paths: vec!["title".into()] });
    let members = vec![NewMember { user_id: "fay".into(), role: MemberRole::Owner.into() }];
    vec![
        ("ChatService/SendMessage", message(room, "x").encode_to_vec()),
        (
            "ChatService/EditMessage",
            wire::EditMessageRequest { room_id: room_id(), seq: 1, text: "x".into(), ..Default::default() }
                .encode_to_vec(),
        ),
        (
            "ChatService/DeleteMessage",
            wire::DeleteMessageRequest { room_id: room_id(), seq: 1, reason: String::new() }.encode_to_vec(),
        ),
        (
            "ChatService/AddReaction",
            wire::AddReactionRequest { room_id: room_id(), seq: 1, emoji: emoji() }.encode_to_vec(),
        ),
        (
            "ChatService/RemoveReaction",
            wire::RemoveReactionRequest { room_id: room_id(), seq: 1, emoji: emoji() }.encode_to_vec(),
        ),
        (
            "ChatService/SkipLane",
            wire::SkipLaneRequest { room_id: room_id(), lane_id: "l".into(), first_client_seq: 1, last_client_seq: 0 }
                .encode_to_vec(),
        ),
        ("ChatService/GetMessage", wire::GetMessageRequest { room_id: room_id(), seq: 1 }.encode_to_vec()),
        ("ChatService/GetMessage", wire::GetMessageRequest { room_id: room_id(), seq: 99 }.encode_to_vec()),
        (
            "ChatService/ListMessages",
            wire::ListMessagesRequest { room_id: room_id(), ..Default::default() }.encode_to_vec(),
        ),
        ("ChatService/SetTyping", wire::SetTypingRequest { room_id: room_id(), typing: true }.encode_to_vec()),
        ("ChatService/SetTyping", wire::SetTypingRequest { room_id: room_id(), typing: false }.encode_to_vec()),
        (
            "ChatService/SearchMessages",
            wire::SearchMessagesRequest { query: "secret".into(), room_ids: vec![room_id()], ..Default::default() }
                .encode_to_vec(),
        ),
        (
            "ChatService/UpdateReceipts",
            wire::UpdateReceiptsRequest { room_id: room_id(), delivered_seq: 1, read_seq: 99 }.encode_to_vec(),
        ),
        (
            "ChatService/ListReceipts",
            wire::ListReceiptsRequest { room_id: room_id(), ..Default::default() }.encode_to_vec(),
        ),
        (
            "RoomService/UpdateRoomSettings",
            wire::UpdateRoomSettingsRequest {
                room_id: room_id(),
                settings: None,
                update_mask: Some(FieldMask { paths: vec!["favourite".into()] }),
            }
            .encode_to_vec(),
        ),
        (
            "RoomService/UpdateRoom",
            wire::UpdateRoomRequest { room_id: room_id(), title: "x".into(), update_mask, ..Default::default() }
                .encode_to_vec(),
        ),
        ("RoomService/DeleteRoom", wire::DeleteRoomRequest { room_id: room_id() }.encode_to_vec()),
        ("RoomService/AddMembers", wire::AddMembersRequest { room_id: room_id(), members }.encode_to_vec()),
        (
            "RoomService/RemoveMember",
            wire::RemoveMemberRequest { room_id: room_id(), user_id: user_id() }.encode_to_vec(),
        ),
        (
            "RoomService/UpdateMember",
            wire::UpdateMemberRequest { room_id: room_id(), user_id: user_id(), role: 4 }.encode_to_vec(),
        ),
        (
            "RoomService/ListMembers",
            wire::ListMembersRequest { room_id: room_id(), ..Default::default() }.encode_to_vec(),
        ),
        ("RoomService/GetRoom", wire::GetRoomRequest { room_id: room_id() }.encode_to_vec()),
        ("RoomService/JoinRoom", wire::JoinRoomRequest { room_id: room_id() }.encode_to_vec()),
        ("RoomService/LeaveRoom", wire::LeaveRoomRequest { room_id: room_id() }.encode_to_vec()),
    ]
    .into_iter()
    .chain(moderation_calls(room))
    .collect()
}

fn moderation_calls(room: &str) -> Vec<(&'static str, Vec<u8>)> {
    let (room_id, user_id, seq) = (|| room.to_owned(), || "ana".to_owned(), 1);
    let ban = wire::BanMemberRequest { room_id: room_id(), user_id: user_id(), ..Default::default() };
    let mute = wire::MuteMemberRequest { room_id: room_id(), user_id: user_id(), muted_until: None };
    let report = wire::ReportMessageRequest { room_id: room_id(), seq, ..Default::default() };
    vec![
        ("ModerationService/BanMember", ban.encode_to_vec()),
        (
            "ModerationService/UnbanMember",
            wire::UnbanMemberRequest { room_id: room_id(), user_id: user_id() }.encode_to_vec(),
        ),
        (
            "ModerationService/ListBans",
            wire::ListBansRequest { room_id: room_id(), ..Default::default() }.encode_to_vec(),
        ),
        ("ModerationService/MuteMember", mute.encode_to_vec()),
        ("ModerationService/ReportMessage", report.encode_to_vec()),
        ("ChatService/PinMessage", wire::PinMessageRequest { room_id: room_id(), seq }.encode_to_vec()),
        ("ChatService/UnpinMessage", wire::UnpinMessageRequest { room_id: room_id(), seq }.encode_to_vec()),
        ("ChatService/ListPinnedMessages", wire::ListPinnedMessagesRequest { room_id: room_id() }.encode_to_vec()),
    ]
}

/// What a public room lets strangers do.
const OPEN_TO_ALL: [&str; 3] = ["RoomService/GetRoom", "RoomService/JoinRoom", "RoomService/LeaveRoom"];

#[tokio::test]
async fn strangers_are_told_the_same_of_hidden_and_of_missing_rooms() {
    // SendMessages answers for each message; the others name no room, or are tested below.
    let elsewhere = [
        "ChatService/SendMessages",
        "ChatService/Connect",
        "ChatService/Subscribe",
        "ChatService/RenewStream",
        "ChatService/Ping",
        "PresenceService/GetPresence",
        "PresenceService/SetPresence",
        "RoomService/CreateRoom",
        "RoomService/ListRooms",
        "RoomService/GetDirectRoom",
        // These name no room: `moderation` tries them.
        "ModerationService/BlockUser",
        "ModerationService/UnblockUser",
        "ModerationService/ListBlockedUsers",
        "ModerationService/ListReports",
        "ModerationService/ResolveReport",
    ];
    for method in methods().iter().filter(|m| !elsewhere.contains(&m.as_str())) {
        assert!(calls("").iter().any(|(called, _)| called == method), "{method} is not tried");
    }

    let server = Server::start();
    let mut ana = server.user("ana").await;
    let eve = server.user("eve").await;
    let request = wire::GetDirectRoomRequest { user_id: "ben".into() };
    let direct = ana.rooms.get_direct_room(request).await.unwrap().into_inner().room.unwrap().room.unwrap().room_id;
    ana.create_room("private", RoomKind::Private, &["ben"]).await;
    for room in ["private", &direct] {
        ana.say(room, "secret").await;
    }
    let raw = Raw::connect(&server.url()).await.bearer(&Token::of("eve").sign());
    let mut said = Vec::new();
    for room in ["private", direct.as_str(), "missing"] {
        let mut answers = Vec::new();
        for (method, request) in calls(room) {
            let status = raw.call_bytes(method, request.into()).await.unwrap_err();
            assert_eq!(error_of(&status), (Code::NotFound, "ROOM_NOT_FOUND".into(), vec![]), "{method} {room}");
            answers.push((method, status.message().to_owned(), status.details().to_vec()));
        }
        said.push(answers);
    }
    assert!(said.iter().all(|answers| *answers == said[2]), "word for word");
    assert_eq!(ana.history("private").await.len(), 1);
    let (mut stream, _) = Stream::caught_up(&eve, &[]).await;
    stream.send("1", Up::Send(message("private", "x"))).await;
    let Outcome::Error(error) = stream.reply("1").await else { panic!("it was sent") };
    assert_eq!(error.reason().as_str_name(), "ERROR_REASON_ROOM_NOT_FOUND");
}

#[tokio::test]
async fn strangers_may_look_at_a_public_room_and_nothing_more() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("public", RoomKind::Public, &["ben"]).await;
    ana.say("public", "for members").await;
    let raw = Raw::connect(&server.url()).await.bearer(&Token::of("eve").sign());
    for (method, request) in calls("public") {
        if OPEN_TO_ALL.contains(&method) {
            continue;
        }
        let status = raw.call_bytes(method, request.into()).await.unwrap_err();
        assert_eq!(error_of(&status), (Code::PermissionDenied, "NOT_A_MEMBER".into(), vec![]), "{method}");
    }
    assert_eq!(ana.history("public").await.len(), 1);
}

#[tokio::test]
async fn a_stream_carries_nothing_of_rooms_that_its_user_is_not_in() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let mut eve = server.user("eve").await;
    ana.create_room("private", RoomKind::Private, &[]).await;
    ana.create_room("public", RoomKind::Public, &[]).await;
    eve.create_room("own", RoomKind::Private, &[]).await;
    for room in ["private", "public"] {
        ana.say(room, "before").await;
    }
    let held = [("private", 0), ("public", 1), ("missing", 7), ("own", 1)];
    let (mut stream, frames) = Stream::caught_up(&eve, &held).await;
    let mut verdicts: Vec<_> = frames
        .iter()
        .flat_map(|kind| match kind {
            Kind::Resumed(resumed) => resumed.rooms.clone(),
            Kind::CaughtUp(_) => vec![],
            other => panic!("{other:?}"),
        })
        .map(|room| (room.room_id.clone(), room.verdict(), room.position, room.last_position))
        .collect();
    verdicts.sort();
    let left = |room: &str| (room.to_owned(), ResumeVerdict::Left, 0, 0);
    let own = ("own".to_owned(), ResumeVerdict::Complete, 1, 1);
    assert_eq!(verdicts, [left("missing"), own, left("private"), left("public")]);
    for room in ["private", "public"] {
        ana.say(room, "after").await;
    }
    eve.say("own", "mine").await;
    let next = stream.next().await;
    assert!(matches!(&next, Kind::Event(event) if event.room_id == "own"), "{next:?}");
}

#[tokio::test]
async fn nobody_renews_another_users_stream() {
    let server = Server::start();
    let raw = Raw::connect(&server.url()).await;
    let (ana, eve) = (raw.bearer(&Token::of("ana").sign()), raw.bearer(&Token::of("eve").sign()));
    let mut clients = server.user("ana").await;
    let opened = clients.chat.subscribe(wire::SubscribeRequest::default()).await.unwrap();
    let mut stream = opened.into_inner();
    let Some(Kind::Hello(hello)) = stream.message().await.unwrap().unwrap().frame.unwrap().kind else { panic!() };
    let request = wire::RenewStreamRequest { session_id: hello.session_id };
    let status = eve.call("ChatService/RenewStream", request.clone()).await.unwrap_err();
    assert_eq!(error_of(&status), (Code::NotFound, "SESSION_NOT_FOUND".into(), vec![]));
    ana.call("ChatService/RenewStream", request).await.unwrap();
    let unknown = wire::RenewStreamRequest { session_id: uuid::Uuid::new_v4().to_string() };
    let status = ana.call("ChatService/RenewStream", unknown).await.unwrap_err();
    assert_eq!(error_of(&status).1, "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn a_project_that_the_server_does_not_have_sees_nothing_with_any_room() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("private", RoomKind::Private, &[]).await;
    ana.create_room("public", RoomKind::Public, &[]).await;
    // The same user id, in another project.
    let token = Token::of("ana").claim("aud", "another".into()).sign();
    let raw = Raw::connect(&server.url()).await.bearer(&token);
    for room in ["private", "public", "missing"] {
        for (method, request) in calls(room) {
            let status = raw.call_bytes(method, request.into()).await.unwrap_err();
            assert_eq!(error_of(&status), (Code::PermissionDenied, "PROJECT_NOT_FOUND".into(), vec![]), "{method}");
        }
    }
    let open = ConnectRequest {
        request_id: String::new(),
        frame: Some(Up::Open(OpenStream {
            positions: vec![RoomPosition { room_id: "private".into(), position: 0 }],
            ..OpenStream::default()
        })),
    };
    assert_eq!(error_of(&raw.call("ChatService/Connect", open).await.unwrap_err()).1, "PROJECT_NOT_FOUND");
}
