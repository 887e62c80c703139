//! Bad input of receipts, mentions and settings: each its own reason and field.

use prost::Message as _;
use prost_types::{FieldMask, Timestamp};
use relay_proto::chat::v1::{
    self as wire, ListReceiptsRequest, Mention, RoomKind, RoomSettings, SendMessageRequest, UpdateRoomSettingsRequest,
    connect_request::Frame as Up, reply::Result as Outcome,
};
use tonic::Code;

use super::{mentioning, report, target};
use crate::support::{Raw, Server, Stream, Token, error_of, message};

fn at(text: &str, places: &[(u32, u32)]) -> SendMessageRequest {
    let mentions = places.iter().map(|&(offset, length)| Mention { offset, length, target: target("ben") });
    SendMessageRequest { mentions: mentions.collect(), ..message("r", text) }
}

fn settings(muted_until: Option<Timestamp>, paths: &[&str]) -> UpdateRoomSettingsRequest {
    let update_mask = Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() });
    let settings = Some(RoomSettings { muted_until, ..RoomSettings::default() });
    UpdateRoomSettingsRequest { room_id: "r".into(), settings, update_mask }
}

/// Calls that must fail: the method, the request, the reason, the field.
fn rows() -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    const SEND: &str = "ChatService/SendMessage";
    const UPDATE: &str = "ChatService/UpdateReceipts";
    const LIST: &str = "ChatService/ListReceipts";
    const SET: &str = "RoomService/UpdateRoomSettings";
    const FIELD: &str = "FIELD_INVALID";
    const BEYOND: &str = "RECEIPT_BEYOND_ROOM";
    const MENTION: &str = "MENTION_INVALID";
    let list = |page_size| ListReceiptsRequest { room_id: "r".into(), page_size, ..Default::default() };
    let far = Timestamp { seconds: 253_402_300_800, nanos: 0 };
    let nanos = Timestamp { seconds: 1, nanos: 1_000_000_000 };
    let nobody = Mention { offset: 0, length: 1, target: None };
    let edit = |mentions| wire::EditMessageRequest {
        room_id: "r".into(),
        seq: 1,
        text: "x".into(),
        mentions,
        ..Default::default()
    };
    let stranger = vec![Mention { offset: 0, length: 1, target: target("eve") }];
    let several = wire::SendMessagesRequest { requests: vec![message("r", "x"); 101] };
    vec![
        (UPDATE, report("", 0, 1).encode_to_vec(), FIELD, "room_id"),
        (UPDATE, report("r", 0, 0).encode_to_vec(), FIELD, "read_seq"),
        (UPDATE, report("r", 3, 0).encode_to_vec(), BEYOND, "delivered_seq"),
        (UPDATE, report("r", 0, 3).encode_to_vec(), BEYOND, "read_seq"),
        (UPDATE, report("r", 1, u64::MAX).encode_to_vec(), BEYOND, "read_seq"),
        (LIST, list(-1).encode_to_vec(), FIELD, "page_size"),
        (LIST, list(501).encode_to_vec(), FIELD, "page_size"),
        (SET, settings(None, &[]).encode_to_vec(), FIELD, "update_mask"),
        (SET, settings(None, &["title"]).encode_to_vec(), FIELD, "update_mask"),
        (SET, settings(None, &["archived"; 4]).encode_to_vec(), FIELD, "update_mask"),
        (SET, settings(Some(far), &["muted_until"]).encode_to_vec(), FIELD, "settings.muted_until"),
        (SET, settings(Some(nanos), &["muted_until"]).encode_to_vec(), FIELD, "settings.muted_until"),
        (SEND, at("hello", &[(0, 0)]).encode_to_vec(), MENTION, "mentions[0].length"),
        (SEND, at("hello", &[(0, 6)]).encode_to_vec(), MENTION, "mentions[0].length"),
        (SEND, at("hello", &[(5, 1)]).encode_to_vec(), MENTION, "mentions[0].length"),
        (SEND, at("hello", &[(6, 1)]).encode_to_vec(), MENTION, "mentions[0].offset"),
        (SEND, at("hello", &[(u32::MAX, u32::MAX)]).encode_to_vec(), MENTION, "mentions[0].offset"),
        (SEND, at("hällo", &[(2, 1)]).encode_to_vec(), MENTION, "mentions[0].offset"),
        (SEND, at("hällo", &[(0, 2)]).encode_to_vec(), MENTION, "mentions[0].length"),
        (SEND, at("hello", &[(0, 2), (1, 2)]).encode_to_vec(), MENTION, "mentions[1].offset"),
        (SEND, at("hello", &[(2, 1), (0, 1)]).encode_to_vec(), MENTION, "mentions[1].offset"),
        (SEND, mentioning("r", &["ben"; 51]).encode_to_vec(), FIELD, "mentions"),
        (SEND, mentioning("r", &["a b"]).encode_to_vec(), FIELD, "mentions[0].user_id"),
        (SEND, mentioning("r", &["ben", "eve"]).encode_to_vec(), MENTION, "mentions[1].user_id"),
        (
            SEND,
            SendMessageRequest { mentions: vec![nobody], ..message("r", "x") }.encode_to_vec(),
            FIELD,
            "mentions[0].target",
        ),
        ("ChatService/EditMessage", edit(stranger).encode_to_vec(), MENTION, "mentions[0].user_id"),
        ("ChatService/SendMessages", several.encode_to_vec(), FIELD, "requests"),
    ]
}

#[tokio::test]
async fn bad_receipts_mentions_and_settings_are_refused_with_reason_and_field() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ana.say_all("r", (0..2).map(|i| i.to_string())).await;
    let raw = Raw::connect(&server.url()).await.bearer(&Token::of("ana").sign());
    for (method, request, reason, field) in rows() {
        let status = raw.call_bytes(method, request.into()).await.expect_err(field);
        let expected = (Code::InvalidArgument, reason.to_owned(), vec![field.to_owned()]);
        assert_eq!(error_of(&status), expected, "{method} {field}");
    }
    let request = at("hello", &[(0, 5)]);
    ana.chat.send_message(request).await.unwrap();
}

#[tokio::test]
async fn a_message_of_a_batch_that_mentions_a_stranger_fails_alone() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let requests = vec![mentioning("r", &["ben"]), mentioning("r", &["eve"]), mentioning("r", &["ben", ""])];
    let answer = ana.chat.send_messages(wire::SendMessagesRequest { requests }).await.unwrap().into_inner();
    let [first, second, third] = <[wire::SendResult; 3]>::try_from(answer.results).unwrap();
    let seq = |result: wire::SendResult| match result.result {
        Some(wire::send_result::Result::Receipt(receipt)) => receipt.seq,
        other => panic!("{other:?}"),
    };
    assert_eq!((seq(first), seq(third)), (1, 2));
    let Some(wire::send_result::Result::Error(error)) = second.result else { panic!("{second:?}") };
    assert_eq!(error.reason().as_str_name(), "ERROR_REASON_MENTION_INVALID");
    assert_eq!(error.field_violations[0].field, "requests[1].mentions[0].user_id");
}

#[tokio::test]
async fn frames_with_bad_cursors_are_answered_and_the_stream_goes_on() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    server.user("eve").await.create_room("other", RoomKind::Private, &[]).await;
    server.user("eve").await.create_room("public", RoomKind::Public, &[]).await;
    ana.say("r", "one").await;
    let ben = server.user("ben").await;
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    for (room, delivered, read, reason) in [
        ("r", 0, 2, "RECEIPT_BEYOND_ROOM"),
        ("r", 9, 0, "RECEIPT_BEYOND_ROOM"),
        ("r", 0, 0, "FIELD_INVALID"),
        ("a b", 0, 1, "FIELD_INVALID"),
        ("other", 0, 1, "ROOM_NOT_FOUND"),
        ("missing", 0, 1, "ROOM_NOT_FOUND"),
        ("public", 0, 1, "NOT_A_MEMBER"),
    ] {
        // Errors are told whether or not the client named the frame.
        for id in ["", "named"] {
            stream.send(id, Up::UpdateReceipts(report(room, delivered, read))).await;
            let Outcome::Error(error) = stream.reply(id).await else { panic!("{room} was taken") };
            assert_eq!(error.reason().as_str_name(), format!("ERROR_REASON_{reason}"), "{room}");
        }
    }
    super::read_by_frame(&mut stream, "r", 1).await;
    // One that is not named is not answered: the next answer is the next one's.
    stream.send("", Up::UpdateReceipts(report("r", 1, 0))).await;
    stream.send("next", Up::UpdateReceipts(report("r", 1, 0))).await;
    loop {
        if let wire::frame::Kind::Reply(reply) = stream.next().await {
            assert_eq!(reply.request_id, "next");
            break;
        }
    }
}
