//! Bad input to moderation and pins: each its own reason and field.

use prost::Message as _;
use prost_types::Timestamp;
use relay_proto::chat::v1::{self as wire, RoomKind};
use serde_json::json;
use tonic::Code;

use super::{ban_of, delete_of, in_millis, mute_of, slow, unban_of};
use crate::support::{Raw, Server, Token, error_of};

fn row(
    method: &'static str,
    field: &'static str,
    request: impl prost::Message,
) -> (&'static str, &'static str, Vec<u8>) {
    (method, field, request.encode_to_vec())
}

fn rows() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    const BAN: &str = "ModerationService/BanMember";
    const UNBAN: &str = "ModerationService/UnbanMember";
    const BANS: &str = "ModerationService/ListBans";
    const MUTE: &str = "ModerationService/MuteMember";
    const BLOCK: &str = "ModerationService/BlockUser";
    const UNBLOCK: &str = "ModerationService/UnblockUser";
    const BLOCKED: &str = "ModerationService/ListBlockedUsers";
    const REPORT: &str = "ModerationService/ReportMessage";
    const REPORTS: &str = "ModerationService/ListReports";
    const RESOLVE: &str = "ModerationService/ResolveReport";
    let because = |reason: &str| wire::BanMemberRequest { reason: reason.into(), ..ban_of("r", "ben") };
    let until = |seconds, nanos| Some(Timestamp { seconds, nanos });
    let ends = |at| wire::BanMemberRequest { expires_at: at, ..ban_of("r", "ben") };
    let bans = |page_size| wire::ListBansRequest { room_id: "r".into(), page_size, page_token: String::new() };
    let blocked = |page_size| wire::ListBlockedUsersRequest { page_size, page_token: String::new() };
    let report = || wire::ReportMessageRequest { room_id: "r".into(), seq: 1, category: 1, comment: String::new() };
    let reports = |page_size, state| wire::ListReportsRequest { state, page_size, page_token: String::new() };
    let resolve =
        |report_id: &str, resolution: String| wire::ResolveReportRequest { report_id: report_id.into(), resolution };
    let id = "0190a8f0-6c3b-7cc4-b1a5-2f6d8e1c9a01";
    vec![
        row(BAN, "room_id", ban_of("", "ben")),
        row(BAN, "user_id", ban_of("r", "")),
        row(BAN, "user_id", ban_of("r", "a b")),
        row(BAN, "user_id", ban_of("r", "ana")),
        row(BAN, "reason", because(&"x".repeat(257))),
        row(BAN, "reason", because("a\nb")),
        row(BAN, "reason", because("a\0")),
        row(BAN, "expires_at", ends(Some(in_millis(-1_000)))),
        row(BAN, "expires_at", ends(until(-1, 0))),
        row(BAN, "expires_at", ends(until(253_402_300_800, 0))),
        row(BAN, "expires_at", ends(until(i64::MAX, 0))),
        row(BAN, "expires_at", ends(until(4_000_000_000, 1_000_000_000))),
        row(BAN, "expires_at", ends(until(4_000_000_000, -1))),
        row(UNBAN, "room_id", unban_of("a/b", "ben")),
        row(UNBAN, "user_id", unban_of("r", "ä")),
        row(BANS, "room_id", wire::ListBansRequest::default()),
        row(BANS, "page_size", bans(-1)),
        row(BANS, "page_size", bans(501)),
        row(MUTE, "room_id", mute_of(" ", "ben", None)),
        row(MUTE, "user_id", mute_of("r", &"x".repeat(129), None)),
        row(MUTE, "user_id", mute_of("r", "ana", None)),
        row(MUTE, "muted_until", mute_of("r", "ben", until(i64::MIN, 0))),
        row(MUTE, "muted_until", mute_of("r", "ben", until(0, i32::MAX))),
        row(BLOCK, "user_id", wire::BlockUserRequest::default()),
        row(BLOCK, "user_id", wire::BlockUserRequest { user_id: "ana".into() }),
        row(UNBLOCK, "user_id", wire::UnblockUserRequest { user_id: "a\0".into() }),
        row(BLOCKED, "page_size", blocked(-1)),
        row(BLOCKED, "page_size", blocked(501)),
        row(REPORT, "room_id", wire::ReportMessageRequest { room_id: String::new(), ..report() }),
        row(REPORT, "seq", wire::ReportMessageRequest { seq: 0, ..report() }),
        row(REPORT, "seq", wire::ReportMessageRequest { seq: u64::MAX, ..report() }),
        row(REPORT, "category", wire::ReportMessageRequest { category: 6, ..report() }),
        row(REPORT, "category", wire::ReportMessageRequest { category: -1, ..report() }),
        row(REPORT, "comment", wire::ReportMessageRequest { comment: "x".repeat(2_049), ..report() }),
        row(REPORT, "comment", wire::ReportMessageRequest { comment: "a\0".into(), ..report() }),
        row(REPORTS, "state", reports(0, 3)),
        row(REPORTS, "page_size", reports(-1, 0)),
        row(REPORTS, "page_size", reports(201, 0)),
        row(RESOLVE, "report_id", resolve("", String::new())),
        row(RESOLVE, "report_id", resolve("1", String::new())),
        row(RESOLVE, "resolution", resolve(id, "x".repeat(2_049))),
        row(RESOLVE, "resolution", resolve(id, "a\0".into())),
        row("ChatService/DeleteMessage", "reason", delete_of("r", 1, &"x".repeat(257))),
        row("ChatService/DeleteMessage", "reason", delete_of("r", 1, "a\tb")),
        row("RoomService/UpdateRoom", "slow_mode_seconds", slow("r", 86_401)),
        row("RoomService/UpdateRoom", "slow_mode_seconds", slow("r", u32::MAX)),
        row("ChatService/PinMessage", "room_id", wire::PinMessageRequest { room_id: String::new(), seq: 1 }),
        row("ChatService/PinMessage", "seq", wire::PinMessageRequest { room_id: "r".into(), seq: 0 }),
        row("ChatService/UnpinMessage", "seq", wire::UnpinMessageRequest { room_id: "r".into(), seq: u64::MAX }),
        row("ChatService/UnpinMessage", "room_id", wire::UnpinMessageRequest { room_id: "a b".into(), seq: 1 }),
        row("ChatService/ListPinnedMessages", "room_id", wire::ListPinnedMessagesRequest { room_id: String::new() }),
    ]
}

#[tokio::test]
async fn each_field_out_of_its_limits_is_named_and_nothing_changes() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    ana.say("r", "good").await;
    let token = Token::of("ana").claim("relay_admin", json!(true)).sign();
    let raw = Raw::connect(&server.url()).await.bearer(&token);
    let before = ana.rooms.get_room(wire::GetRoomRequest { room_id: "r".into() }).await.unwrap().into_inner();
    for (method, field, request) in rows() {
        let status = raw.call_bytes(method, request.into()).await.unwrap_err();
        let expected = (Code::InvalidArgument, "FIELD_INVALID".to_owned(), vec![field.to_owned()]);
        assert_eq!(error_of(&status), expected, "{method} {status:?}");
    }
    let after = ana.rooms.get_room(wire::GetRoomRequest { room_id: "r".into() }).await.unwrap().into_inner();
    assert_eq!(after, before);
    for (method, request) in [
        (
            "ModerationService/ReportMessage",
            wire::ReportMessageRequest { room_id: "r".into(), seq: 2, ..Default::default() }.encode_to_vec(),
        ),
        ("ChatService/PinMessage", wire::PinMessageRequest { room_id: "r".into(), seq: 2 }.encode_to_vec()),
        ("ChatService/UnpinMessage", wire::UnpinMessageRequest { room_id: "r".into(), seq: 2 }.encode_to_vec()),
    ] {
        let status = raw.call_bytes(method, request.into()).await.unwrap_err();
        assert_eq!(error_of(&status), (Code::NotFound, "MESSAGE_NOT_FOUND".into(), vec![]), "{method}");
    }
    let page_token = "AAAA".to_owned();
    for (method, request) in [
        (
            "ModerationService/ListBans",
            wire::ListBansRequest { room_id: "r".into(), page_size: 0, page_token: page_token.clone() }.encode_to_vec(),
        ),
        (
            "ModerationService/ListBlockedUsers",
            wire::ListBlockedUsersRequest { page_size: 0, page_token: page_token.clone() }.encode_to_vec(),
        ),
        (
            "ModerationService/ListReports",
            wire::ListReportsRequest { state: 0, page_size: 0, page_token }.encode_to_vec(),
        ),
    ] {
        let status = raw.call_bytes(method, request.into()).await.unwrap_err();
        assert_eq!(error_of(&status), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into(), vec![]), "{method}");
    }
}

#[tokio::test]
async fn what_is_just_within_the_limits_is_taken() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    ana.say("r", "good").await;
    let report = wire::ReportMessageRequest { room_id: "r".into(), seq: 1, category: 5, comment: "x\n".repeat(1_024) };
    ana.moderation.report_message(report).await.unwrap();
    ana.chat.delete_message(delete_of("r", 1, &"ä".repeat(128))).await.unwrap();
    let expires_at = Some(Timestamp { seconds: 253_402_300_799, nanos: 999_999_000 });
    let ban = wire::BanMemberRequest { reason: "x".repeat(256), expires_at, ..ban_of("r", "ben") };
    let ban = ana.moderation.ban_member(ban).await.unwrap().into_inner().ban.unwrap();
    assert_eq!(ban.expires_at, expires_at);
    let list = wire::ListBansRequest { room_id: "r".into(), page_size: 500, page_token: String::new() };
    assert_eq!(ana.moderation.list_bans(list).await.unwrap().into_inner().bans, [ban]);
}
