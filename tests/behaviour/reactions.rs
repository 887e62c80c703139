//! Reactions: adding, taking back, and what readers see of them.

use relay_proto::chat::v1::{
    AddReactionRequest, GetMessageRequest, ReactionSummary, RemoveReactionRequest, RoomKind, frame::Kind,
    room_event::Event,
};
use tonic::{Code, Status};

use crate::support::{Clients, Server, Stream, error_of};

async fn react(clients: &mut Clients, emoji: &str) -> Result<(), Status> {
    let request = AddReactionRequest { room_id: "r".into(), seq: 1, emoji: emoji.into() };
    clients.chat.add_reaction(request).await.map(drop)
}

async fn unreact(clients: &mut Clients, emoji: &str) {
    let request = RemoveReactionRequest { room_id: "r".into(), seq: 1, emoji: emoji.into() };
    clients.chat.remove_reaction(request).await.unwrap();
}

async fn reactions(clients: &mut Clients) -> Vec<ReactionSummary> {
    let request = GetMessageRequest { room_id: "r".into(), seq: 1 };
    let one = clients.chat.get_message(request).await.unwrap().into_inner().message.unwrap().reactions;
    assert_eq!(clients.history("r").await[0].reactions, one, "a list shows the same");
    one
}

fn summary(emoji: &str, users: &[&str], reacted_by_caller: bool) -> ReactionSummary {
    let user_ids = users.iter().map(|user| (*user).to_owned()).collect();
    ReactionSummary { emoji: emoji.into(), count: u32::try_from(users.len()).unwrap(), user_ids, reacted_by_caller }
}

async fn room(server: &Server, members: &[&str]) -> Clients {
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, members).await;
    ana.say("r", "react to this").await;
    ana
}

#[tokio::test]
async fn reactions_are_summed_by_emoji_in_the_order_in_which_they_first_came() {
    let server = Server::start();
    let mut ana = room(&server, &["ben"]).await;
    let mut ben = server.user("ben").await;
    react(&mut ben, "👍").await.unwrap();
    react(&mut ana, "shrug").await.unwrap();
    react(&mut ana, "👍").await.unwrap();
    assert_eq!(reactions(&mut ana).await, [summary("👍", &["ben", "ana"], true), summary("shrug", &["ana"], true)]);
    assert_eq!(reactions(&mut ben).await, [summary("👍", &["ben", "ana"], true), summary("shrug", &["ana"], false)]);
    unreact(&mut ben, "👍").await;
    assert_eq!(reactions(&mut ben).await, [summary("shrug", &["ana"], false), summary("👍", &["ana"], false)]);
}

#[tokio::test]
async fn the_same_reaction_again_makes_no_event() {
    let server = Server::start();
    let mut ana = room(&server, &[]).await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    unreact(&mut ana, "x").await;
    for _ in 0..2 {
        react(&mut ana, "x").await.unwrap();
    }
    for _ in 0..2 {
        unreact(&mut ana, "x").await;
    }
    ana.say("r", "end").await;
    let events = stream.events(3).await;
    assert_eq!(events.iter().map(|e| e.position).collect::<Vec<_>>(), [3, 4, 5]);
    let Some(Event::ReactionAdded(added)) = &events[0].event else { panic!("{events:?}") };
    assert_eq!((added.seq, added.emoji.as_str(), events[0].actor_id.as_str()), (1, "x", "ana"));
    let Some(Event::ReactionRemoved(removed)) = &events[1].event else { panic!("{events:?}") };
    assert_eq!((removed.seq, removed.emoji.as_str()), (1, "x"));
    // Replayed, they are the same.
    let (_, frames) = Stream::caught_up(&ana, &[("r", 2)]).await;
    let replayed: Vec<_> =
        frames.into_iter().filter_map(|kind| if let Kind::Event(e) = kind { Some(e) } else { None }).collect();
    assert_eq!(replayed, events);
}

#[tokio::test]
async fn a_summary_names_the_first_ten_and_counts_all() {
    let server = Server::start();
    let users: Vec<String> = (0..15).map(|i| format!("u{:02}", 14 - i)).collect();
    let mut ana = room(&server, &users.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for user in &users {
        react(&mut server.user(user).await, "x").await.unwrap();
    }
    let seen = reactions(&mut ana).await;
    assert_eq!((seen.len(), seen[0].count, seen[0].reacted_by_caller), (1, 15, false));
    assert_eq!(seen[0].user_ids, users[..10]);
    let last = reactions(&mut server.user(&users[14]).await).await;
    assert!(last[0].reacted_by_caller, "though the summary does not name them");
}

#[tokio::test]
async fn a_user_reacts_twenty_times_and_a_message_has_fifty_emoji() {
    let server = Server::start();
    let mut ana = room(&server, &["ben", "cy", "di"]).await;
    let (mut ben, mut cy) = (server.user("ben").await, server.user("cy").await);
    let too_many = (Code::ResourceExhausted, "TOO_MANY_REACTIONS".to_owned(), vec![]);
    for i in 0..20 {
        react(&mut ana, &format!("a{i}")).await.unwrap();
        react(&mut ben, &format!("b{i}")).await.unwrap();
    }
    assert_eq!(error_of(&react(&mut ana, "a20").await.unwrap_err()), too_many);
    react(&mut ana, "a19").await.unwrap();
    for i in 0..10 {
        react(&mut cy, &format!("c{i}")).await.unwrap();
    }
    assert_eq!(error_of(&react(&mut cy, "c10").await.unwrap_err()), too_many);
    react(&mut cy, "a0").await.unwrap();
    assert_eq!(reactions(&mut ana).await.len(), 50);
    unreact(&mut ana, "a1").await;
    react(&mut ana, "fits").await.unwrap();
}
