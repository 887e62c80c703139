//! What moved goes to those who follow the room, here and on other nodes.

use std::cmp::Reverse;

use indexmap::IndexMap;

use super::{Cursors, MAX_TOLD, Receipts, Reported, Shared};
use crate::{
    bus::Heard,
    chat::{Frame, notice::Notice, room_of, topic},
    hub::{State, StateKey, Topic, names},
    id::{RoomKey, UserId, UserKey},
};

/// Cursors in one notice: some 30 KB.
const PER_NOTICE: usize = 1_000;

impl Shared {
    /// These cursors moved, and are on disk.
    pub(super) fn moved(&self, moved: Vec<Reported>) {
        let mut rooms: IndexMap<RoomKey, Vec<(UserId, Cursors)>> = IndexMap::new();
        for (room, user, cursors) in moved {
            rooms.entry(room).or_default().push((user, cursors));
        }
        for (room, members) in rooms {
            self.untold.lock().remember(&room, &members);
            self.tell_nodes(&room, &members);
            self.tell_here(&room, members);
        }
    }

    fn tell_nodes(&self, room: &RoomKey, members: &[(UserId, Cursors)]) {
        for some in members.chunks(PER_NOTICE) {
            let moved = some.iter().map(|(user, cursors)| (user.clone(), cursors.delivered, cursors.read)).collect();
            self.teller.tell_room(room, Notice::Receipts { room: room.clone(), moved });
        }
    }

    /// Tells other nodes that a user changed what they have set.
    pub(super) fn tell_settings(&self, room: &RoomKey, user: &UserId) {
        self.untold.lock().remember_settings(room, user);
        self.teller.tell_room(room, Notice::Settings { room: room.clone(), user: user.clone() });
    }

    /// Tells other nodes that a user blocked another or took it back.
    pub(super) fn tell_block(&self, user: &UserKey, other: &UserId) {
        self.untold.lock().remember_block(user, other);
        self.teller.tell_user(user, Notice::Block { user: user.clone(), other: other.clone() });
    }

    /// Tells the followers of the room, and the devices of those whose cursors moved.
    fn tell_here(&self, room: &RoomKey, mut members: Vec<(UserId, Cursors)>) {
        let topic = topic(room);
        if self.hub.head(&topic).is_none() {
            return;
        }
        for (user, _) in &members {
            self.changed_here(room, user);
        }
        let partial = members.len() > MAX_TOLD;
        if partial {
            members.select_nth_unstable_by_key(MAX_TOLD, |(_, cursors)| Reverse((cursors.read, cursors.delivered)));
            members.truncate(MAX_TOLD);
        }
        self.tell_followers(room, &topic, members, partial);
    }

    fn tell_followers(&self, room: &RoomKey, topic: &Topic, receipts: Vec<(UserId, Cursors)>, partial: bool) {
        let frame = |partial| {
            let (room, receipts) = (room.room.clone(), receipts.clone());
            self.encoder.frame(&Frame::Receipts { room, receipts, partial })
        };
        let (told, instead) = (frame(partial), (!partial).then(|| frame(true)));
        let key = StateKey { kind: "receipts", of: topic.name.clone() };
        self.hub.tell_topic(topic, &State { key, frame: told, instead, kept: false });
    }

    /// How a user stands in a room changed: their streams here are to be told.
    pub(super) fn changed_here(&self, room: &RoomKey, user: &UserId) {
        if self.hub.is_here(&room.user(user)) {
            self.stale.mark(room, user, false);
        }
    }

    /// What this node may have missed of a room: its followers are told so, and how each of them stands is looked up.
    fn repair(&self, topic: &Topic) {
        let room = room_of(topic);
        for session in self.hub.following(topic) {
            self.stale.mark(&room, &session.owner().user, false);
        }
        self.tell_followers(&room, topic, Vec::new(), true);
    }

    /// Makes up for what was dropped when it arrived, if that is due.
    pub(super) fn repair_lost(&self) {
        if self.untold.lock().take_lost() {
            self.hub.topics().iter().for_each(|topic| self.repair(topic));
        }
    }

    /// The room's channel is heard from now on: what a stream was told before may have been old already.
    fn watching(&self, topic: &Topic) {
        if self.untold.lock().take_missed(topic) {
            return self.repair(topic);
        }
        let room = room_of(topic);
        for session in self.hub.following(topic).into_iter().filter(|session| session.has_states()) {
            self.stale.mark(&room, &session.owner().user, false);
        }
    }
}

impl Receipts {
    /// What a user has set for a room was changed here, or was before.
    pub(super) fn settings_changed(&self, room: &RoomKey, user: &UserId) {
        self.shared.tell_settings(room, user);
        self.shared.changed_here(room, user);
    }

    /// Tells other nodes that a user blocked another or took it back; again, when they may have missed it.
    pub(in crate::chat) fn tell_block(&self, user: &UserKey, other: &UserId) {
        self.shared.tell_block(user, other);
    }

    /// A user joined a room: their streams here are told how they stand, after the verdict.
    pub(in crate::chat) fn joined(&self, room: &RoomKey, user: &UserId) {
        if self.shared.hub.is_here(&room.user(user)) {
            self.shared.stale.mark(room, user, true);
        }
    }

    /// What another node tells.
    pub(in crate::chat) fn noticed(&self, notice: Notice) {
        match notice {
            Notice::Receipts { room, moved } => {
                let members = moved.into_iter().map(|(user, delivered, read)| (user, Cursors::new(delivered, read)));
                self.shared.tell_here(&room, members.collect());
            }
            Notice::Settings { room, user } => self.shared.changed_here(&room, &user),
            Notice::Typing { .. }
            | Notice::Block { .. }
            | Notice::Presence { .. }
            | Notice::Devices { .. }
            | Notice::Device { .. } => {}
        }
    }

    /// What is heard of the bus itself.
    pub(in crate::chat) fn heard(&self, heard: &Heard) {
        match heard {
            Heard::Up => self.shared.untold.lock().up(self.shared.hub.topics()),
            Heard::Down => self.shared.untold.lock().down(),
            Heard::Watching(channels) => {
                for channel in channels {
                    if let names::Subject::Topic(topic) = names::subject(channel) {
                        self.shared.watching(&topic);
                    }
                }
            }
            Heard::Lost => {
                self.shared.untold.lock().lost();
                self.shared.repair_lost();
            }
            Heard::Unsent => self.shared.untold.lock().unsent(),
            Heard::Message(..) => {}
        }
    }
}
