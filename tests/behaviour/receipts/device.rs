//! A device of a user with a model of how they stand in their rooms, fed by nothing but its stream's frames.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use relay_proto::chat::v1::{
    MembershipState, Mention, OpenStream, ResumeVerdict as Verdict, RoomPosition, RoomSettings, frame::Kind,
    mention::Target, room_event::Event,
};

use super::state;
use crate::support::{Clients, Stream, within};

/// What a client makes of the frames of a room.
#[derive(Debug, Default)]
struct Model {
    /// The server has said how the user stands.
    known: bool,
    last: u64,
    delivered: u64,
    read: u64,
    /// Mentions that were unread when the server said how the user stands.
    told: BTreeSet<u64>,
    /// What the events say of messages: whether they mention the user.
    seen: BTreeMap<u64, bool>,
    settings: RoomSettings,
    version: u64,
}

/// A device.
pub(super) struct Device {
    pub(super) clients: Clients,
    pub(super) stream: Stream,
    user: String,
    rooms: HashMap<String, Model>,
}

impl Model {
    fn told(&mut self, state: &MembershipState) {
        if !std::mem::replace(&mut self.known, true) {
            self.told = state.unread_mention_seqs.iter().copied().collect();
        }
        self.last = self.last.max(state.last_seq);
        self.delivered = self.delivered.max(state.delivered_seq);
        self.read = self.read.max(state.read_seq);
        if state.settings_version >= self.version {
            self.version = state.settings_version;
            self.settings = state.settings.unwrap();
        }
        assert_eq!(state.unread_count, state.last_seq - state.read_seq);
    }

    fn event(&mut self, event: &Event, user: &str) {
        let meant = |mentions: &[Mention]| {
            mentions.iter().any(|mention| match mention.target.as_ref().unwrap() {
                Target::UserId(mentioned) => mentioned == user,
                Target::Room(_) => true,
            })
        };
        match event {
            Event::MessageCreated(created) => {
                let message = created.message.as_ref().unwrap();
                self.last = self.last.max(message.seq);
                self.seen.insert(message.seq, message.sender_id != user && meant(&message.mentions));
                if message.sender_id == user && !message.keeps_unread {
                    self.read = self.read.max(message.seq);
                    self.delivered = self.delivered.max(message.seq);
                }
            }
            Event::MessageEdited(edited) => {
                let message = edited.message.as_ref().unwrap();
                self.seen.insert(message.seq, meant(&message.mentions));
            }
            Event::MessageDeleted(deleted) => drop(self.seen.insert(deleted.seq, false)),
            _ => {}
        }
    }

    fn mentions(&self) -> Vec<u64> {
        let told = self.told.iter().filter(|seq| !self.seen.contains_key(seq));
        let seen = self.seen.iter().filter(|(_, meant)| **meant).map(|(seq, _)| seq);
        let all: BTreeSet<u64> = told.chain(seen).copied().filter(|seq| *seq > self.read).collect();
        all.into_iter().collect()
    }

    fn state(&self, room: &str) -> MembershipState {
        MembershipState {
            room_id: room.into(),
            delivered_seq: self.delivered,
            read_seq: self.read,
            last_seq: self.last,
            unread_count: self.last - self.read,
            unread_mention_seqs: self.mentions(),
            settings: Some(self.settings),
            settings_version: self.version,
        }
    }
}

impl Device {
    /// A device whose stream holds nothing.
    pub(super) async fn open(clients: Clients, user: &str) -> Self {
        Self::back(clients, user, &[]).await
    }

    /// A device that was away since these positions.
    pub(super) async fn back(clients: Clients, user: &str, positions: &[(&str, u64)]) -> Self {
        let held = positions.iter().map(|(room, at)| RoomPosition { room_id: (*room).into(), position: *at });
        let open = OpenStream { positions: held.collect(), memberships: true, ..OpenStream::default() };
        let (stream, frames) = Stream::opened(&clients, open).await;
        let mut device = Self { clients, stream, user: user.into(), rooms: HashMap::new() };
        frames.iter().for_each(|frame| device.take(frame));
        device
    }

    fn take(&mut self, frame: &Kind) {
        match frame {
            Kind::Resumed(resumed) => {
                for room in resumed.rooms.iter().filter(|room| room.verdict() == Verdict::Left) {
                    self.rooms.remove(&room.room_id);
                }
            }
            Kind::Memberships(frame) => {
                for state in &frame.memberships {
                    self.rooms.entry(state.room_id.clone()).or_default().told(state);
                }
            }
            Kind::Event(event) => match event.event.as_ref().unwrap() {
                Event::MemberLeft(left) if left.user_id == self.user => drop(self.rooms.remove(&event.room_id)),
                other => self.rooms.entry(event.room_id.clone()).or_default().event(other, &self.user),
            },
            _ => {}
        }
    }

    /// How the device takes its user to stand in a room; `None` before it was told.
    pub(super) fn state(&self, room: &str) -> Option<MembershipState> {
        self.rooms.get(room).filter(|model| model.known).map(|model| model.state(room))
    }

    /// Reads frames until what the device makes of them is what every node says when it is asked anew.
    pub(super) async fn agrees(&mut self, room: &str, after: &str, nodes: &[Clients]) {
        let what = format!("a device that counts right after {after}");
        let agree = async {
            loop {
                let mut fresh = Vec::new();
                for node in nodes {
                    fresh.push(state(&mut node.clone(), room).await);
                }
                let own = self.state(room);
                if own.is_some_and(|own| fresh.iter().all(|fresh| *fresh == own)) {
                    return;
                }
                let mut more = tokio::time::interval(Duration::from_millis(20));
                more.tick().await;
                tokio::select! {
                    frame = self.stream.next_told() => self.take(&frame),
                    _ = more.tick() => {}
                }
            }
        };
        let agreed = tokio::time::timeout(crate::support::DEADLINE, agree).await;
        if agreed.is_err() {
            let fresh = state(&mut self.clients, room).await;
            panic!("waited in vain for {what}: {:?} is {fresh:?}", self.rooms.get(room));
        }
    }

    /// Reads frames until the device has no part in a room.
    pub(super) async fn leaves(&mut self, room: &str) {
        let left = async {
            while self.rooms.contains_key(room) {
                let frame = self.stream.next_told().await;
                self.take(&frame);
            }
        };
        within("the end of a room", left).await;
    }
}
