//! Brings what is subscribed in Redis to what the node watches.

use std::collections::HashSet;

use futures_util::future::try_join_all;
use redis::{RedisResult, Value};

use super::{
    Shared,
    fault::Fault,
    link::{Link, Node},
};
use crate::bus::Channel;

/// How many channels go into one pipeline, and are named together.
const GROUP: usize = 256;

/// Subscribes and unsubscribes until the link is broken.
pub(super) async fn follow(shared: &Shared, link: &Link) -> Fault {
    let mut subscribed = HashSet::new();
    loop {
        let changes = shared.wanted.changes(&subscribed).await;
        shared.wanted.watching(link.id, changes.again, &shared.voice);
        for group in changes.leave.chunks(GROUP) {
            if link.verbs.sharded {
                shared.wanted.leave(group);
            }
            if let Err(fault) = command(shared, link, link.verbs.unsubscribe, group).await {
                return fault;
            }
            for channel in group {
                subscribed.remove(channel);
            }
        }
        for group in changes.join.chunks(GROUP) {
            if let Err(fault) = command(shared, link, link.verbs.subscribe, group).await {
                return fault;
            }
            subscribed.extend(group.iter().cloned());
            shared.wanted.watching(link.id, group.to_vec(), &shared.voice);
        }
    }
}

/// Says `verb` for each channel, and waits until Redis has acknowledged all. One name a command: names of a cluster that
/// share a server may still not share a command.
async fn command(shared: &Shared, link: &Link, verb: &str, channels: &[Channel]) -> Result<(), Fault> {
    let mut pipes: Vec<_> = link.nodes.iter().map(|_| redis::pipe()).collect();
    for channel in channels {
        let name = shared.names.channel(channel);
        if let Some(pipe) = link.owner(&name).and_then(|(owner, _)| pipes.get_mut(owner)) {
            pipe.cmd(verb).arg(&name);
        }
    }
    let asked = pipes.iter().zip(&link.nodes).filter(|(pipe, _)| !pipe.is_empty());
    try_join_all(asked.map(|(pipe, node)| ask(pipe, node))).await.map(drop)
}

async fn ask(pipe: &redis::Pipeline, node: &Node) -> Result<(), Fault> {
    let answer: RedisResult<Value> = pipe.query_async(&mut node.listen.clone()).await;
    answer.map(drop).map_err(|error| node.fault(error))
}
