//! In which order messages are found, in pages, of whom and when.

use relay_proto::chat::v1::{RoomKind, SearchMessagesRequest, SearchResult};

use super::{page, query, results, room, texts};
use crate::support::Server;

fn keys(results: &[SearchResult]) -> Vec<(String, u64)> {
    results.iter().map(|r| r.message.as_ref().unwrap()).map(|m| (m.room_id.clone(), m.seq)).collect()
}

/// What the newest order is: by time, then room, then number.
fn newest_first(results: &[SearchResult]) -> bool {
    let key = |result: &SearchResult| {
        let message = result.message.as_ref().unwrap();
        let at = message.created_at.unwrap();
        (at.seconds, at.nanos, message.room_id.clone(), message.seq)
    };
    results.windows(2).all(|pair| key(&pair[0]) > key(&pair[1]))
}

#[tokio::test]
async fn pages_hold_every_match_once_in_order_however_large_they_are() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let rooms = ["a", "b", "c", "d"];
    for name in rooms {
        room(&mut ana, name, &[]).await;
    }
    // Word `often` in half of the messages, `seldom` in few, `old` only at the beginning.
    let text = |i: usize, n: usize| {
        let often = if n.is_multiple_of(2) { "often" } else { "never" };
        let seldom = if (n + i).is_multiple_of(37) { "seldom" } else { "" };
        let old = if n < 50 { "old" } else { "" };
        format!("{often} {seldom} {old} n{n} common")
    };
    let mut said = Vec::new();
    for round in 0..8 {
        for (i, name) in rooms.iter().enumerate() {
            let texts: Vec<String> = (round * 50..round * 50 + 50).map(|n| text(i, n)).collect();
            said.extend(texts.clone());
            ana.say_all(name, texts).await;
        }
    }
    for text in ["common", "often common", "seldom", "old", "old seldom", "n17"] {
        let matches = |said: &&String| text.split(' ').all(|word| said.split(' ').any(|other| other == word));
        let expected = said.iter().filter(matches).count();
        assert!(expected > 3);
        for (order, rooms) in [(1, vec![]), (1, vec!["b".to_owned()]), (1, vec!["a".into(), "c".into()]), (2, vec![])] {
            let search = SearchMessagesRequest { order, page_size: 100, room_ids: rooms.clone(), ..query(text) };
            let all = results(&ana, search.clone()).await;
            let what = format!("{text} in {rooms:?} by {order}");
            if rooms.is_empty() {
                assert_eq!(all.len(), expected, "{what}");
            }
            assert!(order == 2 || newest_first(&all), "{what}");
            let mut once = keys(&all);
            once.sort();
            once.dedup();
            assert_eq!(once.len(), all.len(), "{what}");
            let size = if expected > 500 { 77 } else { 3 };
            let small = results(&ana, SearchMessagesRequest { page_size: size, ..search }).await;
            assert_eq!(keys(&small), keys(&all), "{what}");
        }
    }
}

#[tokio::test]
async fn pages_go_on_where_they_ended_while_messages_come() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    room(&mut ana, "r", &[]).await;
    ana.say_all("r", (0..100).map(|n| format!("word {n}"))).await;
    for order in [1, 2] {
        let before = results(&ana, SearchMessagesRequest { order, page_size: 100, ..query("word") }).await;
        let mut search = SearchMessagesRequest { order, page_size: 7, ..query("word") };
        let mut paged = Vec::new();
        loop {
            let page = page(&ana, search.clone()).await.unwrap();
            paged.extend(page.results);
            ana.say("r", "one more word").await;
            search.page_token = page.next_page_token;
            if search.page_token.is_empty() {
                break;
            }
        }
        let mut paged = keys(&paged);
        paged.dedup();
        assert!(order == 2 || paged == keys(&before));
        let mut once = paged.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), paged.len(), "none twice, by {order}");
    }
}

#[tokio::test]
async fn what_is_sent_after_the_first_page_by_rank_is_on_none_of_the_others() {
    // Nothing is indexed but by searching: the first page brings what it looks at up itself.
    let server = Server::with(&[("chat.index_delay", "1m")]);
    let mut ana = server.user("ana").await;
    room(&mut ana, "r", &[]).await;
    room(&mut ana, "s", &["fox fox"]).await;
    ana.say_all("r", (0..10).map(|n| format!("fox {n}"))).await;
    let mut search = SearchMessagesRequest { order: 2, page_size: 4, ..query("fox") };
    let first = page(&ana, search.clone()).await.unwrap();
    assert_eq!(first.results.len(), 4);
    for name in ["r", "s"] {
        ana.say(name, "fox that comes later, and is worse than all of those before").await;
    }
    search.page_token = first.next_page_token;
    let others = texts(&ana, search).await;
    assert_eq!(others.len(), 7, "{others:?}");
    assert!(others.iter().all(|text| !text.contains("later")), "{others:?}");
}

#[tokio::test]
async fn the_best_come_first_by_rank_and_the_newest_otherwise() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let long = format!("fox {}", "something else entirely ".repeat(20));
    room(&mut ana, "r", &["fox fox fox", "one fox", &long, "no match"]).await;
    assert_eq!(texts(&ana, query("fox")).await, [long.as_str(), "one fox", "fox fox fox"]);
    let ranked = texts(&ana, SearchMessagesRequest { order: 2, ..query("fox") }).await;
    assert_eq!(ranked, ["fox fox fox", "one fox", long.as_str()]);
}

#[tokio::test]
async fn results_are_only_of_the_senders_and_the_time_asked_for() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let mut ben = server.user("ben").await;
    ana.create_room("r", RoomKind::Private, &["ben", "cy"]).await;
    let mut sent = Vec::new();
    for n in 0..6_u32 {
        let who = if n.is_multiple_of(2) { &mut ana } else { &mut ben };
        sent.push(who.say("r", &format!("word {n}")).await.created_at.unwrap());
    }
    let text = |all: &[u32]| -> Vec<String> { all.iter().map(|n| format!("word {n}")).collect() };
    for order in [1, 2] {
        let search = || SearchMessagesRequest { order, ..query("word") };
        let sorted = async |request| {
            let mut found = texts(&ana, request).await;
            found.sort();
            found
        };
        let of = |senders: &[&str]| senders.iter().map(|user| (*user).to_owned()).collect();
        assert_eq!(sorted(SearchMessagesRequest { sender_ids: of(&["ana"]), ..search() }).await, text(&[0, 2, 4]));
        assert_eq!(
            sorted(SearchMessagesRequest { sender_ids: of(&["ben", "cy"]), ..search() }).await,
            text(&[1, 3, 5])
        );
        assert!(sorted(SearchMessagesRequest { sender_ids: of(&["cy"]), ..search() }).await.is_empty());
        assert_eq!(sorted(SearchMessagesRequest { sent_after: Some(sent[3]), ..search() }).await, text(&[3, 4, 5]));
        assert_eq!(sorted(SearchMessagesRequest { sent_before: Some(sent[3]), ..search() }).await, text(&[0, 1, 2]));
        let between = SearchMessagesRequest {
            sent_after: Some(sent[1]),
            sent_before: Some(sent[5]),
            sender_ids: of(&["ana"]),
            room_ids: vec!["r".into()],
            ..search()
        };
        assert_eq!(sorted(between).await, text(&[2, 4]));
    }
}
