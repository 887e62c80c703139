//! A link to Redis, to one server or to all masters of a cluster. It works as a whole or is replaced by another.

use std::sync::Arc;

use parking_lot::Mutex;
use redis::{PushInfo, PushKind, RedisError, RedisResult, Value, aio::MultiplexedConnection, cmd};
use tokio::{
    sync::{Notify, watch},
    time::{Duration, timeout},
};

use super::{
    Shared,
    discover::Discovery,
    fault::Fault,
    node::{Dialer, Push, greet},
    slots::Slots,
    url::Place,
};

/// How long the first message to itself may take.
const PROOF: Duration = Duration::from_secs(2);

/// Connections to all servers, each of which has proved that it delivers.
pub(super) struct Link {
    pub(super) id: u64,
    pub(super) nodes: Vec<Node>,
    slots: Slots,
    pub(super) verbs: Verbs,
    pub(super) trouble: Arc<Trouble>,
}

/// One server of the link. Two connections: what is pushed never gets between a question and its answer.
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) speak: MultiplexedConnection,
    pub(super) listen: MultiplexedConnection,
    /// The channel on which the node hears itself through this server.
    pub(super) probe: String,
    /// The last nonce heard there.
    pub(super) heard: watch::Receiver<u64>,
}

/// Pub/Sub of one server, or the sharded one of a cluster.
#[derive(Clone, Copy)]
pub(super) struct Verbs {
    pub(super) publish: &'static str,
    pub(super) subscribe: &'static str,
    pub(super) unsubscribe: &'static str,
    /// Whether the end of a subscription is looked at when Redis tells it; see [`Inbox::take`].
    pub(super) sharded: bool,
}

const PLAIN: Verbs = Verbs { publish: "PUBLISH", subscribe: "SUBSCRIBE", unsubscribe: "UNSUBSCRIBE", sharded: false };
const SHARDED: Verbs =
    Verbs { publish: "SPUBLISH", subscribe: "SSUBSCRIBE", unsubscribe: "SUNSUBSCRIBE", sharded: true };

/// The first thing that went wrong with a link.
#[derive(Default)]
pub(super) struct Trouble {
    fault: Mutex<Option<Fault>>,
    happened: Notify,
}

impl Trouble {
    pub(super) fn say(&self, fault: Fault) {
        self.fault.lock().get_or_insert(fault);
        self.happened.notify_one();
    }

    pub(super) async fn wait(&self) -> Fault {
        loop {
            if let Some(fault) = self.fault.lock().take() {
                return fault;
            }
            self.happened.notified().await;
        }
    }
}

impl Link {
    /// Finds the servers, connects to all, and hears itself through each.
    pub(super) async fn open(id: u64, discovery: &mut Discovery, shared: &Arc<Shared>) -> Result<Self, Fault> {
        let slots = discovery.ask().await?;
        let trouble = Arc::new(Trouble::default());
        let clustered = discovery.clustered();
        let verbs = if clustered { SHARDED } else { PLAIN };
        let nodes = slots.masters.iter().enumerate().map(|(index, place)| {
            let probe = shared.names.channel(&probe_channel(shared, &slots, index));
            let opening = Opening { link: id, place, probe, verbs, clustered, shared, trouble: &trouble };
            opening.run(discovery.dialer())
        });
        let nodes = futures_util::future::try_join_all(nodes).await?;
        Ok(Self { id, nodes, slots, verbs, trouble })
    }

    /// The server that has `name`, a channel or a key, and its index.
    pub(super) fn owner(&self, name: &str) -> Option<(usize, &Node)> {
        let owner = self.slots.owner(name);
        self.nodes.get(owner).map(|node| (owner, node))
    }
}

/// A channel that only this node watches, on the server of this index.
fn probe_channel(shared: &Shared, slots: &Slots, index: usize) -> String {
    let names = (0_u32..).map(|n| format!("n:{}:{n}", shared.node));
    // A server with a single slot is met once in 16,384 names.
    names.take(1 << 20).find(|name| slots.owner(&shared.names.channel(name)) == index).unwrap_or_default()
}

struct Opening<'a> {
    link: u64,
    place: &'a Place,
    probe: String,
    verbs: Verbs,
    clustered: bool,
    shared: &'a Arc<Shared>,
    trouble: &'a Arc<Trouble>,
}

impl Opening<'_> {
    async fn run(self, dialer: &Dialer) -> Result<Node, Fault> {
        let (say_heard, heard) = watch::channel(0);
        let inbox = Inbox {
            link: self.link,
            place: self.place.clone(),
            probe: self.probe.clone().into_bytes(),
            heard: say_heard,
            shared: self.shared.clone(),
            trouble: self.trouble.clone(),
        };
        let (place, trouble) = (self.place.clone(), self.trouble.clone());
        let broken: Push = Arc::new(move |info| {
            if info.kind == PushKind::Disconnection {
                trouble.say(Fault::Broken(place.clone()));
            }
        });
        let mut speak = dialer.connect(self.place, broken).await?;
        greet(self.place, &mut speak).await?.check(self.place, self.clustered)?;
        let listen = dialer.connect(self.place, Arc::new(move |info| inbox.take(info))).await?;
        let mut node = Node { place: self.place.clone(), speak, listen, probe: self.probe, heard };
        node.prove(self.verbs).await?;
        Ok(node)
    }
}

impl Node {
    /// Takes a message to itself through the server, as a proof that what is published arrives.
    async fn prove(&mut self, verbs: Verbs) -> Result<(), Fault> {
        let place = self.place.clone();
        let wrong = |error| Fault::Redis(place.clone(), error);
        let nonce = fastrand::u64(1..);
        let subscribed: RedisResult<Value> = cmd(verbs.subscribe).arg(&self.probe).query_async(&mut self.listen).await;
        subscribed.map_err(wrong)?;
        let published: RedisResult<Value> =
            cmd(verbs.publish).arg(&self.probe).arg(nonce).query_async(&mut self.speak).await;
        published.map_err(wrong)?;
        match timeout(PROOF, self.heard.wait_for(|heard| *heard == nonce)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Fault::Broken(self.place.clone())),
            Err(_) => Err(Fault::Deaf(self.place.clone())),
        }
    }

    /// The fault that an error is.
    pub(super) fn fault(&self, error: RedisError) -> Fault {
        Fault::Redis(self.place.clone(), error)
    }
}

/// What is done with what a server pushes. It runs in the connection's reader, so it never waits.
struct Inbox {
    link: u64,
    place: Place,
    probe: Vec<u8>,
    heard: watch::Sender<u64>,
    shared: Arc<Shared>,
    trouble: Arc<Trouble>,
}

impl Inbox {
    fn take(&self, info: PushInfo) {
        let mut data = info.data.into_iter();
        match info.kind {
            PushKind::Message | PushKind::SMessage => {
                if let (Some(Value::BulkString(name)), Some(Value::BulkString(payload))) = (data.next(), data.next()) {
                    self.message(&name, payload);
                }
            }
            PushKind::SUnsubscribe => {
                let Some(Value::BulkString(name)) = data.next() else { return };
                // A server that gives a slot away tells those who listen there, unasked.
                if !self.shared.names.parse(&name).is_some_and(|channel| self.shared.wanted.left(channel)) {
                    self.trouble.say(Fault::Moved(self.place.clone()));
                }
            }
            PushKind::Disconnection => self.trouble.say(Fault::Broken(self.place.clone())),
            _ => {}
        }
    }

    fn message(&self, name: &[u8], payload: Vec<u8>) {
        if name == self.probe {
            if let Some(nonce) = std::str::from_utf8(&payload).ok().and_then(|nonce| nonce.parse().ok()) {
                self.heard.send_replace(nonce);
            }
            return;
        }
        let Some(channel) = self.shared.names.parse(name) else { return };
        self.shared.message(self.link, channel, payload);
    }
}
