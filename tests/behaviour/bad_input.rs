//! Bad input: each kind gets its own status with reason and field, and the server goes on.

use std::collections::HashMap;

use prost::Message as _;
use prost_types::FieldMask;
use relay_proto::chat::v1::{
    self as wire, Attachment, ConnectRequest, CreateRoomRequest, EditMessageRequest, ListMembersRequest,
    ListMessagesRequest, ListRoomsRequest, NewMember, OpenStream, ResumeVerdict, RoomKind, RoomPosition,
    SendMessageRequest, SendMessagesRequest, SubscribeRequest, UpdateRoomRequest, connect_request::Frame as Up,
    frame::Kind,
};
use tonic::Code;

use crate::support::{Clients, Raw, Server, Stream, Token, error_of, message};

/// A call that must fail on `field`.
struct Row {
    method: &'static str,
    request: Vec<u8>,
    field: &'static str,
}

fn row(method: &'static str, field: &'static str, request: impl prost::Message) -> Row {
    Row { method, request: request.encode_to_vec(), field }
}

fn send(change: impl FnOnce(&mut SendMessageRequest)) -> SendMessageRequest {
    let mut request = message("r", "good");
    change(&mut request);
    request
}

fn attached(change: impl FnOnce(&mut Attachment)) -> SendMessageRequest {
    let url = "https://a.example/x.png".to_owned();
    let mut file = Attachment { url, name: "x.png".into(), mime_type: "image/png".into(), size_bytes: 1 };
    change(&mut file);
    send(|m| m.attachments = vec![file])
}

fn create(change: impl FnOnce(&mut CreateRoomRequest)) -> CreateRoomRequest {
    let mut request = CreateRoomRequest::default();
    change(&mut request);
    request
}

fn update(title: &str, paths: &[&str]) -> UpdateRoomRequest {
    let update_mask = Some(FieldMask { paths: paths.iter().map(|p| (*p).to_owned()).collect() });
    UpdateRoomRequest { room_id: "r".into(), title: title.into(), update_mask, ..UpdateRoomRequest::default() }
}

fn member(user: &str, role: i32) -> NewMember {
    NewMember { user_id: user.into(), role }
}

fn add(members: Vec<NewMember>) -> wire::AddMembersRequest {
    wire::AddMembersRequest { room_id: "r".into(), members }
}

fn subscribe(rooms: impl Iterator<Item = String>) -> SubscribeRequest {
    let positions = rooms.map(|room_id| RoomPosition { room_id, position: 0 }).collect();
    SubscribeRequest { open: Some(OpenStream { positions, ..OpenStream::default() }) }
}

fn metadata(entries: usize, key: usize, value: usize) -> HashMap<String, String> {
    (0..entries).map(|i| (format!("{i:0key$}"), "v".repeat(value))).collect()
}

fn sends() -> Vec<Row> {
    const SEND: &str = "ChatService/SendMessage";
    let mut rows = vec![
        row(SEND, "room_id", send(|m| m.room_id = String::new())),
        row(SEND, "room_id", send(|m| m.room_id = "a b".into())),
        row(SEND, "room_id", send(|m| m.room_id = "x".repeat(129))),
        row(SEND, "client_message_id", send(|m| m.client_message_id = String::new())),
        row(SEND, "client_message_id", send(|m| m.client_message_id = "not a uuid".into())),
        row(SEND, "client_message_id", send(|m| m.client_message_id = m.client_message_id.replace('-', ""))),
        row(SEND, "client_message_id", send(|m| m.client_message_id = format!("{{{}}}", m.client_message_id))),
        row(SEND, "text", send(|m| m.text = String::new())),
        row(SEND, "text", send(|m| m.text = "x".repeat(32_769))),
        row(SEND, "text", send(|m| m.text = "ä".repeat(16_385))),
        row(SEND, "text", send(|m| m.text = "a\0b".into())),
        row(SEND, "metadata", send(|m| m.metadata = HashMap::from([("k".into(), "a\0".into())]))),
        row(SEND, "content_type", send(|m| m.content_type = "markdown".into())),
        row(SEND, "content_type", send(|m| m.content_type = "a/".into())),
        row(SEND, "content_type", send(|m| m.content_type = "text/plain\r\nx: y".into())),
        row(SEND, "content_type", send(|m| m.content_type = format!("a/{}", "b".repeat(126)))),
        row(SEND, "reply_to_seq", send(|m| m.reply_to_seq = 2)),
        row(SEND, "reply_to_seq", send(|m| m.reply_to_seq = u64::MAX)),
        row(SEND, "metadata", send(|m| m.metadata = metadata(17, 4, 1))),
        row(SEND, "metadata", send(|m| m.metadata = metadata(1, 65, 1))),
        row(SEND, "metadata", send(|m| m.metadata = metadata(1, 1, 513))),
        row(SEND, "metadata", send(|m| m.metadata = HashMap::from([(String::new(), "v".into())]))),
        row(SEND, "attachments", send(|m| m.attachments = vec![attached(|_| {}).attachments.remove(0); 11])),
        row(SEND, "attachments[0].url", attached(|a| a.url = String::new())),
        row(SEND, "attachments[0].url", attached(|a| a.url = "/relative".into())),
        row(SEND, "attachments[0].url", attached(|a| a.url = "ftp://a.example/".into())),
        row(SEND, "attachments[0].url", attached(|a| a.url = "javascript:alert(1)".into())),
        row(SEND, "attachments[0].url", attached(|a| a.url = "https://".into())),
        row(SEND, "attachments[0].url", attached(|a| a.url = format!("https://a/{}", "x".repeat(2_039)))),
        row(SEND, "attachments[0].name", attached(|a| a.name = String::new())),
        row(SEND, "attachments[0].name", attached(|a| a.name = "a\nb".into())),
        row(SEND, "attachments[0].name", attached(|a| a.name = "x".repeat(256))),
        row(SEND, "attachments[0].mime_type", attached(|a| a.mime_type = String::new())),
        row(SEND, "attachments[0].mime_type", attached(|a| a.mime_type = "png".into())),
        row(SEND, "attachments[0].size_bytes", attached(|a| a.size_bytes = 1 << 53)),
        row("ChatService/SendMessages", "requests", SendMessagesRequest::default()),
        row("ChatService/SendMessages", "requests", SendMessagesRequest { requests: vec![message("r", "x"); 101] }),
    ];
    let edit = |change: fn(&mut EditMessageRequest)| {
        let mut request = EditMessageRequest { room_id: "r".into(), seq: 1, text: "x".into(), ..Default::default() };
        change(&mut request);
        request
    };
    const EDIT: &str = "ChatService/EditMessage";
    rows.extend([
        row(EDIT, "room_id", edit(|e| e.room_id = "ä".into())),
        row(EDIT, "seq", edit(|e| e.seq = 0)),
        row(EDIT, "seq", edit(|e| e.seq = u64::MAX)),
        row(EDIT, "text", edit(|e| e.text = String::new())),
        row(EDIT, "text", edit(|e| e.text = "x".repeat(32_769))),
        row(EDIT, "content_type", edit(|e| e.content_type = "x".into())),
        row(EDIT, "metadata", edit(|e| e.metadata = metadata(17, 4, 1))),
        row(EDIT, "attachments[0].url", edit(|e| e.attachments = vec![Attachment::default()])),
    ]);
    rows
}

fn messages() -> Vec<Row> {
    let room = || "r".to_owned();
    let mut rows = Vec::new();
    for (room_id, seq, field) in [("", 1, "room_id"), ("a/b", 1, "room_id"), ("r", 0, "seq"), ("r", 1 << 63, "seq")] {
        let room_id = || room_id.to_owned();
        let emoji = || "x".to_owned();
        rows.extend([
            row(
                "ChatService/DeleteMessage",
                field,
                wire::DeleteMessageRequest { room_id: room_id(), seq, reason: String::new() },
            ),
            row("ChatService/GetMessage", field, wire::GetMessageRequest { room_id: room_id(), seq }),
            row("ChatService/AddReaction", field, wire::AddReactionRequest { room_id: room_id(), seq, emoji: emoji() }),
            row(
                "ChatService/RemoveReaction",
                field,
                wire::RemoveReactionRequest { room_id: room_id(), seq, emoji: emoji() },
            ),
        ]);
    }
    for emoji in [String::new(), "x".repeat(65), "a\tb".into(), "\u{7f}".into()] {
        let (room_id, seq) = (room(), 1);
        let add = wire::AddReactionRequest { room_id: room(), seq, emoji: emoji.clone() };
        rows.push(row("ChatService/AddReaction", "emoji", add));
        rows.push(row("ChatService/RemoveReaction", "emoji", wire::RemoveReactionRequest { room_id, seq, emoji }));
    }
    let list = |change: fn(&mut ListMessagesRequest)| {
        let mut request = ListMessagesRequest { room_id: "r".into(), ..ListMessagesRequest::default() };
        change(&mut request);
        request
    };
    const LIST: &str = "ChatService/ListMessages";
    rows.extend([
        row(LIST, "room_id", list(|l| l.room_id = String::new())),
        row(LIST, "page_size", list(|l| l.page_size = -1)),
        row(LIST, "page_size", list(|l| l.page_size = i32::MIN)),
        row(LIST, "page_size", list(|l| l.page_size = 201)),
        row(LIST, "direction", list(|l| l.direction = 3)),
        row(LIST, "start_seq", list(|l| l.start_seq = u64::MAX)),
        row("ChatService/RenewStream", "session_id", wire::RenewStreamRequest { session_id: "x".into() }),
        row("ChatService/RenewStream", "session_id", wire::RenewStreamRequest::default()),
    ]);
    rows
}

fn rooms() -> Vec<Row> {
    const CREATE: &str = "RoomService/CreateRoom";
    const UPDATE: &str = "RoomService/UpdateRoom";
    const ADD: &str = "RoomService/AddMembers";
    let room = || "r".to_owned();
    let crowd = |n: usize| (0..n).map(|i| member(&format!("u{i}"), 0)).collect::<Vec<_>>();
    let mut rows = vec![
        row(CREATE, "room_id", create(|c| c.room_id = "x".repeat(129))),
        row(CREATE, "room_id", create(|c| c.room_id = "a@b".into())),
        row(CREATE, "kind", create(|c| c.kind = RoomKind::Direct.into())),
        row(CREATE, "kind", create(|c| c.kind = 9)),
        row(CREATE, "title", create(|c| c.title = "x".repeat(257))),
        row(CREATE, "title", create(|c| c.title = "a\u{0}".into())),
        row(CREATE, "description", create(|c| c.description = "x".repeat(4_097))),
        row(CREATE, "description", create(|c| c.description = "a\0b".into())),
        row(CREATE, "metadata", create(|c| c.metadata = metadata(17, 4, 1))),
        row(CREATE, "metadata", create(|c| c.metadata = metadata(1, 1, 513))),
        row(CREATE, "members", create(|c| c.members = crowd(101))),
        row(CREATE, "members[1].user_id", create(|c| c.members = vec![member("a", 0), member("", 0)])),
        row(CREATE, "members[0].user_id", create(|c| c.members = vec![member("ana", 0)])),
        row(CREATE, "members[1].user_id", create(|c| c.members = vec![member("a", 0), member("a", 0)])),
        row(CREATE, "members[0].role", create(|c| c.members = vec![member("a", 5)])),
        row(UPDATE, "update_mask", UpdateRoomRequest { room_id: room(), ..UpdateRoomRequest::default() }),
        row(UPDATE, "update_mask", update("x", &[])),
        row(UPDATE, "update_mask", update("x", &["kind"])),
        row(UPDATE, "update_mask", update("x", &["title"; 5])),
        row(UPDATE, "title", update(&"x".repeat(257), &["title"])),
        row(UPDATE, "title", update("a\nb", &["title"])),
        row(ADD, "members", add(vec![])),
        row(ADD, "members", add(crowd(101))),
        row(ADD, "members[0].user_id", add(vec![member("ana", 0)])),
        row(ADD, "members[2].user_id", add(vec![member("a", 0), member("b", 0), member("a", 0)])),
        row(ADD, "members[0].user_id", add(vec![member(&"x".repeat(129), 0)])),
        row(ADD, "members[0].role", add(vec![member("a", -1)])),
        row(
            "RoomService/RemoveMember",
            "user_id",
            wire::RemoveMemberRequest { room_id: room(), user_id: "ana".into() },
        ),
        row("RoomService/RemoveMember", "user_id", wire::RemoveMemberRequest { room_id: room(), user_id: " ".into() }),
        row(
            "RoomService/UpdateMember",
            "role",
            wire::UpdateMemberRequest { room_id: room(), user_id: "ben".into(), role: 0 },
        ),
        row(
            "RoomService/UpdateMember",
            "role",
            wire::UpdateMemberRequest { room_id: room(), user_id: "ben".into(), role: 77 },
        ),
        row(
            "RoomService/UpdateMember",
            "user_id",
            wire::UpdateMemberRequest { room_id: room(), user_id: "ä".into(), role: 1 },
        ),
        row("RoomService/GetDirectRoom", "user_id", wire::GetDirectRoomRequest { user_id: "ana".into() }),
        row("RoomService/GetDirectRoom", "user_id", wire::GetDirectRoomRequest { user_id: String::new() }),
    ];
    for page_size in [-1, 501, i32::MAX] {
        let request = ListMembersRequest { room_id: room(), page_size, ..ListMembersRequest::default() };
        rows.push(row("RoomService/ListMembers", "page_size", request));
    }
    for page_size in [-1, 201] {
        rows.push(row("RoomService/ListRooms", "page_size", ListRoomsRequest { page_size, ..Default::default() }));
    }
    rows.push(row("RoomService/ListRooms", "scope", ListRoomsRequest { scope: 3, ..Default::default() }));
    for bad in ["", "a b", "ä", "a/../b"] {
        let room_id = || bad.to_owned();
        rows.extend([
            row("RoomService/GetRoom", "room_id", wire::GetRoomRequest { room_id: room_id() }),
            row("RoomService/DeleteRoom", "room_id", wire::DeleteRoomRequest { room_id: room_id() }),
            row("RoomService/JoinRoom", "room_id", wire::JoinRoomRequest { room_id: room_id() }),
            row("RoomService/LeaveRoom", "room_id", wire::LeaveRoomRequest { room_id: room_id() }),
            row("RoomService/ListMembers", "room_id", ListMembersRequest { room_id: room_id(), ..Default::default() }),
            row(
                "RoomService/AddMembers",
                "room_id",
                wire::AddMembersRequest { room_id: room_id(), members: vec![member("a", 0)] },
            ),
            row(
                "RoomService/RemoveMember",
                "room_id",
                wire::RemoveMemberRequest { room_id: room_id(), user_id: "a".into() },
            ),
            row(
                "RoomService/UpdateMember",
                "room_id",
                wire::UpdateMemberRequest { room_id: room_id(), user_id: "a".into(), role: 1 },
            ),
            row(UPDATE, "room_id", UpdateRoomRequest { room_id: room_id(), ..update("x", &["title"]) }),
        ]);
    }
    rows
}

fn streams() -> Vec<Row> {
    let rooms = |n: usize| (0..n).map(|i| format!("room-{i}"));
    let connect = |open| ConnectRequest { request_id: String::new(), frame: Some(Up::Open(open)) };
    vec![
        row("ChatService/Subscribe", "open.positions", subscribe(rooms(10_000))),
        row("ChatService/Subscribe", "open.positions", subscribe(rooms(5_001))),
        row(
            "ChatService/Subscribe",
            "open.positions[1].room_id",
            subscribe(["a", "b c"].map(str::to_owned).into_iter()),
        ),
        row(
            "ChatService/Subscribe",
            "open.positions[2].room_id",
            subscribe(["a", "b", "a"].map(str::to_owned).into_iter()),
        ),
        row("ChatService/Connect", "open.positions", connect(subscribe(rooms(10_000)).open.unwrap())),
        row(
            "ChatService/Connect",
            "open.positions[0].room_id",
            connect(subscribe(std::iter::once(String::new())).open.unwrap()),
        ),
    ]
}

/// A server, ana's clients, her calls as bytes; and a room `r` of ana and ben with a message.
pub(crate) async fn server_with_a_room() -> (Server, Clients, Raw) {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ana.say("r", "first").await;
    let raw = Raw::connect(&server.url()).await.bearer(&Token::of("ana").sign());
    (server, ana, raw)
}

/// Whether the server still takes a message, and gives it this number.
pub(crate) async fn still_good(ana: &mut Clients, seq: u64) {
    assert_eq!(ana.say("r", "it goes on").await.seq, seq);
}

#[tokio::test]
async fn every_field_out_of_its_limits_is_named() {
    let (_server, mut ana, raw) = server_with_a_room().await;
    let rows: Vec<Row> = [sends(), messages(), rooms(), streams()].into_iter().flatten().collect();
    for Row { method, request, field } in rows {
        let status = raw.call_bytes(method, request.into()).await.expect_err(&format!("{method} with a bad {field}"));
        let expected = (Code::InvalidArgument, "FIELD_INVALID".to_owned(), vec![field.to_owned()]);
        assert_eq!(error_of(&status), expected, "{method}: {}", status.message());
    }
    assert_eq!(ana.history("r").await.len(), 1, "nothing of it was written");
    still_good(&mut ana, 2).await;
}

#[tokio::test]
async fn a_stream_may_name_five_thousand_rooms_and_gets_a_verdict_on_each() {
    let (_server, ana, _) = server_with_a_room().await;
    let strange: Vec<String> = (1..5_000).map(|i| format!("room-{i}")).collect();
    let held: Vec<_> = strange.iter().map(|room| (room.as_str(), 1)).chain([("r", 3)]).collect();
    let (_, frames) = Stream::caught_up(&ana, &held).await;
    let mut verdicts = HashMap::new();
    for kind in frames {
        let Kind::Resumed(resumed) = kind else { continue };
        assert!(resumed.rooms.len() <= 500, "{} rooms in one frame", resumed.rooms.len());
        verdicts.extend(resumed.rooms.into_iter().map(|room| (room.room_id.clone(), room.verdict())));
    }
    assert_eq!((verdicts.len(), verdicts.remove("r")), (5_000, Some(ResumeVerdict::Complete)));
    assert!(verdicts.into_values().all(|verdict| verdict == ResumeVerdict::Left));
}

#[tokio::test]
async fn unknown_messages_are_not_found() {
    let (_server, mut ana, raw) = server_with_a_room().await;
    let (room_id, seq) = ("r".to_owned(), 2);
    let edit = EditMessageRequest { room_id: room_id.clone(), seq, text: "x".into(), ..Default::default() };
    let emoji = "x".to_owned();
    let calls = [
        ("ChatService/EditMessage", edit.encode_to_vec()),
        (
            "ChatService/DeleteMessage",
            wire::DeleteMessageRequest { room_id: room_id.clone(), seq, reason: String::new() }.encode_to_vec(),
        ),
        ("ChatService/GetMessage", wire::GetMessageRequest { room_id: room_id.clone(), seq }.encode_to_vec()),
        (
            "ChatService/AddReaction",
            wire::AddReactionRequest { room_id: room_id.clone(), seq, emoji: emoji.clone() }.encode_to_vec(),
        ),
        ("ChatService/RemoveReaction", wire::RemoveReactionRequest { room_id, seq, emoji }.encode_to_vec()),
    ];
    for (method, request) in calls {
        let status = raw.call_bytes(method, request.into()).await.unwrap_err();
        assert_eq!(error_of(&status), (Code::NotFound, "MESSAGE_NOT_FOUND".into(), vec![]), "{method}");
    }
    still_good(&mut ana, 2).await;
}

#[tokio::test]
async fn a_page_token_works_for_its_own_list_only() {
    let (server, mut ana, raw) = server_with_a_room().await;
    ana.create_room("other", RoomKind::Public, &["ben"]).await;
    ana.say("other", "first").await;
    for room in ["r", "other"] {
        ana.say(room, "second").await;
    }
    let messages = |room: &str, direction: i32, page_token: &str| ListMessagesRequest {
        room_id: room.into(),
        page_size: 1,
        direction,
        page_token: page_token.into(),
        ..ListMessagesRequest::default()
    };
    let rooms = |scope: i32, page_token: &str| ListRoomsRequest { page_size: 1, scope, page_token: page_token.into() };
    let members = |room: &str, page_token: &str| ListMembersRequest {
        room_id: room.into(),
        page_size: 1,
        page_token: page_token.into(),
    };
    let of_messages = ana.chat.list_messages(messages("r", 1, "")).await.unwrap().into_inner().next_page_token;
    let of_rooms = ana.rooms.list_rooms(rooms(1, "")).await.unwrap().into_inner().next_page_token;
    let of_members = ana.rooms.list_members(members("r", "")).await.unwrap().into_inner().next_page_token;
    for token in [&of_messages, &of_rooms, &of_members] {
        assert!(!token.is_empty());
    }
    let mut changed = of_messages.clone();
    changed.replace_range(..1, if changed.starts_with('A') { "B" } else { "A" });
    let long = "A".repeat(10_000);
    let (list_messages, list_rooms, list_members) =
        ("ChatService/ListMessages", "RoomService/ListRooms", "RoomService/ListMembers");
    let mut refused = vec![
        (list_messages, messages("other", 1, &of_messages).encode_to_vec()),
        (list_messages, messages("r", 2, &of_messages).encode_to_vec()),
        (list_messages, messages("r", 1, &of_rooms).encode_to_vec()),
        (list_messages, messages("r", 1, &of_members).encode_to_vec()),
        (list_rooms, rooms(2, &of_rooms).encode_to_vec()),
        (list_rooms, rooms(1, &of_members).encode_to_vec()),
        (list_members, members("other", &of_members).encode_to_vec()),
        (list_members, members("r", &of_messages).encode_to_vec()),
    ];
    for forged in ["x", "AAAA", "%%%", "MQ==", &changed, &long] {
        refused.push((list_messages, messages("r", 1, forged).encode_to_vec()));
        refused.push((list_rooms, rooms(1, forged).encode_to_vec()));
        refused.push((list_members, members("r", forged).encode_to_vec()));
    }
    for (i, (method, request)) in refused.into_iter().enumerate() {
        let status = raw.call_bytes(method, request.into()).await.expect_err(&format!("{method} {i}"));
        assert_eq!(error_of(&status), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into(), vec![]), "{method} {i}");
    }
    // A list of rooms is its caller's own; a room's messages are the same for all members.
    let mut ben = server.user("ben").await;
    let status = ben.rooms.list_rooms(rooms(1, &of_rooms)).await.unwrap_err();
    assert_eq!(error_of(&status).1, "PAGE_TOKEN_INVALID");
    ben.chat.list_messages(messages("r", 1, &of_messages)).await.unwrap();
    ana.rooms.list_rooms(rooms(1, &of_rooms)).await.unwrap();
}
