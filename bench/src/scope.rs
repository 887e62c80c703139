//! Which scenarios to run.

/// A scenario, or several that belong together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Fanout,
    Sends,
    Idle,
    Rooms,
    Lanes,
    SendsPostgres,
    Search,
    CrossNode,
    Resume,
    FanoutNodes,
    Receipts,
    Presence,
}

impl Scenario {
    /// All, in the order in which they run.
    pub(crate) const ALL: [Self; 12] = [
        Self::Fanout,
        Self::Sends,
        Self::Idle,
        Self::Rooms,
        Self::Lanes,
        Self::SendsPostgres,
        Self::Search,
        Self::CrossNode,
        Self::Resume,
        Self::FanoutNodes,
        Self::Receipts,
        Self::Presence,
    ];

    /// The word for it on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fanout => "fanout",
            Self::Sends => "sends",
            Self::Idle => "idle",
            Self::Rooms => "rooms",
            Self::Lanes => "lanes",
            Self::SendsPostgres => "sends-postgres",
            Self::Search => "search",
            Self::CrossNode => "cross-node",
            Self::Resume => "resume",
            Self::FanoutNodes => "fanout-nodes",
            Self::Receipts => "receipts",
            Self::Presence => "presence",
        }
    }

    /// The scenario of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }
}

/// The scenarios that were asked for. None: all.
#[derive(Default)]
pub(crate) struct Scope(Vec<Scenario>);

impl Scope {
    /// Asks for one more.
    pub(crate) fn add(&mut self, scenario: Scenario) {
        self.0.push(scenario);
    }

    /// Whether `scenario` is to run.
    pub(crate) fn has(&self, scenario: Scenario) -> bool {
        self.0.is_empty() || self.0.contains(&scenario)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_for_is_everything() {
        let mut scope = Scope::default();
        assert!(scope.has(Scenario::Idle));
        scope.add(Scenario::Resume);
        assert!(scope.has(Scenario::Resume) && !scope.has(Scenario::Idle));
        assert!(Scenario::ALL.iter().all(|scenario| Scenario::named(scenario.name()) == Some(*scenario)));
    }
}
