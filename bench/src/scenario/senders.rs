//! Many senders, each waiting for the acknowledgement that its message is committed.

use std::sync::Arc;

use relay_proto::chat::v1::SendMessageRequest;
use tokio::{task::JoinSet, time::Instant};

use super::load::Load;
use crate::{
    args::Args,
    error::Error,
    grpc::{Call, Link},
    latency::Tally,
    report::Report,
    stamp,
    subject::{FanOut as _, Relay, TEXT, frames, relay},
};

/// How the senders send.
#[derive(Clone, Copy)]
pub(super) struct Variant {
    /// How the results name it.
    pub(super) name: &'static str,
    /// The beginning of its room's ids.
    pub(super) rooms: &'static str,
    /// How many rooms there are. None: one a sender.
    pub(super) shared: Option<usize>,
    /// How many messages of a sender wait for their answer at once. None: a unary call a message.
    pub(super) window: Option<usize>,
    /// Whether each sender numbers their messages in a lane.
    pub(super) lane: bool,
}

impl Variant {
    /// Sends to `relay`, measures, and puts the figures into the report.
    pub(super) async fn measure(
        self,
        relay: &Arc<Relay>,
        scenario: &'static str,
        args: &Args,
        report: &mut Report,
    ) -> Result<(), Error> {
        let load = self.run(relay, args).await?;
        report.add(
            scenario,
            self.name,
            [
                ("sends", Some(load.operations / load.seconds), "1/s"),
                ("ack_p50", load.latencies.quantile(0.5), "ms"),
                ("ack_p99", load.latencies.quantile(0.99), "ms"),
                ("server_cpu", load.per_operation(load.server_us), "us/send"),
                ("generator_cpu", load.per_operation(load.generator_us), "us/send"),
            ],
        );
        Ok(())
    }

    /// Sends to `relay`, and measures.
    pub(super) async fn run(self, relay: &Arc<Relay>, args: &Args) -> Result<Load, Error> {
        let tallies: Arc<[Tally]> = (0..args.senders).map(|_| Tally::default()).collect();
        self.make_rooms(relay, args.senders).await?;
        let mut senders = JoinSet::new();
        for number in 0..args.senders {
            let sender = self.connect(relay, number).await?;
            let tallies = Arc::clone(&tallies);
            senders.spawn(async move {
                match tallies.get(number) {
                    Some(tally) => sender.run(tally).await,
                    None => Error::unexpected("no tally for a sender"),
                }
            });
        }
        let start = Instant::now() + args.warm_up;
        let processes = relay.processes();
        tokio::select! {
            load = Load::measure(&processes, tallies.iter(), start, args.measure) => load,
            Some(ended) = senders.join_next() => match ended {
                Ok(error) => Err(error),
                Err(failed) => Err(Error::unexpected(format!("a sender's task failed: {failed}"))),
            },
        }
    }

    /// Each room belongs to the first of its senders.
    async fn make_rooms(self, relay: &Relay, senders: usize) -> Result<(), Error> {
        let rooms = self.shared.unwrap_or(senders).min(senders);
        for room in 0..rooms {
            let others = (room + rooms..senders).step_by(rooms).map(user).collect();
            relay.create_room(&user(room), &self.room(room), others).await?;
        }
        Ok(())
    }

    fn room(self, sender: usize) -> String {
        format!("{}-{}", self.rooms, sender % self.shared.unwrap_or(usize::MAX))
    }

    async fn connect(self, relay: &Relay, number: usize) -> Result<Sender, Error> {
        let room = self.room(number);
        let line = match self.window {
            Some(window) => Line::Stream(Box::new(relay.connect(&user(number)).await?), window),
            None => Line::Unary(Box::new(relay.link().await?), relay.token(&user(number))?),
        };
        Ok(Sender { texts: Texts { room, last: self.lane.then_some(0) }, line })
    }
}

/// One sender.
struct Sender {
    texts: Texts,
    line: Line,
}

/// What it sends.
struct Texts {
    room: String,
    /// The number of the last one in the sender's lane, if it has one.
    last: Option<u64>,
}

impl Texts {
    fn next(&mut self, now: u64) -> SendMessageRequest {
        let message = frames::message(&self.room, stamp::text(now, TEXT));
        match &mut self.last {
            None => message,
            Some(last) => {
                *last += 1;
                SendMessageRequest { lane_id: "bench".into(), client_seq: *last, ..message }
            }
        }
    }
}

/// What it sends over.
enum Line {
    /// A Connect stream, with so many messages under way.
    Stream(Box<Call>, usize),
    /// A connection for unary calls, and the token of each.
    Unary(Box<Link>, String),
}

impl Sender {
    /// Sends for ever. An answer other than a receipt is an error: a load that is refused measures nothing.
    async fn run(self, tally: &Tally) -> Error {
        let sent = match self.line {
            Line::Stream(call, window) => stream(*call, window, self.texts, tally).await,
            Line::Unary(link, token) => unary(*link, &token, self.texts, tally).await,
        };
        sent.err().unwrap_or_else(|| Error::unexpected("a sender ended"))
    }
}

async fn stream(mut call: Call, window: usize, mut texts: Texts, tally: &Tally) -> Result<(), Error> {
    let mut free = window;
    loop {
        for _ in 0..std::mem::take(&mut free) {
            let now = stamp::now();
            // The request id comes back in the answer: it carries the time.
            call.send(&frames::sent(format!("{now:016x}"), texts.next(now)))?;
        }
        let mut answers = Ok(());
        call.read(|message| {
            if let Some(reply) = frames::reply(message) {
                free += 1;
                count(tally, stamp::parse(reply.request_id.as_bytes()).unwrap_or(0));
                if let Err(error) = frames::accepted(reply) {
                    answers = Err(error);
                }
            }
        })
        .await?;
        answers?;
    }
}

async fn unary(mut link: Link, token: &str, mut texts: Texts, tally: &Tally) -> Result<(), Error> {
    loop {
        let now = stamp::now();
        relay::send_unary(&mut link, token, &texts.next(now)).await?;
        count(tally, now);
    }
}

fn count(tally: &Tally, sent: u64) {
    tally.add();
    tally.sample(stamp::now().saturating_sub(sent));
}

fn user(number: usize) -> String {
    format!("p{number}")
}
