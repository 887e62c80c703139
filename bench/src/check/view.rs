//! What a subscriber holds: its place in each room, what was delivered to it, and the state that follows from it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use relay_proto::chat::v1::ResumeVerdict;
use serde::Serialize;

use super::{
    Stage,
    brief::Brief,
    ledger::{Moment, now},
    violation::Promise,
    words::Words,
};

/// A room's messages and members, as events or lists tell them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct State {
    pub(super) messages: BTreeMap<u64, Shown>,
    pub(super) members: BTreeMap<String, i32>,
}

/// A message as people see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Shown {
    pub(super) text: String,
    pub(super) deleted: bool,
    pub(super) reactions: BTreeMap<String, BTreeSet<String>>,
}

impl State {
    /// Takes an event in.
    pub(super) fn apply(&mut self, event: &Brief) {
        match event {
            Brief::Created { seq, text, deleted, .. } => {
                let shown = Shown { text: text.clone(), deleted: *deleted, ..Shown::default() };
                self.messages.insert(*seq, shown);
            }
            Brief::Edited { seq, text, deleted } => self.with(*seq, |shown| {
                shown.text.clone_from(text);
                shown.deleted |= deleted;
            }),
            Brief::Deleted { seq } => {
                self.with(*seq, |shown| *shown = Shown { deleted: true, ..Shown::default() });
            }
            Brief::Reacted { seq, emoji, user } => self.with(*seq, |shown| {
                shown.reactions.entry(emoji.clone()).or_default().insert(user.clone());
            }),
            Brief::Unreacted { seq, emoji, user } => self.with(*seq, |shown| {
                if let Some(users) = shown.reactions.get_mut(emoji) {
                    users.remove(user);
                }
                shown.reactions.retain(|_, users| !users.is_empty());
            }),
            Brief::Joined { user, role } | Brief::Promoted { user, role } => {
                self.members.insert(user.clone(), *role);
            }
            Brief::Left { user } => drop(self.members.remove(user)),
            Brief::Renamed | Brief::RoomDeleted | Brief::Unknown => {}
        }
    }

    fn with(&mut self, seq: u64, change: impl FnOnce(&mut Shown)) {
        // What was before the subscriber's time is not known to it.
        if let Some(shown) = self.messages.get_mut(&seq) {
            change(shown);
        }
    }
}

/// An event that reached a subscriber.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Delivery {
    pub(super) at: Moment,
    pub(super) node: usize,
    pub(super) room: String,
    pub(super) position: u64,
    pub(super) event: Brief,
}

/// A subscriber's view.
#[derive(Serialize)]
pub(super) struct View {
    pub(super) name: String,
    pub(super) user: String,
    /// Its user is in every room throughout, and it began at the beginning.
    pub(super) steady: bool,
    /// It reads what comes and stays where it is, so that its delays are the deployment's.
    pub(super) attentive: bool,
    /// The rooms whose events it is sent, each with the position that it holds.
    pub(super) held: BTreeMap<String, u64>,
    pub(super) states: BTreeMap<String, State>,
    pub(super) deliveries: Vec<Delivery>,
    /// Streams, verdicts and disruptions, in words.
    pub(super) notes: Vec<(Moment, String)>,
    pub(super) words: Words,
    #[serde(skip)]
    stage: Arc<Stage>,
    /// What it opened its stream with.
    #[serde(skip)]
    given: HashMap<String, u64>,
    node: usize,
}

impl View {
    pub(super) fn new(stage: Arc<Stage>, name: String, user: String, steady: bool, attentive: bool) -> Self {
        // From the first event on, so that everything about a room follows from its events.
        let rooms = stage.cast.rooms.iter().filter(|_| steady);
        let held = rooms.map(|room| (room.id.clone(), 0)).collect();
        Self {
            name,
            user,
            steady,
            attentive,
            held,
            states: BTreeMap::new(),
            deliveries: Vec::new(),
            notes: Vec::new(),
            words: Words::default(),
            stage,
            given: HashMap::new(),
            node: 0,
        }
    }

    /// A stream is about to be opened.
    pub(super) fn opening(&mut self, node: usize) {
        self.node = node;
        self.words.begin_anew();
        self.given = self.held.iter().map(|(room, position)| (room.clone(), *position)).collect();
        self.note(format!("opens at node {node} with {:?}", self.held));
    }

    /// The client opened it again by itself, with what the view holds.
    pub(super) fn opened_again(&mut self) {
        self.words.begin_anew();
        self.words.opened();
        self.given = self.held.iter().map(|(room, position)| (room.clone(), *position)).collect();
    }

    /// What its client told it about a stream.
    pub(super) fn note(&mut self, what: String) {
        self.notes.push((now(), what));
    }

    /// How the stream stands to a room from here on.
    pub(super) fn verdict(&mut self, room: &str, verdict: ResumeVerdict, position: u64) {
        self.note(format!("{} {room} at {position}", verdict.as_str_name()));
        let given = self.given.remove(room);
        let place = format!("{}: {} in {room} at {position}", self.at(), verdict.as_str_name());
        match verdict {
            ResumeVerdict::Complete if given != Some(position) => {
                self.stage.violations.add(Promise::Contract, format!("{place}, but it was opened with {given:?}"));
            }
            ResumeVerdict::Gap if !self.stage.may_forget => {
                self.stage.violations.add(Promise::Lost, format!("{place}, but it was opened with {given:?}"));
            }
            ResumeVerdict::Joined | ResumeVerdict::Left if self.steady => {
                self.stage.violations.add(Promise::Lost, format!("{place}, though the user is in it throughout"));
            }
            ResumeVerdict::Unspecified => self.stage.violations.add(Promise::Contract, place),
            _ => {}
        }
        if verdict == ResumeVerdict::Left {
            self.held.remove(room);
            self.states.remove(room);
        } else {
            if verdict != ResumeVerdict::Complete {
                // It begins anew: what it knows of before may have changed meanwhile.
                self.states.remove(room);
            }
            self.held.insert(room.to_owned(), position);
        }
    }

    /// An event was delivered. `previous`: the position that it says it follows.
    pub(super) fn event(&mut self, room: &str, position: u64, previous: Option<u64>, event: Brief) {
        let place = || format!("{}: position {position} of {room} (after {previous:?}): {event:?}", self.at());
        match self.held.get(room) {
            None => {
                self.stage.violations.add(Promise::Isolation, format!("{}, which it does not follow", place()));
            }
            Some(held) if position <= *held => {
                self.stage.violations.add(Promise::Double, format!("{}, and it holds {held}", place()));
            }
            Some(held) if position != held + 1 || previous.is_some_and(|previous| previous != *held) => {
                self.stage.violations.add(Promise::Lost, format!("{}, and it holds {held}", place()));
            }
            Some(_) => {}
        }
        let held = self.held.entry(room.to_owned()).or_default();
        *held = position.max(*held);
        self.states.entry(room.to_owned()).or_default().apply(&event);
        if let Brief::Created { seq, .. } = &event {
            self.stage.receipts.delivered(&self.user, room, *seq);
        }
        self.deliveries.push(Delivery { at: now(), node: self.node, room: room.into(), position, event });
    }

    /// A heartbeat says that the stream has carried everything up to a position.
    pub(super) fn heartbeat(&mut self, room: &str, position: u64) {
        if let Some(held) = self.held.get(room).filter(|held| **held < position) {
            let what =
                format!("{}: it was sent {room} up to {position}, says a heartbeat, and holds {held}", self.at());
            self.stage.violations.add(Promise::Lost, what);
        }
    }

    /// The node that its stream is on.
    pub(super) fn node(&self) -> usize {
        self.node
    }

    /// Where it is, for messages.
    pub(super) fn at(&self) -> String {
        format!("{} at node {}", self.name, self.node)
    }
}
