//! A lane is one, however many nodes its messages come to.

use futures_util::future::join_all;
use relay_proto::chat::v1::{RoomKind, SendReceipt, SkipLaneRequest};

use super::Group;
use crate::{
    lanes::{laned, send, texts},
    support::{Clients, eventually},
};

const FOR_EVER: &[(&str, &str)] = &[("chat.lane_wait", "1m")];

/// A user at each of the nodes.
async fn everywhere(group: &Group, user: &str) -> Vec<Clients> {
    let mut clients = Vec::new();
    for n in 0..group.server.count() {
        clients.push(group.node(n).user(user).await);
    }
    clients
}

#[tokio::test]
async fn messages_that_come_to_several_nodes_in_any_order_and_repeatedly_are_written_once_in_order() {
    const MESSAGES: u64 = 150;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let group = Group::start(3, FOR_EVER);
    let mut ana = everywhere(&group, "ana").await;
    let ben = everywhere(&group, "ben").await;
    ana[0].create_room("r", RoomKind::Private, &["ben"]).await;
    // Two senders of two lanes each; each message to one, two or three nodes at once.
    let mut sends = Vec::new();
    for (who, lane) in [(&ana, "phone"), (&ana, "desk"), (&ben, "phone"), (&ben, "desk")] {
        for number in 1..=MESSAGES {
            let request = laned("r", lane, number);
            let nodes = random.choose_multiple(0..who.len(), random.clone().usize(1..=3));
            sends.extend(nodes.into_iter().map(|n| (who[n].clone(), request.clone())));
        }
    }
    // Near their turn, but in no order: of a lane only so many may wait.
    for some in sends.chunks_mut(90) {
        random.shuffle(some);
    }
    let sent = sends.into_iter().map(|(clients, request)| async move {
        let number = request.client_seq;
        (request.client_message_id.clone(), number, send(&clients, request).await.unwrap())
    });
    let sent: Vec<(String, u64, SendReceipt)> = join_all(sent).await;
    let written = sent.iter().filter(|(_, _, receipt)| !receipt.duplicate).count() as u64;
    assert_eq!(written, 4 * MESSAGES);
    assert!(sent.iter().all(|(_, number, receipt)| receipt.next_client_seq > *number));
    for clients in &mut ana {
        let history = clients.history("r").await;
        assert_eq!(history.len() as u64, 4 * MESSAGES);
        for (sender, lane) in [("ana", "phone"), ("ana", "desk"), ("ben", "phone"), ("ben", "desk")] {
            let places = history.iter().filter(|m| m.sender_id == sender).filter_map(|m| m.lane.as_ref());
            let places: Vec<_> =
                places.filter(|place| place.lane_id == lane).map(|p| (p.client_seq, p.missing_before)).collect();
            assert_eq!(places, (1..=MESSAGES).map(|n| (n, 0)).collect::<Vec<_>>(), "{sender} {lane}");
        }
        for (id, _, receipt) in &sent {
            assert_eq!(history[receipt.seq as usize - 1].client_message_id, *id);
        }
    }
}

#[tokio::test]
async fn what_is_written_or_skipped_at_one_node_ends_the_wait_at_another() {
    let group = Group::start(2, FOR_EVER);
    let mut ana = everywhere(&group, "ana").await;
    ana[0].create_room("r", RoomKind::Private, &[]).await;
    let waiting = async |n: usize, count: f64| {
        eventually("messages to wait", async || group.node(n).metric("relay_lane_waiting").await == count).await;
    };
    let waits = [2, 4].map(|number| {
        let ana = ana[1].clone();
        tokio::spawn(async move { send(&ana, laned("r", "phone", number)).await.unwrap() })
    });
    waiting(1, 2.0).await;
    send(&ana[0], laned("r", "phone", 1)).await.unwrap();
    waiting(1, 1.0).await;
    eventually("the second to be written", async || texts(&ana[0], "r").await == ["1", "2"]).await;
    let skip =
        SkipLaneRequest { room_id: "r".into(), lane_id: "phone".into(), first_client_seq: 3, last_client_seq: 3 };
    let next = ana[0].chat.skip_lane(skip).await.unwrap().into_inner().next_client_seq;
    assert_eq!(next, 4);
    for receipt in join_all(waits).await {
        assert!(!receipt.unwrap().duplicate);
    }
    assert_eq!(texts(&ana[0], "r").await, ["1", "2", "4"]);
}

#[tokio::test]
async fn what_waited_at_a_node_that_was_killed_is_sent_to_another_and_written_once() {
    let mut group = Group::start(2, FOR_EVER);
    let mut ana = everywhere(&group, "ana").await;
    ana[0].create_room("r", RoomKind::Private, &[]).await;
    let third = laned("r", "phone", 3);
    let waiting = |request| {
        let ana = ana[1].clone();
        tokio::spawn(async move { send(&ana, request).await })
    };
    // One waits at the node that is killed only, one at both.
    let (lost, second) = (waiting(third.clone()), laned("r", "phone", 2));
    let lost_too = waiting(second.clone());
    let kept = {
        let (ana, second) = (ana[0].clone(), second.clone());
        tokio::spawn(async move { send(&ana, second).await.unwrap() })
    };
    eventually("all to wait", async || group.server.metric("relay_lane_waiting").await == 3.0).await;
    group.server.node_mut(1).kill();
    lost.await.unwrap().unwrap_err();
    lost_too.await.unwrap().unwrap_err();
    let again = {
        let ana = ana[0].clone();
        tokio::spawn(async move { send(&ana, third).await.unwrap() })
    };
    eventually("both to wait", async || group.node(0).metric("relay_lane_waiting").await == 2.0).await;
    send(&ana[0], laned("r", "phone", 1)).await.unwrap();
    assert!(!kept.await.unwrap().duplicate);
    assert!(!again.await.unwrap().duplicate);
    assert!(send(&ana[0], second).await.unwrap().duplicate);
    assert_eq!(texts(&ana[0], "r").await, ["1", "2", "3"]);
    group.server.node_mut(1).restart();
}
