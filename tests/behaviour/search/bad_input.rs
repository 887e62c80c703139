//! What a search refuses, with its reason and its field.

use prost_types::Timestamp;
use relay_proto::chat::v1::SearchMessagesRequest;
use tonic::Code;

use super::{page, query, room};
use crate::support::{Server, error_of};

#[tokio::test]
async fn a_search_that_is_outside_its_limits_is_refused_by_reason_and_field() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    room(&mut ana, "r", &["word"]).await;
    let with = |change: fn(&mut SearchMessagesRequest)| {
        let mut request = query("word");
        change(&mut request);
        request
    };
    let time = |seconds, nanos| Some(Timestamp { seconds, nanos });
    let mut cases: Vec<(SearchMessagesRequest, &str, &str)> = vec![
        (with(|r| r.query = "w".repeat(513)), "FIELD_INVALID", "query"),
        (with(|r| r.room_ids = vec!["r".into(); 51]), "FIELD_INVALID", "room_ids"),
        (with(|r| r.room_ids = vec!["r".into(), "no room".into()]), "FIELD_INVALID", "room_ids[1]"),
        (with(|r| r.sender_ids = vec!["ana".into(); 51]), "FIELD_INVALID", "sender_ids"),
        (with(|r| r.sender_ids = vec![String::new()]), "FIELD_INVALID", "sender_ids[0]"),
        (SearchMessagesRequest { sent_after: time(0, -1), ..query("word") }, "FIELD_INVALID", "sent_after"),
        (SearchMessagesRequest { sent_after: time(i64::MAX, 0), ..query("word") }, "FIELD_INVALID", "sent_after"),
        (
            SearchMessagesRequest { sent_before: time(0, 1_000_000_000), ..query("word") },
            "FIELD_INVALID",
            "sent_before",
        ),
        (SearchMessagesRequest { sent_before: time(i64::MIN, 0), ..query("word") }, "FIELD_INVALID", "sent_before"),
        (with(|r| r.order = 3), "FIELD_INVALID", "order"),
        (with(|r| r.page_size = -1), "FIELD_INVALID", "page_size"),
        (with(|r| r.page_size = 101), "FIELD_INVALID", "page_size"),
    ];
    for text in
        ["", " ", "!!", "\"\"", "\"word", "*", "wo*rd", "word**", "\"wo*\"", "\"word\"*", "?*", &"w ".repeat(17)]
    {
        cases.push((query(text), "SEARCH_QUERY_INVALID", "query"));
    }
    for (request, reason, field) in cases {
        let what = format!("{request:?}");
        let status = page(&ana, request).await.unwrap_err();
        assert_eq!(error_of(&status), (Code::InvalidArgument, reason.to_owned(), vec![field.to_owned()]), "{what}");
    }
    for fine in [
        with(|r| r.query = "w ".repeat(16)),
        with(|r| r.query = "w".repeat(512)),
        with(|r| r.room_ids = vec!["r".into(); 50]),
        with(|r| r.sender_ids = vec!["ana".into(); 50]),
        with(|r| r.page_size = 100),
        SearchMessagesRequest { sent_after: time(9, 0), sent_before: time(8, 0), ..query("word") },
        SearchMessagesRequest { sent_after: time(-62_135_596_800, 0), ..query("word") },
        SearchMessagesRequest { sent_before: time(253_402_300_799, 999_999_999), ..query("word") },
    ] {
        page(&ana, fine).await.unwrap();
    }
}

#[tokio::test]
async fn a_page_token_holds_for_its_own_search_only() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    room(&mut ana, "r", &["word one", "word two", "word three"]).await;
    room(&mut ana, "s", &["word four"]).await;
    for order in [1, 2] {
        let search = SearchMessagesRequest { page_size: 1, order, room_ids: vec!["r".into()], ..query("word") };
        let token = page(&ana, search.clone()).await.unwrap().next_page_token;
        let next = SearchMessagesRequest { page_token: token.clone(), page_size: 2, ..search.clone() };
        assert_eq!(page(&ana, next.clone()).await.unwrap().results.len(), 2, "of another size");
        let ben = server.user("ben").await;
        assert_eq!(error_of(&page(&ben, next.clone()).await.unwrap_err()).1, "PAGE_TOKEN_INVALID", "of another user");
        for other in [
            SearchMessagesRequest { query: "wor*".into(), ..next.clone() },
            SearchMessagesRequest { room_ids: vec!["s".into()], ..next.clone() },
            SearchMessagesRequest { room_ids: vec![], ..next.clone() },
            SearchMessagesRequest { sender_ids: vec!["ana".into()], ..next.clone() },
            SearchMessagesRequest { order: 3 - order, ..next.clone() },
            SearchMessagesRequest { sent_after: Some(Timestamp::default()), ..next.clone() },
            SearchMessagesRequest { page_token: format!("{token}A"), ..next.clone() },
        ] {
            let what = format!("{other:?}");
            let status = page(&ana, other).await.unwrap_err();
            assert_eq!(error_of(&status), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into(), vec![]), "{what}");
        }
    }
}
