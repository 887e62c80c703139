//! What a client missed comes from Redis and from memory while they have it, from the database else: the same events, and
//! never a text that is not there any more.

use relay_proto::chat::v1::{
    DeleteMessageRequest, EditMessageRequest, RoomEvent, RoomKind, frame::Kind, room_event::Event,
};

use super::{Group, Reads};
use crate::support::{Clients, RawStream, Stream, raw_stream, redis_run};

/// A room with Ana and Ben, and so many messages, each in a payload of its own.
async fn room(ana: &mut Clients, room: &str, messages: usize) {
    ana.create_room(room, RoomKind::Private, &["ben"]).await;
    for n in 0..messages {
        ana.say(room, &format!("{room}: {n}")).await;
    }
}

/// What Ben misses who comes back to a node with this position.
async fn missed(group: &Group, node: usize, room: &str, held: u64) -> Vec<RoomEvent> {
    let ben = group.node(node).user("ben").await;
    let (_, frames) = Stream::caught_up(&ben, &[(room, held)]).await;
    let events = frames.into_iter().filter_map(|kind| if let Kind::Event(event) = kind { Some(event) } else { None });
    events.filter(|event| event.room_id == room).collect()
}

async fn delete(clients: &mut Clients, room: &str, seq: u64) {
    clients
        .chat
        .delete_message(DeleteMessageRequest { room_id: room.into(), seq, reason: String::new() })
        .await
        .unwrap();
}

async fn edit(clients: &mut Clients, room: &str, seq: u64, text: &str) {
    let edit = EditMessageRequest { room_id: room.into(), seq, text: text.into(), ..Default::default() };
    clients.chat.edit_message(edit).await.unwrap();
}

#[tokio::test]
async fn after_a_restart_what_was_missed_comes_from_redis_then_from_memory() {
    let mut group = Group::start(2, &[]);
    let mut ana = group.node(0).user("ana").await;
    room(&mut ana, "r", 10).await;
    // Its creation with Ben's joining is one payload.
    group.until_kept("r", 11).await;
    group.renew(1);
    let before = Reads::of(group.node(1)).await;
    let events = missed(&group, 1, "r", 5).await;
    assert_eq!(events.iter().map(|event| event.position).collect::<Vec<_>>(), (6..=12).collect::<Vec<_>>());
    assert_eq!(Reads::since(before, group.node(1)).await, [1.0, 1.0, 0.0], "memory was filled from Redis");
    assert_eq!(missed(&group, 1, "r", 2).await[3..], events);
    assert_eq!(Reads::since(before, group.node(1)).await, [2.0, 1.0, 0.0], "memory has it");

    // What came since is in Redis as well, and the node that nobody reads at fetches it again.
    ana.say("r", "one more").await;
    group.until_kept("r", 12).await;
    assert_eq!(missed(&group, 1, "r", 5).await.len(), 8);
    assert_eq!(Reads::since(before, group.node(1)).await, [3.0, 2.0, 0.0]);
}

#[tokio::test]
async fn what_redis_has_forgotten_comes_from_the_database_as_the_same_events() {
    let mut group = Group::start(2, &[]);
    let mut ana = group.node(0).user("ana").await;
    room(&mut ana, "r", 10).await;
    edit(&mut ana, "r", 4, "edited").await;
    delete(&mut ana, "r", 6).await;
    ana.say("r", "after it").await;
    group.until_kept("r", 2).await;
    let own = missed(&group, 0, "r", 12).await;
    group.renew(1);
    let before = Reads::of(group.node(1)).await;
    let from_redis = missed(&group, 1, "r", 13).await;
    assert_eq!(Reads::since(before, group.node(1)).await, [1.0, 1.0, 0.0]);
    assert_eq!(from_redis, own[1..]);

    redis_run(&group.redis, &["DEL", &group.kept("r")]);
    group.renew(1);
    let before = Reads::of(group.node(1)).await;
    let from_database = missed(&group, 1, "r", 12).await;
    let [_, redis, primary] = Reads::since(before, group.node(1)).await;
    assert!(redis == 0.0 && primary > 0.0, "{redis} from Redis, {primary} from the database");
    assert_eq!(from_database, own);
}

#[tokio::test]
async fn a_list_in_redis_that_has_a_hole_or_is_too_short_is_not_believed() {
    let mut group = Group::start(2, &[("chat.hot_events", "8")]);
    let mut ana = group.node(0).user("ana").await;
    room(&mut ana, "short", 20).await;
    room(&mut ana, "hole", 5).await;
    group.until_kept("short", 8).await;
    group.until_kept("hole", 6).await;
    redis_run(&group.redis, &["LSET", &group.kept("hole"), "3", ""]);
    room(&mut ana, "damaged", 5).await;
    group.until_kept("damaged", 6).await;
    redis_run(&group.redis, &["LSET", &group.kept("damaged"), "-1", "nonsense"]);
    group.renew(1);
    for (room, held, last) in [("short", 2, 22), ("short", 13, 22), ("hole", 2, 7), ("damaged", 2, 7)] {
        let before = Reads::of(group.node(1)).await;
        let positions: Vec<u64> = missed(&group, 1, room, held).await.iter().map(|event| event.position).collect();
        assert_eq!(positions, (held + 1..=last).collect::<Vec<_>>(), "{room}");
        assert!(Reads::since(before, group.node(1)).await[2] > 0.0, "{room} from {held}");
    }
}

/// Everything that a stream delivers until it has caught up, byte for byte.
async fn bytes(group: &Group, node: usize, held: &[(&str, u64)]) -> Vec<u8> {
    let mut stream = RawStream::subscribe(group.node(node).address(), "ben", held, raw_stream::WIDE).await;
    let mut all = Vec::new();
    loop {
        let bytes = stream.next_bytes().await.unwrap();
        all.extend_from_slice(&bytes);
        if matches!(raw_stream::kind(&bytes), Kind::CaughtUp(_)) {
            return all;
        }
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_text_that_was_deleted_or_replaced_is_never_replayed_wherever_it_was_kept() {
    let mut group = Group::start(3, &[]);
    let mut ana = [group.node(0).user("ana").await, group.node(1).user("ana").await];
    let rooms: Vec<String> = (0..12).map(|n| format!("r-{n}")).collect();
    for name in &rooms {
        room(&mut ana[0], name, 3).await;
    }
    // Ben has been here: the third node has all of them in memory. Ana reads at the first.
    let held: Vec<(&str, u64)> = rooms.iter().map(|room| (room.as_str(), 2)).collect();
    assert!(has(&bytes(&group, 2, &held).await, "r-3: 0"));
    let here = Stream::caught_up(&ana[0], &[]).await;
    for (n, room) in rooms.iter().enumerate() {
        // At once by two nodes, in either order: what one keeps may come after what the other forgets.
        let (sends, changes) = (n % 2, usize::from(n % 4 < 2));
        let secret = ana[sends].say(room, &format!("secret {room}")).await.seq;
        delete(&mut ana[changes], room, secret).await;
        let draft = ana[changes].say(room, &format!("draft {room}")).await.seq;
        edit(&mut ana[sends], room, draft, &format!("final {room}")).await;
        delete(&mut ana[sends], room, 1).await;
    }
    for (node, restarted, emptied) in
        [(2, false, false), (0, false, false), (1, false, false), (2, true, false), (2, true, true)]
    {
        if emptied {
            let keys: Vec<String> = rooms.iter().map(|room| group.kept(room)).collect();
            redis_run(&group.redis, &[&["DEL"], &keys.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
        }
        if restarted {
            group.renew(node);
        }
        for held_at in [2, 4, 5, 6, 7] {
            let held: Vec<(&str, u64)> = rooms.iter().map(|room| (room.as_str(), held_at)).collect();
            let all = bytes(&group, node, &held).await;
            for room in &rooms {
                assert!(!has(&all, &format!("secret {room}")), "{room} from {held_at} at {node}");
                assert!(!has(&all, &format!("draft {room}")), "{room} from {held_at} at {node}");
                assert!(!has(&all, &format!("{room}: 0")), "{room} from {held_at} at {node}");
                assert!(has(&all, &format!("final {room}")), "{room} from {held_at} at {node}");
            }
        }
    }
    drop(here);
}

#[tokio::test]
async fn an_edited_message_comes_with_its_new_text_wherever_it_comes_from() {
    let mut group = Group::start(2, &[]);
    let mut ana = group.node(0).user("ana").await;
    room(&mut ana, "r", 4).await;
    assert_eq!(missed(&group, 1, "r", 2).await.len(), 4);
    edit(&mut ana, "r", 2, "new").await;
    ana.say("r", "last").await;
    group.until_kept("r", 2).await;
    for restarted in [false, true] {
        if restarted {
            group.renew(1);
        }
        let events = missed(&group, 1, "r", 2).await;
        let Some(Event::MessageCreated(created)) = &events[1].event else { panic!("{events:?}") };
        let message = created.message.as_ref().unwrap();
        assert_eq!((message.text.as_str(), message.edited_at.is_some()), ("new", true));
        let Some(Event::MessageEdited(edited)) = &events[4].event else { panic!("{events:?}") };
        assert_eq!(edited.message.as_ref().unwrap().text, "new");
        assert_eq!(events.iter().map(|event| event.position).collect::<Vec<_>>(), (3..=8).collect::<Vec<_>>());
    }
}
