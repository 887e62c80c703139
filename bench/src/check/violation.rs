//! Broken promises, as they are found.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use super::ledger::{Moment, now};

/// Which promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Promise {
    /// Something acknowledged is not there, or did not reach somebody.
    Lost,
    /// Something is there twice, or was delivered twice.
    Double,
    /// Something came before what it follows.
    Order,
    /// Two answers that must be the same are not.
    Agreement,
    /// Somebody heard what they must not.
    Isolation,
    /// Something did not end in time.
    Progress,
    /// An answer that the contract does not have.
    Contract,
}

impl Promise {
    /// What the table calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Double => "double",
            Self::Order => "out of order",
            Self::Agreement => "disagreeing",
            Self::Isolation => "heard by others",
            Self::Progress => "not ended in time",
            Self::Contract => "against the contract",
        }
    }

    pub(super) const ALL: [Self; 7] =
        [Self::Lost, Self::Double, Self::Order, Self::Agreement, Self::Isolation, Self::Progress, Self::Contract];
}

/// A broken promise.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Violation {
    pub(super) promise: Promise,
    pub(super) at: Moment,
    pub(super) what: String,
}

/// All that were found.
#[derive(Default)]
pub(super) struct Violations(Mutex<Vec<Violation>>);

impl Violations {
    /// Adds one.
    pub(super) fn add(&self, promise: Promise, what: impl Into<String>) {
        let violation = Violation { promise, at: now(), what: what.into() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(violation);
    }

    /// Those so far, in the order in which they were found.
    pub(super) fn all(&self) -> Vec<Violation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many there are of each promise.
    pub(super) fn counts(&self) -> BTreeMap<Promise, usize> {
        let mut counts = BTreeMap::new();
        for violation in self.all() {
            *counts.entry(violation.promise).or_default() += 1;
        }
        counts
    }
}
