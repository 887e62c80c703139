//! A node is killed and the database restarts while messages of lanes wait and pass: each lane is written in its order, once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use relay_proto::chat::v1::{RoomKind, SendMessageRequest};

use super::{Parts, parts::NODES};
use crate::{
    lanes::{laned, send},
    support::{Clients, Token, eventually},
};

const MESSAGES: u64 = 150;
const LANES: [&str; 4] = ["a", "b", "c", "d"];
/// Messages of a lane that are under way at once.
const UNDER_WAY: usize = 24;

/// Sends a message to one node after the other until it is written.
async fn until_written(nodes: Vec<Clients>, request: SendMessageRequest, written: Arc<AtomicUsize>) {
    let mut again = tokio::time::interval(Duration::from_millis(5));
    let first = fastrand::usize(..nodes.len());
    for clients in nodes.iter().cycle().skip(first) {
        again.tick().await;
        // It may wait there for one that went to a node that is gone: others are asked meanwhile.
        let answer =
            tokio::time::timeout(Duration::from_millis(fastrand::u64(50..2_000)), send(clients, request.clone()));
        match answer.await {
            Ok(Ok(_)) => break,
            Ok(Err(status)) => assert!(status.code() != tonic::Code::AlreadyExists, "{status:?}"),
            Err(_) => {}
        }
    }
    written.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_keep_their_order_while_a_node_is_killed_and_the_database_restarts() {
    let mut parts = Parts::start(&[("chat.lane_wait", "1m")]).await;
    let nodes = |user: &str| -> Vec<Clients> {
        (0..NODES).map(|n| Clients::lazy(&parts.server.node(n).url(), Token::of(user).sign())).collect()
    };
    let ana = nodes("ana");
    ana[0].clone().create_room("r", RoomKind::Private, &[]).await;
    let written = Arc::new(AtomicUsize::new(0));
    let total = MESSAGES as usize * LANES.len();
    let senders = LANES.map(|lane| {
        let mut requests: Vec<_> = (1..=MESSAGES).map(|number| laned("r", lane, number)).collect();
        requests.chunks_mut(UNDER_WAY / 2).for_each(fastrand::shuffle);
        let (ana, written) = (ana.clone(), written.clone());
        let sends = move |request| until_written(ana.clone(), request, written.clone());
        tokio::spawn(stream::iter(requests).for_each_concurrent(UNDER_WAY, sends))
    });
    let progress = async |share: usize| {
        eventually("messages to be written", async || written.load(Ordering::Relaxed) >= total * share / 5).await;
    };
    for (share, order) in [(1, "restart -m immediate"), (3, "restart -m fast")] {
        progress(share).await;
        tokio::task::block_in_place(|| parts.postgres.control(order));
    }
    parts.server.node_mut(2).kill();
    progress(4).await;
    parts.server.node_mut(2).restart();
    for sender in senders {
        crate::support::within("all to be written", sender).await.unwrap();
    }
    for n in 0..NODES {
        let history = parts.server.node(n).user("ana").await.history("r").await;
        assert_eq!(history.len(), total);
        for lane in LANES {
            let places =
                history.iter().filter_map(|message| message.lane.as_ref()).filter(|place| place.lane_id == lane);
            let places: Vec<_> = places.map(|place| (place.client_seq, place.missing_before)).collect();
            assert_eq!(places, (1..=MESSAGES).map(|number| (number, 0)).collect::<Vec<_>>(), "{lane} at node {n}");
        }
    }
}
