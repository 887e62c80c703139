//! What a query finds, and what it highlights.

use super::{in_room, marked, query, results, room, texts};
use crate::support::Server;

const SAID: [&str; 6] = [
    "The quick brown fox",
    "jumps over the lazy dog",
    "A quick dog, a brown dog",
    "Don't stop: ana@example.com",
    "brown",
    "QUICKLY!",
];

#[tokio::test]
async fn queries_find_words_phrases_and_beginnings() {
    let server = Server::start();
    room(&mut server.user("ana").await, "r", &SAID).await;
    let ben = server.user("ben").await;
    for (text, expected) in [
        ("fox", vec![0]),
        ("FOX", vec![0]),
        ("quick", vec![2, 0]),
        ("quick brown", vec![2, 0]),
        ("brown quick", vec![2, 0]),
        ("quick dog fox", vec![]),
        ("\"quick brown\"", vec![0]),
        ("\"brown quick\"", vec![]),
        ("\"lazy dog\" jumps", vec![1]),
        ("quick*", vec![5, 2, 0]),
        ("qui* dog", vec![2]),
        ("uick", vec![]),
        ("don't", vec![3]),
        ("example", vec![3]),
        ("\"ana example\"", vec![3]),
        ("ana@example.com", vec![3]),
        ("the", vec![1, 0]),
        ("absent", vec![]),
        ("!? dog", vec![2, 1]),
    ] {
        let expected: Vec<&str> = expected.into_iter().map(|i| SAID[i]).collect();
        assert_eq!(texts(&ben, query(text)).await, expected, "{text}");
        assert_eq!(texts(&ben, in_room(text, "r")).await, expected, "{text} in the room");
    }
}

#[tokio::test]
async fn highlights_are_the_exact_bytes_that_match() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let said = ["Über dem café: CAFE\u{301} dog, dog", "東京都庁は東京", "you don't 👍🏽"];
    room(&mut ana, "r", &said).await;
    for (text, expected) in [
        ("cafe", vec!["café", "CAFE\u{301}"]),
        ("uber*", vec!["Über"]),
        ("\"cafe dog\"", vec!["CAFE\u{301}", "dog"]),
        ("do* uber", vec!["Über", "dog", "dog"]),
        ("東京都", vec!["東京都"]),
        ("東京", vec!["東京", "東京"]),
        ("京", vec!["京", "京"]),
        ("don't", vec!["don't"]),
        ("👍", vec!["👍🏽"]),
    ] {
        let found = results(&ana, query(text)).await;
        assert_eq!(marked(&found), [expected], "{text}");
    }
    let many = "word ".repeat(50);
    ana.say("r", &many).await;
    assert_eq!(results(&ana, query("word")).await[0].highlights.len(), 32);
}

#[tokio::test]
async fn words_of_a_long_text_are_found_wherever_they_stand() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    room(&mut ana, "r", &[]).await;
    let long: String = (0..4_000).map(|n| format!("w{n} ")).collect();
    ana.say("r", &long).await;
    for text in ["w0", "w3999", "\"w2000 w2001\"", "w0 w3999", "w399*"] {
        assert_eq!(texts(&ana, query(text)).await, [long.as_str()], "{text}");
    }
    assert!(texts(&ana, query("\"w1 w3\"")).await.is_empty());
    // The longest text there may be.
    let longest = "a".repeat(32 * 1024);
    ana.say("r", &longest).await;
    assert_eq!(texts(&ana, query(&"a".repeat(512))).await, [longest.as_str()]);
    let most = "b ".repeat(16 * 1024);
    ana.say("r", &most).await;
    assert_eq!(texts(&ana, query("\"b b b\"")).await, [most.as_str()]);
}

#[tokio::test]
async fn a_text_that_looks_like_a_statement_is_only_text() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let said = [
        "'; DROP TABLE search_messages; --",
        "a AND b OR NOT c NEAR(d, 5)",
        "foo:* <-> !bar & (baz | qux)",
        "back\\slash 'quoted'",
    ];
    room(&mut ana, "r", &said).await;
    for (text, expected) in [
        ("'; drop table", said[0]),
        ("AND OR NOT NEAR", said[1]),
        ("foo <-> !bar", said[2]),
        ("(baz | qux)", said[2]),
        ("back\\slash", said[3]),
        ("'quoted'", said[3]),
        ("terms:drop", ""),
    ] {
        let expected: Vec<&str> = [expected].into_iter().filter(|text| !text.is_empty()).collect();
        assert_eq!(texts(&ana, query(text)).await, expected, "{text}");
    }
}
