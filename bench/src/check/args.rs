//! The command line of `check`.

use std::{path::PathBuf, time::Duration};

use super::fault::FaultKind;
use crate::{args::value, error::Error};

/// What `check --help` prints.
pub(crate) const HELP: &str = "\
relay-bench check [options]

Puts a deployment under load and under faults, records every acknowledgement and every delivery, and proves that nothing was
lost, doubled or put out of order. Everything random comes from one seed. Ends with 1 if a promise was broken.

  --seed N            where everything random comes from (drawn, and printed)
  --seeds N           so many runs in a row: seed, seed + 1, ... (1)
  --seconds S         how long the load lasts, 1 to 600 (10)
  --faults A,B        what happens meanwhile: all (the default), none, or some of
                      kill redis-kill redis-empty redis-stop postgres-restart swallow cut-redis cut-postgres hang-up
  --out FOLDER        where histories of failed runs go (bench/results)

A deployment of its own, on this machine:
  --nodes N           nodes, 1 to 9 (3)
  --relay-bin PATH    the server (the file `relay` beside this program)
  --relay-set K=V     a setting passed on to every node as `--set K=V`; may be repeated

A deployment that runs already; faults are the clients' own then, hang-up and no other:
  --urls A,B          its nodes, such as http://10.0.0.1:8080
  --token-key KEY     the HS256 key that it accepts tokens from, base64url without padding; or RELAY_AUTH_SIGNING_KEY
  --token-kid KID     the key's name (server)
  --tokens FILE       instead of a key: tokens of at least 6 users, one a line";

/// The fewest users that a check is played by: an owner, two members, two who come and go, one who stays outside.
pub(super) const FEWEST_USERS: usize = 6;

/// What to check, and how.
#[derive(Clone)]
pub(crate) struct CheckArgs {
    pub(super) help: bool,
    pub(super) seed: Option<u64>,
    pub(super) seeds: u64,
    pub(super) load: Duration,
    pub(super) faults: Vec<FaultKind>,
    pub(super) out: PathBuf,
    pub(super) nodes: usize,
    pub(super) relay: PathBuf,
    pub(super) settings: Vec<String>,
    pub(super) remote: Option<Remote>,
}

/// A deployment that runs already.
#[derive(Clone)]
pub(super) struct Remote {
    pub(super) urls: Vec<String>,
    pub(super) credentials: Credentials,
}

/// How users get their tokens.
#[derive(Clone)]
pub(super) enum Credentials {
    /// Signed with this key: its name, its text in base64url.
    Key(String, String),
    /// Out of this file.
    File(PathBuf),
}

impl CheckArgs {
    /// Reads the arguments after `check`.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut args = Self::defaults()?;
        let (mut urls, mut key, mut kid, mut tokens) = (Vec::new(), None, String::from("server"), None);
        while let Some(word) = words.next() {
            match word.as_str() {
                "-h" | "--help" => args.help = true,
                "--seed" => args.seed = Some(value(&word, &mut words)?),
                "--seeds" => args.seeds = value(&word, &mut words)?,
                "--seconds" => args.load = Duration::from_secs(value(&word, &mut words)?),
                "--faults" => args.faults = FaultKind::parse_list(&value::<String>(&word, &mut words)?)?,
                "--out" => args.out = value(&word, &mut words)?,
                "--nodes" => args.nodes = value(&word, &mut words)?,
                "--relay-bin" => args.relay = value(&word, &mut words)?,
                "--relay-set" => args.settings.push(value(&word, &mut words)?),
                "--urls" => urls = value::<String>(&word, &mut words)?.split(',').map(str::to_owned).collect(),
                "--token-key" => key = Some(value(&word, &mut words)?),
                "--token-kid" => kid = value(&word, &mut words)?,
                "--tokens" => tokens = Some(value(&word, &mut words)?),
                _ => return Err(Error::Usage(format!("what is `{word}`?\n\n{HELP}"))),
            }
        }
        if !urls.is_empty() {
            let key = key.or_else(|| std::env::var("RELAY_AUTH_SIGNING_KEY").ok());
            let credentials = match (tokens, key) {
                (Some(file), _) => Credentials::File(file),
                (None, Some(key)) => Credentials::Key(kid, key),
                (None, None) => return Err(Error::Usage("--urls wants --token-key or --tokens".into())),
            };
            args.faults.retain(|kind| *kind == FaultKind::HangUp);
            args.remote = Some(Remote { urls, credentials });
        }
        args.checked()
    }

    fn defaults() -> Result<Self, Error> {
        Ok(Self {
            help: false,
            seed: None,
            seeds: 1,
            load: Duration::from_secs(10),
            faults: FaultKind::ALL.to_vec(),
            out: concat!(env!("CARGO_MANIFEST_DIR"), "/results").into(),
            nodes: 3,
            relay: std::env::current_exe()?.with_file_name("relay"),
            settings: Vec::new(),
            remote: None,
        })
    }

    fn checked(self) -> Result<Self, Error> {
        if self.help {
            return Ok(self);
        }
        if !(1..=9).contains(&self.nodes) || !(1..=600).contains(&self.load.as_secs()) || self.seeds == 0 {
            return Err(Error::Usage("--nodes is 1 to 9, --seconds 1 to 600, --seeds at least 1".into()));
        }
        if self.remote.is_none() && !self.relay.is_file() {
            return Err(Error::Usage(format!("no file {}; --relay-bin names the server", self.relay.display())));
        }
        Ok(self)
    }

    /// Whether a setting of the nodes' was given.
    pub(super) fn sets(&self, name: &str) -> bool {
        self.settings.iter().any(|setting| setting.split('=').next() == Some(name))
    }

    /// The command line that repeats the run of `seed`.
    pub(super) fn repeat(&self, seed: u64) -> String {
        let faults: Vec<&str> = self.faults.iter().map(|kind| kind.name()).collect();
        let faults = if faults.is_empty() { "none".into() } else { faults.join(",") };
        let target = match &self.remote {
            None => format!("--nodes {}", self.nodes),
            Some(remote) => format!("--urls {}", remote.urls.join(",")),
        };
        let settings: String = self.settings.iter().map(|setting| format!(" --relay-set {setting}")).collect();
        format!(
            "relay-bench check {target} --seed {seed} --seconds {} --faults {faults}{settings}",
            self.load.as_secs()
        )
    }
}
