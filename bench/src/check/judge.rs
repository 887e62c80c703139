//! Holds what was acknowledged and delivered against what the log says in the end.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    archive::Told,
    brief::Brief,
    ledger::{Change, Moment, Records, Sent, What},
    subscriber::RoomEnd,
    view::View,
    violation::{Promise, Violations},
};

/// A room's log: the event at position 1, at position 2, ...
pub(super) type Log = Vec<Brief>;

/// The case.
pub(super) struct Judge<'a> {
    pub(super) records: &'a Records,
    pub(super) ends: &'a BTreeMap<String, RoomEnd>,
    /// What a fresh reader of each node was delivered.
    pub(super) readers: &'a [View],
    /// What each node lists, by room.
    pub(super) told: &'a [BTreeMap<String, Told>],
    pub(super) violations: &'a Violations,
}

impl Judge<'_> {
    /// Judges all of it. Answers with the logs.
    pub(super) fn run(&self, views: &[View]) -> BTreeMap<String, Log> {
        let logs: Vec<BTreeMap<String, Log>> = self.readers.iter().map(|reader| self.log_of(reader)).collect();
        let Some(first) = logs.first() else { return BTreeMap::new() };
        for (node, log) in logs.iter().enumerate().skip(1) {
            self.logs_agree(first, log, node);
        }
        for room in self.ends.keys() {
            let log = first.get(room).map_or(&[][..], Vec::as_slice);
            self.numbers_have_no_holes(room, log);
            self.lists_agree(room, log);
            self.sends_are_kept(room, log);
            self.changes_are_kept(room, log);
            self.passages_are_kept(room, log);
        }
        self.sends_are_in_order();
        for view in views {
            self.view_is_whole(view, first);
        }
        first.clone()
    }

    fn accuse(&self, promise: Promise, what: String) {
        self.violations.add(promise, what);
    }

    fn log_of(&self, reader: &View) -> BTreeMap<String, Log> {
        let mut logs: BTreeMap<String, Log> = BTreeMap::new();
        for delivery in &reader.deliveries {
            logs.entry(delivery.room.clone()).or_default().push(delivery.event.clone());
        }
        for (room, end) in self.ends {
            let read = logs.get(room).map_or(0, |log| log.len() as u64);
            if read < end.position {
                let what = format!("a fresh reader of {room} ({}) got {read} events of {}", reader.at(), end.position);
                self.accuse(Promise::Lost, what);
            }
        }
        logs
    }

    fn logs_agree(&self, first: &BTreeMap<String, Log>, other: &BTreeMap<String, Log>, node: usize) {
        for (room, log) in first {
            let other = other.get(room).map_or(&[][..], Vec::as_slice);
            let differs = log.iter().zip(other).position(|(one, other)| one != other);
            if let Some(at) = differs {
                let (one, other) = (&log[at], &other[at]);
                let what = format!("position {} of {room}: node 0 says {one:?}, node {node} {other:?}", at + 1);
                self.accuse(Promise::Agreement, what);
            }
        }
    }

    fn numbers_have_no_holes(&self, room: &str, log: &[Brief]) {
        let seqs =
            log.iter().filter_map(|event| if let Brief::Created { seq, .. } = event { Some(*seq) } else { None });
        let mut next = 1;
        for seq in seqs {
            if seq != next {
                self.accuse(Promise::Order, format!("{room}: message {seq} stands where {next} should"));
            }
            next = seq + 1;
        }
        let mut ids = HashMap::new();
        for (position, event) in (1u64..).zip(log) {
            let Brief::Created { sender, id, .. } = event else { continue };
            if let Some(before) = ids.insert((sender, id), position) {
                let what = format!("{room}: {id} of {sender} stands at positions {before} and {position}");
                self.accuse(Promise::Double, what);
            }
        }
    }

    fn lists_agree(&self, room: &str, log: &[Brief]) {
        let Some(first) = self.told.first().and_then(|told| told.get(room)) else { return };
        for (node, told) in self.told.iter().enumerate().skip(1) {
            let Some(other) = told.get(room) else { continue };
            if let Some((one, other)) = first.messages.iter().zip(&other.messages).find(|(one, other)| one != other) {
                let what = format!("{room}: node 0 lists {one:?}, node {node} {other:?}");
                self.accuse(Promise::Agreement, what);
            }
            if (first.messages.len(), &first.members) != (other.messages.len(), &other.members) {
                let counts = (first.messages.len(), first.members.len(), other.messages.len(), other.members.len());
                let what = format!("{room}: nodes 0 and {node} list other messages or members: {counts:?}");
                self.accuse(Promise::Agreement, what);
            }
        }
        let created: Vec<(u64, u64, &str)> = (1u64..)
            .zip(log)
            .filter_map(|(position, event)| match event {
                Brief::Created { seq, id, .. } => Some((*seq, position, id.as_str())),
                _ => None,
            })
            .collect();
        let listed: Vec<(u64, u64, &str)> =
            first.messages.iter().map(|m| (m.seq, m.position, m.client_message_id.as_str())).collect();
        if created != listed {
            let at = created.iter().zip(&listed).position(|(one, other)| one != other);
            let at = at.unwrap_or(created.len().min(listed.len()));
            let (one, other) = (created.get(at), listed.get(at));
            self.accuse(Promise::Agreement, format!("{room}: streams say {one:?}, lists say {other:?}"));
        }
    }

    fn sends_are_kept(&self, room: &str, log: &[Brief]) {
        let mut known = HashSet::new();
        for sent in self.records.sent.iter().filter(|sent| sent.room == room) {
            known.insert((sent.user.as_str(), sent.id.as_str()));
            let Some(ack) = sent.acks.first() else { continue };
            if let Some(other) = sent.acks.iter().find(|other| !other.agrees_with(ack)) {
                let what =
                    format!("{} of {} in {room} was answered with {ack:?} and with {other:?}", sent.id, sent.user);
                self.accuse(Promise::Double, what);
            }
            let there = usize::try_from(ack.position).ok().and_then(|position| log.get(position.checked_sub(1)?));
            let kept = matches!(there, Some(Brief::Created { seq, sender, id, .. })
                if (*seq, sender, id) == (ack.seq, &sent.user, &sent.id));
            if !kept {
                let what =
                    format!("{} of {} in {room} was acknowledged as {ack:?}; there is {there:?}", sent.id, sent.user);
                self.accuse(Promise::Lost, what);
            }
        }
        for event in log {
            let Brief::Created { sender, id, seq, .. } = event else { continue };
            if !known.contains(&(sender.as_str(), id.as_str())) {
                self.accuse(Promise::Contract, format!("{room}: nobody sent message {seq} ({id} of {sender})"));
            }
        }
    }

    /// What was sent after another message of the room had been acknowledged stands after it.
    fn sends_are_in_order(&self) {
        let mut rooms: HashMap<&str, Vec<(Moment, bool, u64, &Sent)>> = HashMap::new();
        for sent in &self.records.sent {
            let Some(ack) = sent.acks.first() else { continue };
            let room = rooms.entry(&sent.room).or_default();
            room.push((sent.began, true, ack.seq, sent));
            room.push((ack.at, false, ack.seq, sent));
        }
        for (room, mut moments) in rooms {
            moments.sort_by_key(|(at, begins, ..)| (*at, !begins));
            let mut newest: Option<(u64, &Sent)> = None;
            for (_, begins, seq, sent) in moments {
                match newest {
                    Some((before, earlier)) if begins && seq < before => {
                        let what = format!(
                            "{room}: {} was sent after {} had been acknowledged as {before}, and is {seq}",
                            sent.id, earlier.id
                        );
                        self.accuse(Promise::Order, what);
                    }
                    _ if !begins && newest.is_none_or(|(before, _)| before < seq) => newest = Some((seq, sent)),
                    _ => {}
                }
            }
        }
    }

    fn changes_are_kept(&self, room: &str, log: &[Brief]) {
        let Some(state) = self.told.first().and_then(|told| told.get(room)).map(Told::state) else { return };
        let mut events: HashMap<u64, Vec<&Brief>> = HashMap::new();
        for event in log {
            if let Brief::Edited { seq, .. } | Brief::Deleted { seq } = event {
                events.entry(*seq).or_default().push(event);
            }
        }
        for (seq, shown) in &state.messages {
            let changes: Vec<&Change> = self.records.of_message(room, *seq).collect();
            let none = Vec::new();
            let events = events.get(seq).unwrap_or(&none);
            let place = format!("message {seq} of {room}");
            let done = |what: &dyn Fn(&What) -> bool| changes.iter().any(|c| what(&c.what) && c.ending.acknowledged());
            if done(&|what| *what == What::Delete) && !(shown.deleted && shown.text.is_empty()) {
                self.accuse(Promise::Lost, format!("{place}: its deletion was acknowledged, and it is there"));
            }
            let deletions = events.iter().filter(|event| matches!(event, Brief::Deleted { .. })).count();
            if deletions > 1 || (deletions == 1) != shown.deleted {
                self.accuse(
                    Promise::Double,
                    format!("{place}: deleted {deletions} times, is deleted: {}", shown.deleted),
                );
            }
            self.edits_are_kept(&place, &changes, events.len() - deletions, shown);
            self.reactions_are_kept(&place, &changes, shown);
        }
    }

    fn edits_are_kept(&self, place: &str, changes: &[&Change], events: usize, shown: &super::view::Shown) {
        let edits: Vec<(&String, &Change)> = changes
            .iter()
            .filter_map(|change| if let What::Edit(text) = &change.what { Some((text, *change)) } else { None })
            .collect();
        let acknowledged: Vec<_> = edits.iter().filter(|(_, change)| change.ending.acknowledged()).collect();
        let sure = edits.iter().all(|(_, change)| !change.ending.ambiguous && change.ending.ended.is_some());
        if events < acknowledged.len() || sure && events > acknowledged.len() {
            let what = format!("{place}: {} edits were acknowledged, {events} are in the log", acknowledged.len());
            self.accuse(Promise::Lost, what);
        }
        let wrong = match acknowledged.last() {
            Some((text, _)) if sure => **text != shown.text,
            Some(_) => edits.iter().all(|(text, _)| **text != shown.text),
            None => false,
        };
        if wrong && !shown.deleted {
            self.accuse(Promise::Lost, format!("{place}: its last edit was acknowledged, its text is {}", shown.text));
        }
    }

    fn reactions_are_kept(&self, place: &str, changes: &[&Change], shown: &super::view::Shown) {
        let mut last: HashMap<(&str, &str), (bool, &Change)> = HashMap::new();
        let mut unsure = HashSet::new();
        for change in changes {
            let (emoji, there) = match &change.what {
                What::React(emoji) => (emoji.as_str(), true),
                What::Unreact(emoji) => (emoji.as_str(), false),
                _ => continue,
            };
            let key = (change.user.as_str(), emoji);
            if change.ending.ambiguous || change.ending.ended.is_none() {
                unsure.insert(key);
            }
            if change.ending.acknowledged() {
                last.insert(key, (there, change));
            }
        }
        last.retain(|key, _| !unsure.contains(key) && !shown.deleted);
        for ((user, emoji), (there, _)) in last {
            let is = shown.reactions.get(emoji).is_some_and(|users| users.contains(user));
            if is != there {
                self.accuse(Promise::Lost, format!("{place}: {emoji} of {user} is there: {is}, acknowledged: {there}"));
            }
        }
    }

    fn passages_are_kept(&self, room: &str, log: &[Brief]) {
        let mut inside: HashMap<&str, usize> = HashMap::new();
        let mut joins: HashMap<&str, usize> = HashMap::new();
        for (position, event) in (1..).zip(log) {
            match event {
                Brief::Joined { user, .. } => {
                    *joins.entry(user).or_default() += 1;
                    if let Some(before) = inside.insert(user, position) {
                        let what =
                            format!("{room}: {user} joined at {before}, and again at {position} without leaving");
                        self.accuse(Promise::Double, what);
                    }
                }
                Brief::Left { user } if inside.remove(user.as_str()).is_none() => {
                    self.accuse(Promise::Double, format!("{room}: {user} left at {position} without being in it"));
                }
                _ => {}
            }
        }
        let users: HashSet<&str> =
            self.records.passages.iter().filter(|passage| passage.room == room).map(|p| p.user.as_str()).collect();
        for user in users {
            let own = self.records.passages.iter().filter(|passage| passage.room == room && passage.user == user);
            let own: Vec<_> = own.collect();
            if own.iter().any(|p| p.ending.ambiguous || p.ending.ended.is_none()) {
                continue;
            }
            let mut expected = 0;
            let mut is_in = false;
            for passage in own.iter().filter(|passage| passage.ending.acknowledged()) {
                expected += usize::from(passage.joins && !is_in);
                is_in = passage.joins;
            }
            let found = joins.get(user).copied().unwrap_or_default();
            if (found, inside.contains_key(user)) != (expected, is_in) {
                let what = format!(
                    "{room}: {user} joined {expected} times and is in it: {is_in}; in the log {found} and {}",
                    inside.contains_key(user)
                );
                self.accuse(Promise::Lost, what);
            }
        }
    }

    /// A subscriber got what it should, nothing else, and ended with the state that a fresh reader gets.
    fn view_is_whole(&self, view: &View, logs: &BTreeMap<String, Log>) {
        self.deliveries_are_of_the_log(view, logs);
        for (room, end) in self.ends {
            let member = end.members.contains(&view.user);
            match view.held.get(room) {
                Some(held) if member && *held < end.position => {
                    let log = logs.get(room).map_or(&[][..], Vec::as_slice);
                    let next = usize::try_from(*held).ok().and_then(|held| log.get(held));
                    let what = format!("{} has {room} up to {held} of {}; next: {next:?}", view.at(), end.position);
                    self.accuse(Promise::Lost, what);
                }
                Some(held) if !member => {
                    let what = format!("{} still follows {room} at {held}, and left it", view.at());
                    self.accuse(Promise::Lost, what);
                }
                None if member => {
                    self.accuse(Promise::Lost, format!("{} does not follow {room}, and is a member", view.at()));
                }
                Some(_) => self.state_is_fresh(view, room),
                None => {}
            }
        }
    }

    fn state_is_fresh(&self, view: &View, room: &str) {
        let Some(told) = self.told.first().and_then(|told| told.get(room)) else { return };
        let (Some(own), fresh) = (view.states.get(room), told.state()) else { return };
        for (seq, shown) in &own.messages {
            if fresh.messages.get(seq) != Some(shown) {
                let what = format!(
                    "{} shows message {seq} of {room} as {shown:?}; it is {:?}",
                    view.at(),
                    fresh.messages.get(seq)
                );
                self.accuse(Promise::Agreement, what);
            }
        }
        if view.steady && (own.members != fresh.members || own.messages.len() != fresh.messages.len()) {
            let (own, fresh) = ((&own.members, own.messages.len()), (&fresh.members, fresh.messages.len()));
            self.accuse(Promise::Agreement, format!("{} has {room} as {own:?}; it is {fresh:?}", view.at()));
        }
    }

    fn deliveries_are_of_the_log(&self, view: &View, logs: &BTreeMap<String, Log>) {
        for delivery in &view.deliveries {
            let at = usize::try_from(delivery.position.saturating_sub(1)).unwrap_or(usize::MAX);
            let Some(written) = logs.get(&delivery.room).and_then(|log| log.get(at)) else {
                let what = format!("{} was delivered {delivery:?}, which is in no log", view.at());
                self.accuse(Promise::Contract, what);
                continue;
            };
            if !written.is_same_event(&delivery.event) {
                let what = format!("{} was delivered {delivery:?}; the log says {written:?}", view.at());
                self.accuse(Promise::Agreement, what);
            }
            if !self.text_was_written(delivery) {
                let what = format!("{} was delivered {delivery:?}, a text that it never had", view.at());
                self.accuse(Promise::Agreement, what);
            }
            if !self.may_hear(view, delivery, logs) {
                let what = format!("{} was delivered {delivery:?}, and is not in the room then", view.at());
                self.accuse(Promise::Isolation, what);
            }
        }
    }

    fn text_was_written(&self, delivery: &super::view::Delivery) -> bool {
        let (seq, text, deleted) = match &delivery.event {
            Brief::Created { seq, text, deleted, .. } | Brief::Edited { seq, text, deleted } => (*seq, text, *deleted),
            _ => return true,
        };
        if deleted {
            return text.is_empty();
        }
        text.starts_with("message ")
            || self.records.of_message(&delivery.room, seq).any(|change| change.what == What::Edit(text.clone()))
    }

    /// A user may hear what happens while they are in the room, their own leaving included; and what was before they joined,
    /// once they have begun to join.
    fn may_hear(&self, view: &View, delivery: &super::view::Delivery, logs: &BTreeMap<String, Log>) -> bool {
        if view.steady {
            return true;
        }
        let Some(log) = logs.get(&delivery.room) else { return false };
        let up_to = usize::try_from(delivery.position).unwrap_or(usize::MAX).min(log.len());
        let last_passage = log[..up_to].iter().rev().find_map(|event| match event {
            Brief::Joined { user, .. } if *user == view.user => Some(true),
            Brief::Left { user } if *user == view.user => Some(false),
            _ => None,
        });
        let own_leaving = matches!(&delivery.event, Brief::Left { user } if *user == view.user);
        let later = log[up_to..].iter().any(|event| matches!(event, Brief::Joined { user, .. } if *user == view.user));
        let began = self.records.passages.iter().any(|passage| {
            let own = passage.room == delivery.room && passage.user == view.user;
            own && passage.joins && passage.ending.began < delivery.at
        });
        last_passage == Some(true) || own_leaving || later && began
    }
}
