//! Reports of messages, for the project's admins.

use relay_proto::chat::v1::{self as wire, ReportCategory, ReportState, RoomKind};
use serde_json::json;
use tonic::Code;

use super::{delete_of, edit_of, field, reason};
use crate::support::{Clients, Server, Token, message, relay};

async fn admin(server: &Server, project: &str) -> Clients {
    let token = Token::of("root").claim("relay_admin", json!(true)).claim("aud", json!(project));
    Clients::connect(&server.url(), token.sign()).await
}

fn report_of(room: &str, seq: u64, comment: &str) -> wire::ReportMessageRequest {
    let category = ReportCategory::Spam.into();
    wire::ReportMessageRequest { room_id: room.into(), seq, category, comment: comment.into() }
}

async fn report(clients: &mut Clients, room: &str, seq: u64) -> String {
    clients.moderation.report_message(report_of(room, seq, "")).await.unwrap().into_inner().report_id
}

async fn reports(clients: &mut Clients, state: ReportState) -> Vec<wire::Report> {
    let request = wire::ListReportsRequest { state: state.into(), ..Default::default() };
    clients.moderation.list_reports(request).await.unwrap().into_inner().reports
}

async fn resolve(clients: &mut Clients, report_id: &str, resolution: &str) -> wire::Report {
    let request = wire::ResolveReportRequest { report_id: report_id.into(), resolution: resolution.into() };
    clients.moderation.resolve_report(request).await.unwrap().into_inner().report.unwrap()
}

#[tokio::test]
async fn a_report_keeps_the_message_as_it_was_and_admins_close_it() {
    let server = Server::start();
    let (mut ana, mut ben, mut root) =
        (server.user("ana").await, server.user("ben").await, admin(&server, "default").await);
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.add("r", "ben", wire::MemberRole::ReadOnly).await;
    let whole = wire::SendMessageRequest {
        content_type: "text/markdown".into(),
        metadata: [("k".to_owned(), "v".to_owned())].into(),
        attachments: vec![wire::Attachment {
            url: "https://a.example/x.png".into(),
            name: "x.png".into(),
            mime_type: "image/png".into(),
            size_bytes: 7,
        }],
        ..message("r", "buy \"this\" \u{1f600}")
    };
    ana.chat.send_message(whole).await.unwrap();
    let before = ana.history("r").await.remove(0);
    let id = ben.moderation.report_message(report_of("r", 1, "spam!")).await.unwrap().into_inner().report_id;
    ana.chat.edit_message(edit_of("r", 1, "harmless")).await.unwrap();

    let [open] = <[wire::Report; 1]>::try_from(reports(&mut root, ReportState::Unspecified).await).unwrap();
    assert_eq!((open.report_id.as_str(), open.reporter_id.as_str(), open.comment.as_str()), (&*id, "ben", "spam!"));
    assert_eq!((open.category(), open.state()), (ReportCategory::Spam, ReportState::Open));
    assert_eq!(open.message.as_ref(), Some(&before));
    assert!(open.reported_at.is_some() && open.resolved_at.is_none() && open.resolved_by.is_empty());

    // A second one takes its place, as long as it is open.
    let category = ReportCategory::Unspecified.into();
    let again = wire::ReportMessageRequest { category, ..report_of("r", 1, "still") };
    assert_eq!(ben.moderation.report_message(again).await.unwrap().into_inner().report_id, id);
    let others = report(&mut ana, "r", 1).await;
    assert_ne!(others, id);
    let listed = reports(&mut root, ReportState::Open).await;
    assert_eq!(listed.iter().map(|r| r.report_id.as_str()).collect::<Vec<_>>(), [&*others, &id], "the newest first");
    assert_eq!((listed[1].category(), listed[1].comment.as_str()), (ReportCategory::Other, "still"));
    assert_eq!(listed[1].message.as_ref().unwrap().text, "harmless");

    // The deletion of a message leaves its reports; a deleted one is not reported.
    ana.chat.delete_message(delete_of("r", 1, "")).await.unwrap();
    assert_eq!(reason(ben.moderation.report_message(report_of("r", 1, "")).await), "MESSAGE_DELETED");
    assert_eq!(reports(&mut root, ReportState::Open).await, listed);

    let closed = resolve(&mut root, &id, "warned").await;
    assert_eq!((closed.state(), closed.resolved_by.as_str()), (ReportState::Resolved, "root"));
    assert_eq!(closed.resolution, "warned");
    assert!(closed.resolved_at.is_some());
    assert_eq!(resolve(&mut root, &id, "something else").await, closed);
    assert_eq!(reports(&mut root, ReportState::Resolved).await, [closed]);
    assert_eq!(reports(&mut root, ReportState::Open).await.len(), 1);

    ana.say("r", "more").await;
    let first = report(&mut ben, "r", 2).await;
    resolve(&mut root, &first, "").await;
    assert_ne!(report(&mut ben, "r", 2).await, first, "the old one is closed");
}

#[tokio::test]
async fn only_members_report_and_only_admins_of_the_project_see_reports() {
    let server = Server::start();
    let (mut ana, mut eve) = (server.user("ana").await, server.user("eve").await);
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.say("r", "1").await;
    let id = report(&mut ana, "r", 1).await;
    assert_eq!(reason(eve.moderation.report_message(report_of("r", 1, "")).await), "ROOM_NOT_FOUND");
    let denied = (Code::PermissionDenied, "ADMIN_REQUIRED".to_owned(), vec![]);
    let close = wire::ResolveReportRequest { report_id: id, resolution: String::new() };
    for token in [Token::of("ana"), Token::of("ana").claim("relay_admin", json!(false))] {
        let mut ana = Clients::connect(&server.url(), token.sign()).await;
        let list = ana.moderation.list_reports(wire::ListReportsRequest::default()).await;
        assert_eq!(field(list), denied);
        assert_eq!(field(ana.moderation.resolve_report(close.clone()).await), denied);
    }
    let odd = Token::of("ana").claim("relay_admin", json!("yes"));
    let mut odd = Clients::connect(&server.url(), odd.sign()).await;
    assert_eq!(reason(odd.moderation.resolve_report(close).await), "TOKEN_INVALID");
    // An admin of the project is nobody special in its rooms.
    let mut root = admin(&server, "default").await;
    assert_eq!(reports(&mut root, ReportState::Open).await.len(), 1);
    assert_eq!(reason(root.moderation.report_message(report_of("r", 1, "")).await), "ROOM_NOT_FOUND");
}

#[tokio::test]
async fn the_command_line_makes_tokens_of_admins() {
    let server = Server::alone(&[]);
    for (flag, admin) in [(None, false), (Some("--admin"), true)] {
        let key = format!("auth.signing_key={}", crate::support::SIGNING_KEY);
        let data = server.node(0).data_dir();
        let mut args = vec!["token", "--user", "root", "--set", &key, "--data-dir", data.to_str().unwrap()];
        args.extend(flag);
        let printed = String::from_utf8(relay(&args).stdout).unwrap();
        let mut root = Clients::connect(&server.url(), printed.trim().to_owned()).await;
        let answer = root.moderation.list_reports(wire::ListReportsRequest::default()).await;
        assert_eq!(answer.is_ok(), admin, "{answer:?}");
    }
}

#[tokio::test]
async fn no_project_sees_or_closes_the_reports_of_another() {
    let mut server = Server::start();
    let time = server.sql("0", "now()");
    server.amend(&format!("INSERT INTO projects (project_id, created_at) VALUES ('other', {time})")).await;
    let of = async |user: &str, project: &str| {
        let token = Token::of(user).claim("aud", json!(project)).sign();
        Clients::connect(&server.url(), token).await
    };
    let mut ids = Vec::new();
    for project in ["default", "other"] {
        let mut ana = of("ana", project).await;
        ana.create_room("r", RoomKind::Private, &[]).await;
        ana.say("r", project).await;
        ids.push(report(&mut ana, "r", 1).await);
    }
    let missing = |id: &str| wire::ResolveReportRequest { report_id: id.into(), resolution: "x".into() };
    for (project, own, foreign) in [("default", &ids[0], &ids[1]), ("other", &ids[1], &ids[0])] {
        let mut root = admin(&server, project).await;
        let listed = reports(&mut root, ReportState::Open).await;
        assert_eq!(listed.iter().map(|r| &r.report_id).collect::<Vec<_>>(), [own]);
        assert_eq!(listed[0].message.as_ref().unwrap().text, project);
        let none = (Code::NotFound, "REPORT_NOT_FOUND".to_owned(), vec![]);
        assert_eq!(field(root.moderation.resolve_report(missing(foreign)).await), none);
        let unknown = uuid::Uuid::new_v4().to_string();
        assert_eq!(field(root.moderation.resolve_report(missing(&unknown)).await), none);
        assert_eq!(reports(&mut root, ReportState::Resolved).await, []);
    }
    // The same user id in the other project has neither blocked nor banned anybody by what it did here.
    let mut ana = of("ana", "default").await;
    ana.moderation.block_user(wire::BlockUserRequest { user_id: "ben".into() }).await.unwrap();
    ana.moderation.ban_member(super::ban_of("r", "cy")).await.unwrap();
    let mut other = of("ana", "other").await;
    let listed = other.moderation.list_blocked_users(wire::ListBlockedUsersRequest::default()).await;
    assert_eq!(listed.unwrap().into_inner().user_ids, Vec::<String>::new());
    other.add("r", "cy", wire::MemberRole::Member).await;
    super::direct(&mut of("ben", "other").await, "ana").await;
}

#[tokio::test]
async fn reports_come_in_pages_and_a_user_has_at_most_a_thousand_open() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ana.say_all("r", (0..1_001).map(|i| i.to_string())).await;
    let mut ids = Vec::new();
    for seqs in (1..=1_000).collect::<Vec<u64>>().chunks(100) {
        let reports = seqs.iter().map(|seq| {
            let mut ana = ana.clone();
            async move { report(&mut ana, "r", *seq).await }
        });
        ids.extend(futures_util::future::join_all(reports).await);
    }
    assert_eq!(reason(ana.moderation.report_message(report_of("r", 1_001, "")).await), "TOO_MANY_REPORTS");
    assert_eq!(report(&mut ana, "r", 500).await, ids[499], "in the place of an open one there is room");
    report(&mut server.user("ben").await, "r", 1_001).await;

    let mut root = admin(&server, "default").await;
    let (mut page_token, mut listed) = (String::new(), Vec::new());
    loop {
        let request = wire::ListReportsRequest { page_size: 200, page_token, ..Default::default() };
        let page = root.moderation.list_reports(request).await.unwrap().into_inner();
        listed.extend(page.reports.into_iter().map(|report| report.report_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(listed.len() == 1_001 && listed.is_sorted_by(|a, b| a > b));
    resolve(&mut root, &ids[0], "").await;
    report(&mut ana, "r", 1_001).await;
}

#[tokio::test]
async fn a_page_of_reports_ends_before_it_is_too_large_to_send() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    for seq in 1..=70 {
        ana.say("r", &"x".repeat(32_000)).await;
        report(&mut ana, "r", seq).await;
    }
    let mut root = admin(&server, "default").await;
    let (mut page_token, mut sizes) = (String::new(), Vec::new());
    loop {
        let request = wire::ListReportsRequest { page_size: 200, page_token, ..Default::default() };
        let page = root.moderation.list_reports(request).await.unwrap().into_inner();
        sizes.push(page.reports.len());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(sizes.len() == 3 && sizes.iter().sum::<usize>() == 70, "{sizes:?}");
}
