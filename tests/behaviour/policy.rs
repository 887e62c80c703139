//! Who may do what: every method, by every kind of caller, against the table that src/chat/policy.rs documents.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_types::FieldMask;
use relay_proto::chat::v1::{
    self as wire, ConnectRequest, MemberRole, NewMember, OpenStream, RemoveMemberRequest, RoomKind,
    SendMessagesRequest, SendMessagesResponse, UpdateMemberRequest, connect_request::Frame as Up,
    send_result::Result as Sent,
};
use tonic::Code;

use crate::support::{Clients, Raw, Server, Token, error_of, message, methods};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Reader,
    Member,
    Admin,
    Owner,
    StrangerToPrivate,
    StrangerToPublic,
}

const EVERYBODY: [Who; 6] =
    [Who::Owner, Who::Admin, Who::Member, Who::Reader, Who::StrangerToPrivate, Who::StrangerToPublic];

impl Who {
    fn role(self) -> Option<MemberRole> {
        match self {
            Self::Owner => Some(MemberRole::Owner),
            Self::Admin => Some(MemberRole::Admin),
            Self::Member => Some(MemberRole::Member),
            Self::Reader => Some(MemberRole::ReadOnly),
            Self::StrangerToPrivate | Self::StrangerToPublic => None,
        }
    }
}

/// What a call asks of its caller.
enum Needs {
    /// Nothing that has to do with the room.
    Nothing,
    /// To be a member, or that the room is public.
    Sight,
    /// What the table says of this action; and at least this role, to give or touch it.
    Action(&'static str, Who),
    /// Nobody may.
    Denied,
    /// To be an admin of the project, whoever they are in the room.
    ProjectAdmin,
}

struct Row {
    method: &'static str,
    what: &'static str,
    request: Vec<u8>,
    needs: Needs,
}

fn row(method: &'static str, what: &'static str, needs: Needs, request: impl prost::Message) -> Row {
    Row { method, what, request: request.encode_to_vec(), needs }
}

/// The message that the caller sent while they were a member.
const OWN: u64 = 1;
/// The message of the room's first owner.
const FOREIGN: u64 = 2;
/// The first owner.
const ROOT: &str = "root";
/// A member.
const TOM: &str = "tom";

fn rows(room: &str) -> Vec<Row> {
    let room_id = || room.to_owned();
    let action = |name| Needs::Action(name, Who::Reader);
    let edit = |seq| wire::EditMessageRequest { room_id: room_id(), seq, text: "x".into(), ..Default::default() };
    let delete = |seq| wire::DeleteMessageRequest { room_id: room_id(), seq, reason: String::new() };
    let add = |role: MemberRole| {
        let members = vec![NewMember { user_id: "una".into(), role: role.into() }];
        wire::AddMembersRequest { room_id: room_id(), members }
    };
    let remove = |user: &str| RemoveMemberRequest { room_id: room_id(), user_id: user.into() };
    let promote = |user: &str, role: MemberRole| UpdateMemberRequest {
        room_id: room_id(),
        user_id: user.into(),
        role: role.into(),
    };
    let mask = Some(FieldMask { paths: vec!["title".into()] });
    let update =
        wire::UpdateRoomRequest { room_id: room_id(), title: "x".into(), update_mask: mask, ..Default::default() };
    let open = ConnectRequest { request_id: String::new(), frame: Some(Up::Open(OpenStream::default())) };
    let (seq, emoji) = (FOREIGN, "x".to_owned());
    let manage = "remove, update members";
    let everyone = Some(wire::mention::Target::Room(wire::MentionRoom {}));
    let to_everyone = wire::SendMessageRequest {
        mentions: vec![wire::Mention { offset: 0, length: 1, target: everyone }],
        ..message(room, "x")
    };
    let mask = Some(FieldMask { paths: vec!["archived".into()] });
    let settings = wire::UpdateRoomSettingsRequest { room_id: room_id(), settings: None, update_mask: mask };
    vec![
        row("ChatService/Connect", "", Needs::Nothing, open),
        row("ChatService/Subscribe", "", Needs::Nothing, wire::SubscribeRequest::default()),
        row("ChatService/Ping", "", Needs::Nothing, wire::PingRequest {}),
        row("ChatService/SendMessage", "", action("send, react"), message(room, "x")),
        row(
            "ChatService/SendMessages",
            "",
            action("send, react"),
            SendMessagesRequest { requests: vec![message(room, "x")] },
        ),
        row("ChatService/EditMessage", "own", action("edit, delete one's own"), edit(OWN)),
        row("ChatService/EditMessage", "another's", Needs::Denied, edit(FOREIGN)),
        row("ChatService/DeleteMessage", "own", action("edit, delete one's own"), delete(OWN)),
        row("ChatService/DeleteMessage", "another's", action("delete anyone's message"), delete(FOREIGN)),
        row(
            "ChatService/AddReaction",
            "",
            action("send, react"),
            wire::AddReactionRequest { room_id: room_id(), seq, emoji: emoji.clone() },
        ),
        row(
            "ChatService/RemoveReaction",
            "",
            action("send, react"),
            wire::RemoveReactionRequest { room_id: room_id(), seq, emoji },
        ),
        row(
            "ChatService/SkipLane",
            "",
            action("send, react"),
            wire::SkipLaneRequest { room_id: room_id(), lane_id: "l".into(), first_client_seq: 1, last_client_seq: 0 },
        ),
        row("ChatService/GetMessage", "", action("read"), wire::GetMessageRequest { room_id: room_id(), seq }),
        row(
            "ChatService/ListMessages",
            "",
            action("read"),
            wire::ListMessagesRequest { room_id: room_id(), ..Default::default() },
        ),
        row("ChatService/SendMessage", "to everyone", action("mention everyone"), to_everyone),
        row(
            "ChatService/UpdateReceipts",
            "",
            action("read"),
            wire::UpdateReceiptsRequest { room_id: room_id(), delivered_seq: seq, read_seq: 0 },
        ),
        row(
            "ChatService/ListReceipts",
            "",
            action("read"),
            wire::ListReceiptsRequest { room_id: room_id(), ..Default::default() },
        ),
        row("RoomService/UpdateRoomSettings", "", action("read"), settings),
        row(
            "ChatService/SearchMessages",
            "",
            action("read"),
            wire::SearchMessagesRequest { query: "own".into(), room_ids: vec![room_id()], ..Default::default() },
        ),
        row(
            "ChatService/SetTyping",
            "",
            action("send, react"),
            wire::SetTypingRequest { room_id: room_id(), typing: true },
        ),
        row(
            "PresenceService/GetPresence",
            "",
            Needs::Nothing,
            wire::GetPresenceRequest { user_ids: vec!["somebody".into()] },
        ),
        row("PresenceService/SetPresence", "", Needs::Nothing, wire::SetPresenceRequest::default()),
        row("RoomService/CreateRoom", "", Needs::Nothing, wire::CreateRoomRequest::default()),
        row("RoomService/ListRooms", "", Needs::Nothing, wire::ListRoomsRequest::default()),
        row("RoomService/GetDirectRoom", "", Needs::Nothing, wire::GetDirectRoomRequest { user_id: "somebody".into() }),
        row("RoomService/GetRoom", "", Needs::Sight, wire::GetRoomRequest { room_id: room_id() }),
        row("RoomService/JoinRoom", "", Needs::Sight, wire::JoinRoomRequest { room_id: room_id() }),
        row("RoomService/LeaveRoom", "", Needs::Sight, wire::LeaveRoomRequest { room_id: room_id() }),
        row("RoomService/UpdateRoom", "", action("update the room"), update),
        row("RoomService/DeleteRoom", "", action("delete the room"), wire::DeleteRoomRequest { room_id: room_id() }),
        row("RoomService/AddMembers", "a reader", action("add members"), add(MemberRole::ReadOnly)),
        row("RoomService/AddMembers", "a member", Needs::Action("add members", Who::Member), add(MemberRole::Member)),
        row("RoomService/AddMembers", "an admin", Needs::Action("add members", Who::Admin), add(MemberRole::Admin)),
        row("RoomService/AddMembers", "an owner", Needs::Action("add members", Who::Owner), add(MemberRole::Owner)),
        row("RoomService/RemoveMember", "a member", action(manage), remove(TOM)),
        row("RoomService/RemoveMember", "an owner", Needs::Action(manage, Who::Owner), remove(ROOT)),
        row("RoomService/UpdateMember", "a member", action(manage), promote(TOM, MemberRole::ReadOnly)),
        row("RoomService/UpdateMember", "to admin", Needs::Action(manage, Who::Admin), promote(TOM, MemberRole::Admin)),
        row("RoomService/UpdateMember", "to owner", Needs::Action(manage, Who::Owner), promote(TOM, MemberRole::Owner)),
        row(
            "RoomService/UpdateMember",
            "an owner",
            Needs::Action(manage, Who::Owner),
            promote(ROOT, MemberRole::Member),
        ),
        row(
            "RoomService/ListMembers",
            "",
            action("read"),
            wire::ListMembersRequest { room_id: room_id(), ..Default::default() },
        ),
    ]
    .into_iter()
    .chain(moderation_rows(room))
    .collect()
}

fn moderation_rows(room: &str) -> Vec<Row> {
    let (room_id, user_id) = (|| room.to_owned(), || TOM.to_owned());
    let action = |name| Needs::Action(name, Who::Reader);
    let (moderate, seq) = ("ban, mute users", FOREIGN);
    let ban = |user: &str| wire::BanMemberRequest { room_id: room_id(), user_id: user.into(), ..Default::default() };
    let report = wire::ReportMessageRequest { room_id: room_id(), seq, ..Default::default() };
    let resolve = wire::ResolveReportRequest { report_id: uuid::Uuid::nil().to_string(), resolution: String::new() };
    vec![
        row("ModerationService/BanMember", "a member", action(moderate), ban(TOM)),
        row("ModerationService/BanMember", "somebody else", action(moderate), ban("una")),
        row(
            "ModerationService/UnbanMember",
            "",
            action(moderate),
            wire::UnbanMemberRequest { room_id: room_id(), user_id: user_id() },
        ),
        row(
            "ModerationService/ListBans",
            "",
            action(moderate),
            wire::ListBansRequest { room_id: room_id(), ..Default::default() },
        ),
        row(
            "ModerationService/MuteMember",
            "",
            action(moderate),
            wire::MuteMemberRequest { room_id: room_id(), user_id: user_id(), muted_until: None },
        ),
        row("ModerationService/ReportMessage", "", action("read"), report),
        row("ModerationService/BlockUser", "", Needs::Nothing, wire::BlockUserRequest { user_id: user_id() }),
        row("ModerationService/UnblockUser", "", Needs::Nothing, wire::UnblockUserRequest { user_id: user_id() }),
        row("ModerationService/ListBlockedUsers", "", Needs::Nothing, wire::ListBlockedUsersRequest::default()),
        row("ModerationService/ListReports", "", Needs::ProjectAdmin, wire::ListReportsRequest::default()),
        row("ModerationService/ResolveReport", "", Needs::ProjectAdmin, resolve),
        row("ChatService/PinMessage", "", action("pin messages"), wire::PinMessageRequest { room_id: room_id(), seq }),
        row(
            "ChatService/UnpinMessage",
            "",
            action("pin messages"),
            wire::UnpinMessageRequest { room_id: room_id(), seq },
        ),
        row(
            "ChatService/ListPinnedMessages",
            "",
            action("read"),
            wire::ListPinnedMessagesRequest { room_id: room_id() },
        ),
    ]
}

/// The table in the documentation of the policy: for each action, who may.
fn documented() -> BTreeMap<String, Vec<Who>> {
    let lines = include_str!("../../src/chat/policy.rs").lines();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let table: Vec<_> = lines.filter(|line| line.starts_with("//! |")).map(cells).collect();
    assert_eq!(table[0][1..6], ["action", "owner", "admin", "member", "read-only"]);
    let rows = table[2..].iter().map(|row| {
        let who = EVERYBODY.into_iter().zip(&row[2..6]).filter(|(_, cell)| *cell == "yes").map(|(who, _)| who);
        (row[1].clone(), who.collect())
    });
    rows.collect()
}

/// The reason that the call must fail with; empty if it must not.
fn expected(needs: &Needs, who: Who, table: &BTreeMap<String, Vec<Who>>) -> &'static str {
    let stranger = match who {
        Who::StrangerToPrivate => Some("ROOM_NOT_FOUND"),
        Who::StrangerToPublic => Some("NOT_A_MEMBER"),
        _ => None,
    };
    match needs {
        Needs::Nothing => "",
        Needs::ProjectAdmin => "ADMIN_REQUIRED",
        Needs::Sight if who == Who::StrangerToPublic => "",
        Needs::Sight => stranger.unwrap_or_default(),
        Needs::Denied => stranger.unwrap_or("ROLE_INSUFFICIENT"),
        Needs::Action(action, rank) => stranger.unwrap_or_else(|| {
            let may = table.get(*action).unwrap_or_else(|| panic!("{action} is not in the table")).contains(&who);
            if may && who >= *rank { "" } else { "ROLE_INSUFFICIENT" }
        }),
    }
}

/// A room with [`ROOT`], [`TOM`] and a caller, who has said something there, and then got their role or was removed.
async fn prepare(root: &mut Clients, caller: &mut Clients, room: &str, user: &str, who: Who) {
    let kind = if who == Who::StrangerToPublic { RoomKind::Public } else { RoomKind::Private };
    root.create_room(room, kind, &[TOM, user]).await;
    assert_eq!(caller.say(room, "own").await.seq, OWN);
    assert_eq!(root.say(room, "another's").await.seq, FOREIGN);
    let (room_id, user_id) = (room.to_owned(), user.to_owned());
    match who.role() {
        Some(role) => {
            let request = UpdateMemberRequest { room_id, user_id, role: role.into() };
            root.rooms.update_member(request).await.map(drop).unwrap();
        }
        None => {
            root.rooms.remove_member(RemoveMemberRequest { room_id, user_id }).await.map(drop).unwrap();
        }
    }
}

/// Why the call failed; empty if it did not. A batch tells of its only message.
async fn outcome(raw: &Raw, row: &Row) -> String {
    match raw.call_bytes(row.method, row.request.clone().into()).await {
        Err(status) => error_of(&status).1,
        Ok(bytes) if row.method.ends_with("SendMessages") => {
            match SendMessagesResponse::decode(bytes).unwrap().results.remove(0).result.unwrap() {
                Sent::Receipt(_) => String::new(),
                Sent::Error(error) => error.reason().as_str_name().replace("ERROR_REASON_", ""),
            }
        }
        Ok(_) => String::new(),
    }
}

#[tokio::test]
async fn every_method_allows_every_role_what_the_documented_table_says() {
    let server = Server::with(&[("chat.max_streams_per_user", "1000")]);
    let table = documented();
    assert_eq!(table.len(), 11);
    let tested: BTreeSet<_> = rows("").iter().map(|row| row.method.to_owned()).collect();
    let contract: BTreeSet<_> = methods().into_iter().filter(|m| m != "ChatService/RenewStream").collect();
    assert_eq!(tested, contract, "each method of the contract has a row, RenewStream a test of its own");

    let mut root = server.user(ROOT).await;
    let connection = Raw::connect(&server.url()).await;
    let mut wrong = Vec::new();
    for who in EVERYBODY {
        let user = format!("{who:?}");
        let mut caller = server.user(&user).await;
        let raw = connection.bearer(&Token::of(&user).sign());
        for i in 0..rows("").len() {
            let room = format!("{who:?}-{i}");
            prepare(&mut root, &mut caller, &room, &user, who).await;
            let row = &rows(&room)[i];
            let (got, expected) = (outcome(&raw, row).await, expected(&row.needs, who, &table));
            if got != expected {
                wrong.push(format!("{} {} by {who:?}: {got:?} instead of {expected:?}", row.method, row.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn nothing_changes_a_direct_room() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let direct = wire::GetDirectRoomRequest { user_id: "ben".into() };
    let made = ana.rooms.get_direct_room(direct).await.unwrap().into_inner().room.unwrap().room.unwrap();
    ana.say(&made.room_id, "own").await;
    server.user("ben").await.say(&made.room_id, "another's").await;
    let connection = Raw::connect(&server.url()).await;
    let raw = connection.bearer(&Token::of("ana").sign());
    let stranger = connection.bearer(&Token::of("cy").sign());
    let refused = [
        "UpdateRoom",
        "DeleteRoom",
        "LeaveRoom",
        "AddMembers",
        "RemoveMember",
        "UpdateMember",
        "BanMember",
        "UnbanMember",
        "ListBans",
        "MuteMember",
    ];
    for row in rows(&made.room_id) {
        if matches!(row.needs, Needs::Nothing | Needs::ProjectAdmin) {
            continue;
        }
        assert_eq!(outcome(&stranger, &row).await, "ROOM_NOT_FOUND", "{} by a stranger", row.method);
        let status = match raw.call_bytes(row.method, row.request.clone().into()).await {
            Err(status) if refused.iter().any(|method| row.method.ends_with(method)) => status,
            _ => continue,
        };
        let expected = (Code::FailedPrecondition, "ROOM_IS_DIRECT".to_owned(), vec![]);
        assert_eq!(error_of(&status), expected, "{} {}", row.method, row.what);
    }
    let request = wire::GetRoomRequest { room_id: made.room_id };
    let now = ana.rooms.get_room(request).await.unwrap().into_inner().room.unwrap().room.unwrap();
    assert_eq!((now.member_count, now.title.as_str(), now.kind), (2, "", made.kind));
}
