//! Sends what waits in the outbox: all of it in one pipeline a server, while the next fills.

use bytes::Bytes;
use futures_util::future::join_all;
use indexmap::IndexMap;
use redis::{Pipeline, RedisError, ServerErrorKind, Value};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    fault::Fault,
    link::{Link, Node},
    outbox::Item,
};

/// Sends until the link is broken, or until `stop` and all that waited then is sent: `None`. `under_way` has what was being
/// sent when it broke, or the waiting was given up.
pub(super) async fn send_all(
    shared: &Shared,
    link: &Link,
    stop: &CancellationToken,
    under_way: &mut Vec<Item>,
) -> Option<Fault> {
    let mut complained = false;
    loop {
        let next = stop.run_until_cancelled(shared.outbox.next_batch()).await;
        *under_way = next.or_else(|| shared.outbox.take())?;
        if let Err(fault) = send(shared, link, under_way, &mut complained).await {
            return Some(fault);
        }
        under_way.clear();
    }
}

/// Sends a batch. What Redis refuses is counted, and said once for each link.
async fn send(shared: &Shared, link: &Link, batch: &[Item], complained: &mut bool) -> Result<(), Fault> {
    let parcels = parcels(shared, link, batch);
    let sent = parcels.into_iter().zip(&link.nodes).filter(|(parcel, _)| !parcel.pipe.is_empty());
    for answer in join_all(sent.map(|(parcel, node)| parcel.send(node))).await {
        let Answer { published, refused } = answer?;
        shared.metrics.bus_published.inc_by(published);
        let Some((error, count)) = refused else { continue };
        shared.dropped("refused", count);
        if !std::mem::replace(complained, true) {
            tracing::warn!(%error, "Redis refuses what is sent");
        }
    }
    Ok(())
}

/// Whether nothing can be done with the link after this.
pub(super) fn ends_link(error: &RedisError) -> bool {
    if let redis::ErrorKind::Server(kind) = error.kind() {
        return ends_link_kind(Some(kind), "");
    }
    error.is_unrecoverable_error() || error.is_timeout() || ends_link_kind(None, error.code().unwrap_or_default())
}

fn ends_link_kind(kind: Option<ServerErrorKind>, code: &str) -> bool {
    use ServerErrorKind as K;
    matches!(kind, Some(K::Moved | K::ReadOnly | K::ClusterDown | K::MasterDown | K::BusyLoading)) || code == "NOAUTH"
}

/// What goes to one server.
#[derive(Default)]
pub(super) struct Parcel<'a> {
    pipe: Pipeline,
    kept: IndexMap<String, Vec<&'a Bytes>>,
    published: u64,
}

struct Answer {
    published: u64,
    /// The first error, and how many there were.
    refused: Option<(RedisError, u64)>,
}

/// The parcels for the link's servers, in their order.
fn parcels<'a>(shared: &Shared, link: &Link, batch: &'a [Item]) -> Vec<Parcel<'a>> {
    let mut parcels: Vec<Parcel<'a>> = link.nodes.iter().map(|_| Parcel::default()).collect();
    for item in batch {
        match item {
            Item::Publish { channel, payload, keep } => {
                let name = shared.names.channel(channel);
                if let Some(parcel) = parcel(&mut parcels, link, &name) {
                    parcel.published += 1;
                    parcel.pipe.cmd(link.verbs.publish).arg(&name).arg(&payload[..]);
                }
                let key = keep.then(|| shared.names.kept(channel));
                if let Some((parcel, key)) = key.and_then(|key| Some((parcel(&mut parcels, link, &key)?, key))) {
                    parcel.kept.entry(key).or_default().push(payload);
                }
            }
            Item::Forget { channel } => {
                let key = shared.names.kept(channel);
                if let Some(parcel) = parcel(&mut parcels, link, &key) {
                    // What was kept before in this batch need not be stored only to be forgotten.
                    parcel.kept.shift_remove(&key);
                    parcel.pipe.cmd("DEL").arg(&key);
                }
            }
            Item::Probe { node, nonce } => {
                if let (Some(parcel), Some(node)) = (parcels.get_mut(*node), link.nodes.get(*node)) {
                    parcel.pipe.cmd(link.verbs.publish).arg(&node.probe).arg(*nonce);
                }
            }
        }
    }
    for parcel in &mut parcels {
        parcel.keep(shared);
    }
    parcels
}

fn parcel<'p, 'a>(parcels: &'p mut [Parcel<'a>], link: &Link, name: &str) -> Option<&'p mut Parcel<'a>> {
    link.owner(name).and_then(|(owner, _)| parcels.get_mut(owner))
}

impl Parcel<'_> {
    /// Adds what is kept, each list once.
    fn keep(&mut self, shared: &Shared) {
        let events = shared.keep.events;
        let ttl = i64::try_from(shared.keep.ttl.as_millis()).unwrap_or(i64::MAX);
        for (key, payloads) in std::mem::take(&mut self.kept) {
            let push = self.pipe.cmd("RPUSH").arg(&key);
            for payload in payloads.iter().skip(payloads.len().saturating_sub(events)) {
                push.arg(&payload[..]);
            }
            self.pipe.cmd("LTRIM").arg(&key).arg(-i64::try_from(events).unwrap_or(i64::MAX)).arg(-1);
            self.pipe.cmd("PEXPIRE").arg(&key).arg(ttl);
        }
    }

    async fn send(mut self, node: &Node) -> Result<Answer, Fault> {
        let answers = ask(&mut self.pipe, node).await?;
        let mut refused = None;
        for error in answers.into_iter().filter_map(|answer| answer.err()) {
            if ends_link(&error) {
                return Err(node.fault(error));
            }
            refused.get_or_insert((error, 0)).1 += 1;
        }
        Ok(Answer { published: self.published, refused })
    }
}

/// The answers to all commands, or that there was none.
async fn ask(pipe: &mut Pipeline, node: &Node) -> Result<Vec<Result<Value, RedisError>>, Fault> {
    let answers = pipe.ignore_errors().query_async(&mut node.speak.clone()).await;
    answers.map_err(|error| node.fault(error))
}
