//! The task behind the bus. It connects; it proves by a message to itself that Redis delivers; only then the bus is up,
//! and stays so as long as the proof is repeated. Whatever goes wrong ends the connection, and it begins anew.

use std::{
    collections::HashSet,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use redis::{PushInfo, RedisError};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    link::{Link, late, message},
    outbox::Order,
    url::Address,
};
use crate::bus::{Channel, Ear, Health, Heard};

/// The first wait before connecting again; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long a message to itself may be under way, at least.
const PROOF: Duration = Duration::from_secs(2);
/// Bytes in one pipeline.
const PIPELINE_BYTES: usize = 1 << 20;
/// Channels that are named at once.
const GROUP: usize = 256;

/// What keeps the connection. It owns the sending end of the ear.
pub struct RedisTask {
    shared: Arc<Shared>,
    address: Address,
    tell: mpsc::UnboundedSender<Heard>,
    /// Bytes that were heard and not yet handled.
    unheard: Arc<AtomicUsize>,
    capacity: usize,
}

/// Why a connection ended.
enum End {
    /// It broke, or Redis refused something.
    Broken(RedisError),
    /// It takes messages, and delivers none.
    Deaf,
    /// The node is on its way out.
    Stopped,
}

impl From<RedisError> for End {
    fn from(error: RedisError) -> Self {
        Self::Broken(error)
    }
}

/// What messages to itself came back: the number of the newest.
type Proofs = watch::Receiver<u64>;

impl RedisTask {
    pub(super) fn new(shared: Arc<Shared>, address: Address, capacity: usize) -> (Self, Ear) {
        let (tell, ear) = mpsc::unbounded_channel();
        (Self { shared, address, tell, unheard: Arc::default(), capacity }, ear)
    }

    /// Runs until `stop`; then what waits is sent.
    pub async fn run(self, stop: CancellationToken) {
        let mut wait = FIRST_WAIT;
        // One line an outage.
        let mut told = false;
        loop {
            let (up, end) = self.connection(&stop).await;
            self.shared.link.lock().take();
            let deaf = matches!(end, End::Deaf);
            self.shared.set_health(if deaf { Health::Deaf } else { Health::Down });
            if up {
                (wait, told) = (FIRST_WAIT, false);
                self.say(Heard::Down);
            }
            if !std::mem::replace(&mut told, true) {
                match &end {
                    End::Broken(error) => {
                        tracing::warn!(%error, "redis is away: nodes find each other's events in the database")
                    }
                    End::Deaf => tracing::warn!("redis takes messages and delivers none"),
                    End::Stopped => {}
                }
            }
            if matches!(end, End::Stopped) {
                return;
            }
            let jitter = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
            if stop.run_until_cancelled(sleep(jitter)).await.is_none() {
                return;
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// One connection, from its beginning to its end. Answers whether it was up, and why it ended.
    async fn connection(&self, stop: &CancellationToken) -> (bool, End) {
        let (pushes, arriving) = mpsc::unbounded_channel();
        let connecting = Link::connect(&self.address, self.shared.limits, pushes);
        let link = match stop.run_until_cancelled(connecting).await {
            Some(Ok(link)) => link,
            Some(Err(error)) => return (false, End::Broken(error)),
            None => return (false, End::Stopped),
        };
        let (proved, mut proofs) = watch::channel(0);
        let mut reading = pin!(self.read(arriving, proved));
        let starting = self.start(link.clone(), &mut proofs);
        let started = tokio::select! {
            end = &mut reading => Err(end),
            started = starting => started,
            () = stop.cancelled() => Err(End::Stopped),
        };
        if let Err(end) = started {
            return (false, end);
        }
        self.shared.outbox.renew();
        *self.shared.link.lock() = Some(link.clone());
        self.shared.set_health(Health::Up);
        self.say(Heard::Up);
        tracing::info!("redis delivers");
        let end = tokio::select! {
            end = reading => end,
            end = self.write(link, stop) => end,
            end = self.prove(&mut proofs) => end,
        };
        (true, end)
    }

    /// Watches this node's own channel, and sees a message come back on it.
    async fn start(&self, mut link: Link, proofs: &mut Proofs) -> Result<(), End> {
        let name = self.shared.name(&self.shared.probe);
        let subscribed = link.subscribe(std::slice::from_ref(&name), self.shared.limits.command).await;
        // A Redis that swallows even this is deaf if it still publishes.
        let proof = Order::Publish { channel: self.shared.probe.clone(), payload: nonce(1), keep: false };
        link.send(&[proof], &self.shared).await?;
        match subscribed {
            Err(error) if error.is_timeout() => return Err(End::Deaf),
            subscribed => subscribed?,
        }
        match timeout(PROOF, proofs.wait_for(|heard| *heard >= 1)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(End::Deaf),
        }
    }

    /// Repeats the proof.
    async fn prove(&self, proofs: &mut Proofs) -> End {
        let patience = PROOF.max(self.shared.limits.command);
        for number in 2.. {
            sleep(self.shared.limits.probe).await;
            let sent = Instant::now();
            self.shared.outbox.push(Order::Publish {
                channel: self.shared.probe.clone(),
                payload: nonce(number),
                keep: false,
            });
            if timeout(patience, proofs.wait_for(|heard| *heard >= number)).await.is_err() {
                return End::Deaf;
            }
            self.shared.metrics.bus_probe.observe(sent.elapsed().as_secs_f64());
        }
        End::Deaf
    }

    /// Passes on what arrives.
    async fn read(&self, mut arriving: mpsc::UnboundedReceiver<PushInfo>, proved: watch::Sender<u64>) -> End {
        let prefix = self.shared.name("");
        let mut lost = false;
        while let Some(push) = arriving.recv().await {
            if push.kind == redis::PushKind::Disconnection {
                break;
            }
            let Some((name, payload)) = message(push) else { continue };
            let channel = std::str::from_utf8(&name).ok().and_then(|name| name.strip_prefix(&prefix));
            let Some(channel) = channel else { continue };
            if *channel == *self.shared.probe {
                let number = payload.as_ref().try_into().map_or(0, u64::from_be_bytes);
                proved.send_modify(|heard| *heard = number.max(*heard));
                continue;
            }
            self.shared.metrics.bus_received.inc();
            let size = payload.len();
            if self.unheard.load(Ordering::Relaxed) + size > self.capacity {
                self.shared.metrics.bus_dropped.inc();
                if !std::mem::replace(&mut lost, true) {
                    self.say(Heard::Lost);
                }
                continue;
            }
            lost = false;
            self.say(Heard::Message(channel.into(), self.counted(payload)));
        }
        End::Broken(late())
    }

    /// A payload that counts as unheard until it is dropped.
    fn counted(&self, payload: Bytes) -> Bytes {
        self.unheard.fetch_add(payload.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted { payload, unheard: self.unheard.clone() })
    }

    /// Subscribes to what is wanted, and sends what waits.
    async fn write(&self, mut link: Link, stop: &CancellationToken) -> End {
        let mut watched: HashSet<Channel> = HashSet::new();
        loop {
            if let Err(error) = self.adjust(&mut link, &mut watched).await {
                return End::Broken(error);
            }
            let orders = self.shared.outbox.take_orders(PIPELINE_BYTES);
            if orders.is_empty() {
                if stop.is_cancelled() {
                    return End::Stopped;
                }
                stop.run_until_cancelled(self.shared.outbox.changed()).await;
                continue;
            }
            if let Err(error) = link.send(&orders, &self.shared).await {
                return End::Broken(error);
            }
            self.shared.metrics.bus_published.inc_by(orders.len() as u64);
        }
    }

    /// Watches what is wanted, and says so; does not watch what is not.
    async fn adjust(&self, link: &mut Link, watched: &mut HashSet<Channel>) -> Result<(), RedisError> {
        let limit = self.shared.limits.command;
        let touched = self.shared.outbox.take_touched();
        if touched.is_empty() {
            return Ok(());
        }
        let (wanted, unwanted): (Vec<_>, Vec<_>) = touched.into_iter().partition(|(_, wanted)| *wanted);
        let names = |channels: &[Channel]| -> Vec<String> { channels.iter().map(|c| self.shared.name(c)).collect() };
        let unwanted: Vec<Channel> = unwanted.into_iter().map(|(channel, _)| channel).collect();
        let unwanted: Vec<Channel> = unwanted.into_iter().filter(|channel| watched.remove(channel)).collect();
        link.unsubscribe(&names(&unwanted), limit).await?;
        let wanted: Vec<Channel> = wanted.into_iter().map(|(channel, _)| channel).collect();
        for group in wanted.chunks(GROUP) {
            let fresh: Vec<Channel> = group.iter().filter(|channel| !watched.contains(*channel)).cloned().collect();
            link.subscribe(&names(&fresh), limit).await?;
            watched.extend(fresh);
            // One that was given up and wanted again in the meantime was watched all the time.
            self.say(Heard::Watching(group.to_vec()));
        }
        self.shared.metrics.bus_watched.set(i64::try_from(watched.len()).unwrap_or(i64::MAX));
        Ok(())
    }

    fn say(&self, heard: Heard) {
        // Nobody hears it only while the node ends.
        let _ = self.tell.send(heard);
    }
}

/// What is heard, until it is handled.
struct Counted {
    payload: Bytes,
    unheard: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.unheard.fetch_sub(self.payload.len(), Ordering::Relaxed);
    }
}

fn nonce(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}
