//! What befalls a deployment, and when: derived from the seed.

use std::time::Duration;

use fastrand::Rng;
use serde::Serialize;

use crate::error::Error;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FaultKind {
    /// kill -9 of a node, which is started again.
    Kill,
    /// kill -9 of Redis, which comes back with what it had.
    RedisKill,
    /// Redis is killed and comes back with nothing.
    RedisEmpty,
    /// Redis is away for a while, or stands still.
    RedisStop,
    /// Postgres restarts, politely or at once.
    PostgresRestart,
    /// Redis takes what is published and delivers none of it to one node, or to any.
    Swallow,
    /// A node is cut off from Redis, or the link hangs.
    CutRedis,
    /// The same with Postgres.
    CutPostgres,
    /// Callers go away in the middle of a call, subscribers in the middle of a stream.
    HangUp,
}

impl FaultKind {
    pub(super) const ALL: [Self; 9] = [
        Self::Kill,
        Self::RedisKill,
        Self::RedisEmpty,
        Self::RedisStop,
        Self::PostgresRestart,
        Self::Swallow,
        Self::CutRedis,
        Self::CutPostgres,
        Self::HangUp,
    ];

    /// Its name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::RedisKill => "redis-kill",
            Self::RedisEmpty => "redis-empty",
            Self::RedisStop => "redis-stop",
            Self::PostgresRestart => "postgres-restart",
            Self::Swallow => "swallow",
            Self::CutRedis => "cut-redis",
            Self::CutPostgres => "cut-postgres",
            Self::HangUp => "hang-up",
        }
    }

    /// Reads `all`, `none`, or names with commas between.
    pub(super) fn parse_list(text: &str) -> Result<Vec<Self>, Error> {
        let named = |name: &str| {
            let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
            found.ok_or_else(|| Error::Usage(format!("no fault `{name}`")))
        };
        match text {
            "all" => Ok(Self::ALL.to_vec()),
            "none" => Ok(Vec::new()),
            names => names.split(',').map(named).collect(),
        }
    }

    /// Whether it is of the row that harms Redis.
    pub(super) fn is_of_redis(self) -> bool {
        matches!(self, Self::RedisKill | Self::RedisEmpty | Self::RedisStop | Self::Swallow | Self::CutRedis)
    }
}

/// A fault with its time and place.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// The node that it befalls; `None`: all.
    pub(super) node: Option<usize>,
    /// One of two ways in which it happens.
    pub(super) harsh: bool,
    /// From the start of the load.
    pub(super) begin: Duration,
    pub(super) length: Duration,
}

impl Fault {
    /// What to call it.
    pub(super) fn label(&self) -> String {
        let node = self.node.map_or_else(String::new, |node| format!(" of node {node}"));
        let way = match (self.kind, self.harsh) {
            (FaultKind::RedisStop | FaultKind::CutRedis | FaultKind::CutPostgres, true) => " (standing still)",
            (FaultKind::PostgresRestart, true) => " (at once)",
            _ => "",
        };
        format!("{}{node}{way}", self.kind.name())
    }
}

/// The longest that one fault lasts.
const LONGEST: Duration = Duration::from_secs(20);
/// The longest that one lasts without which nothing can be written.
const LONGEST_OF_POSTGRES: Duration = Duration::from_secs(6);

/// Two rows of faults that run beside each other: what harms nodes and Postgres, and what harms Redis. In a row one is over
/// before the next begins, so that writing is never impossible for long, and what needs two faults at once is met as well.
pub(super) fn schedule(random: &mut Rng, kinds: &[FaultKind], nodes: usize, load: Duration) -> Vec<Fault> {
    let (redis, others): (Vec<FaultKind>, Vec<FaultKind>) =
        kinds.iter().filter(|kind| **kind != FaultKind::HangUp).partition(|kind| kind.is_of_redis());
    let mut faults = row(random, others, nodes, load, LONGEST_OF_POSTGRES);
    faults.extend(row(random, redis, nodes, load, LONGEST));
    faults.sort_by_key(|fault| fault.begin);
    faults
}

fn row(random: &mut Rng, mut kinds: Vec<FaultKind>, nodes: usize, load: Duration, longest: Duration) -> Vec<Fault> {
    random.shuffle(&mut kinds);
    // The first and the last tenth of the load are quiet.
    let slot = load.mul_f64(0.8) / u32::try_from(kinds.len().max(1)).unwrap_or(1);
    let mut faults = Vec::with_capacity(kinds.len());
    for (number, kind) in (0u32..).zip(kinds) {
        let length = slot.mul_f64(0.3 + 0.4 * random.f64()).min(longest);
        let spare = slot.saturating_sub(length).mul_f64(random.f64() * 0.7);
        let everywhere = match kind {
            FaultKind::Kill | FaultKind::CutRedis | FaultKind::CutPostgres => false,
            FaultKind::Swallow => random.bool(),
            _ => true,
        };
        let node = (!everywhere).then(|| random.usize(0..nodes));
        let begin = load.mul_f64(0.1) + slot * number + spare;
        faults.push(Fault { kind, node, harsh: random.bool(), begin, length });
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_again_and_every_kind_once() {
        let of = |seed| schedule(&mut Rng::with_seed(seed), &FaultKind::ALL, 3, Duration::from_secs(10));
        assert_eq!(format!("{:?}", of(7)), format!("{:?}", of(7)));
        assert_ne!(format!("{:?}", of(7)), format!("{:?}", of(8)));
        let mut kinds: Vec<_> = of(7).iter().map(|fault| fault.kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, FaultKind::ALL[..8]);
    }

    #[test]
    fn faults_of_a_row_do_not_meet() {
        for seed in 0..200 {
            let faults = schedule(&mut Rng::with_seed(seed), &FaultKind::ALL, 3, Duration::from_secs(60));
            for redis in [true, false] {
                let row: Vec<_> = faults.iter().filter(|fault| fault.kind.is_of_redis() == redis).collect();
                assert!(row.windows(2).all(|pair| pair[0].begin + pair[0].length < pair[1].begin));
            }
        }
    }
}
