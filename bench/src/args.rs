//! The command line.

use std::{path::PathBuf, str::FromStr, time::Duration};

use crate::{
    check::CheckArgs,
    error::Error,
    scope::{Scenario, Scope},
    subject::Role,
};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
relay-bench [all|SCENARIO...] [options]
relay-bench check [options]       proves the promises of a deployment; check --help lists its options

  fanout sends idle rooms lanes   scenarios of one node
  sends-postgres search           need RELAY_TEST_POSTGRES_URL, as scripts/with-postgres sets it
  cross-node resume fanout-nodes receipts presence
                                  need RELAY_TEST_REDIS_URL as well, as scripts/with-redis sets it

  --quick             everything small: 100 subscribers, 200 streams, 8 senders, 20,000 messages, 2 s
  --seconds S         how long each load is measured (10)
  --subscribers N     subscribers of the fan-out, and readers who report (1000)
  --in-flight N       messages of the fan-out under way at once, at most 1000 (256)
  --streams N         idle streams, and clients that resume or come and go (5000)
  --senders N         senders of durable messages (64)
  --messages N        messages of the large room, and of all rooms that are searched, at least 1000 (1000000)
  --members N         members of the large rooms, at least 10 (10000)
  --relay-bin PATH    the server (the file `relay` beside this program)
  --relay-set K=V     a setting passed on to the server as `--set K=V`; may be repeated
  --no-relay          only what Relay is compared with
  --out PATH          where the results go (bench/results/latest.json)";

/// What to do.
pub(crate) enum Command {
    /// Print the help.
    Help,
    /// Be one of the servers that are measured.
    Subject(Role),
    /// Measure.
    Run(Args),
    /// Prove the promises of a deployment.
    Check(CheckArgs),
}

/// The sizes of a run.
pub(crate) struct Args {
    /// Which scenarios.
    pub(crate) scope: Scope,
    /// How long each load is measured.
    pub(crate) measure: Duration,
    /// How long each load runs before it is measured.
    pub(crate) warm_up: Duration,
    /// Subscribers of the fan-out.
    pub(crate) subscribers: usize,
    /// Messages that may be published and not yet with every subscriber.
    pub(crate) in_flight: usize,
    /// Idle streams, and clients that resume.
    pub(crate) streams: usize,
    /// Senders of durable messages.
    pub(crate) senders: usize,
    /// Messages of the large room that is listed, and of all rooms that are searched.
    pub(crate) messages: u64,
    /// Members of the large room that is sent to.
    pub(crate) members: usize,
    /// The server. None: it is not measured.
    pub(crate) relay: Option<PathBuf>,
    /// Settings for the server.
    pub(crate) relay_settings: Vec<String>,
    /// Where the results go.
    pub(crate) out: PathBuf,
}

impl Command {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut scope = Scope::default();
        let mut given = Given::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-h" | "--help" => return Ok(Self::Help),
                "check" => return CheckArgs::parse(words).map(Self::Check),
                "subject" => return Role::parse(words).map(Self::Subject),
                "all" => scope = Scope::default(),
                "--quick" => given.quick = true,
                "--no-relay" => given.no_relay = true,
                "--seconds" => given.seconds = Some(value(&word, &mut words)?),
                "--subscribers" => given.subscribers = Some(value(&word, &mut words)?),
                "--in-flight" => given.in_flight = Some(value(&word, &mut words)?),
                "--streams" => given.streams = Some(value(&word, &mut words)?),
                "--senders" => given.senders = Some(value(&word, &mut words)?),
                "--messages" => given.messages = Some(value(&word, &mut words)?),
                "--members" => given.members = Some(value(&word, &mut words)?),
                "--relay-bin" => given.relay = Some(value(&word, &mut words)?),
                "--relay-set" => given.relay_settings.push(value(&word, &mut words)?),
                "--out" => given.out = Some(value(&word, &mut words)?),
                _ => match Scenario::named(&word) {
                    Some(scenario) => scope.add(scenario),
                    None => return Err(Error::Usage(format!("what is `{word}`?"))),
                },
            }
        }
        given.fill(scope).map(Self::Run)
    }
}

/// The options that were on the command line.
#[derive(Default)]
struct Given {
    quick: bool,
    no_relay: bool,
    seconds: Option<u64>,
    subscribers: Option<usize>,
    in_flight: Option<usize>,
    streams: Option<usize>,
    senders: Option<usize>,
    messages: Option<u64>,
    members: Option<usize>,
    relay: Option<PathBuf>,
    relay_settings: Vec<String>,
    out: Option<PathBuf>,
}

impl Given {
    /// Puts the defaults in, and refuses what cannot be measured.
    fn fill(self, scope: Scope) -> Result<Args, Error> {
        let size = |full, quick| if self.quick { quick } else { full };
        let seconds = self.seconds.unwrap_or(size(10, 2) as u64);
        let args = Args {
            scope,
            measure: Duration::from_secs(seconds),
            warm_up: Duration::from_millis(size(1000, 500) as u64),
            subscribers: self.subscribers.unwrap_or(size(1000, 100)),
            in_flight: self.in_flight.unwrap_or(256),
            streams: self.streams.unwrap_or(size(5000, 200)),
            senders: self.senders.unwrap_or(size(64, 8)),
            messages: self.messages.unwrap_or(size(1_000_000, 20_000) as u64),
            members: self.members.unwrap_or(size(10_000, 500)),
            relay: if self.no_relay { None } else { find_relay(self.relay)? },
            relay_settings: self.relay_settings,
            out: self.out.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results/latest.json"))),
        };
        if [args.subscribers, args.streams, args.senders].contains(&0) || !(1..=600).contains(&seconds) {
            return Err(Error::Usage("sizes start at 1, and seconds end at 600".into()));
        }
        if args.messages < 1000 || args.members < 10 {
            return Err(Error::Usage("a large room has at least 1000 messages and 10 members".into()));
        }
        if !(1..=1000).contains(&args.in_flight) {
            return Err(Error::Usage(
                "--in-flight is 1 to 1000: the plain service keeps no more for a subscriber".into(),
            ));
        }
        Ok(args)
    }
}

/// The server's program: what was asked for must be there, the one beside this program may be missing.
fn find_relay(given: Option<PathBuf>) -> Result<Option<PathBuf>, Error> {
    if let Some(path) = given {
        return if path.is_file() { Ok(Some(path)) } else { Err(Error::Usage(format!("no file {}", path.display()))) };
    }
    Ok(Some(std::env::current_exe()?.with_file_name("relay")).filter(|path| path.is_file()))
}

/// The value that follows an option.
pub(crate) fn value<T: FromStr>(option: &str, words: &mut impl Iterator<Item = String>) -> Result<T, Error> {
    let word = words.next().ok_or_else(|| Error::Usage(format!("{option} wants a value")))?;
    word.parse().map_err(|_| Error::Usage(format!("{option} does not take `{word}`")))
}
