//! Who is there: online, away, offline, over all devices and nodes; told to those who share a room and asked for it.

mod large;
mod setting;
mod states;
mod storm;
mod watching;

use std::collections::BTreeMap;

pub(crate) use relay_proto::chat::v1::PresenceState::{Away, Offline, Online};
use relay_proto::chat::v1::{
    OpenStream, PresenceState, RoomKind, SetPresenceRequest, UserPresence, WatchPresence, connect_request::Frame as Up,
    frame::Kind, reply::Result as Outcome,
};

use crate::support::{Clients, Stream, within};

/// A stream that watches, and what its client knows by it.
pub(crate) struct Watcher {
    pub(crate) stream: Stream,
    /// Everybody of whom it heard.
    pub(crate) known: BTreeMap<String, UserPresence>,
    /// What it was told, in order, by user.
    pub(crate) told: Vec<(String, PresenceState)>,
    /// Rooms told as a whole: how many are there, and whether only some are named.
    pub(crate) rooms: Vec<(String, u32, bool)>,
}

pub(crate) fn watch(rooms: &[&str]) -> WatchPresence {
    WatchPresence { room_ids: rooms.iter().map(|room| (*room).to_owned()).collect() }
}

impl Watcher {
    /// Opens a stream that watches these rooms, and waits until it was told who is there.
    pub(crate) async fn open(clients: &Clients, rooms: &[&str]) -> Self {
        let open = OpenStream { watch_presence: Some(watch(rooms)), ..OpenStream::default() };
        let (stream, frames) = Stream::opened(clients, open).await;
        let mut watcher = Self { stream, known: BTreeMap::new(), told: Vec::new(), rooms: Vec::new() };
        frames.into_iter().for_each(|frame| watcher.take(frame));
        watcher.until("to be told of each room", |watcher| watcher.rooms.len() >= rooms.len()).await;
        watcher
    }

    fn take(&mut self, frame: Kind) {
        match frame {
            Kind::Presence(changed) => self.learn(changed.presence.unwrap()),
            Kind::RoomPresence(room) => {
                self.rooms.push((room.room_id, room.present_count, room.sample));
                let named: Vec<_> = room.present.iter().map(|user| user.user_id.clone()).collect();
                if !room.sample {
                    assert_eq!(room.present_count as usize, named.len());
                    for (user, presence) in &mut self.known {
                        if !named.contains(user) && presence.state() != Offline {
                            presence.set_state(Offline);
                            self.told.push((user.clone(), Offline));
                        }
                    }
                }
                room.present.into_iter().for_each(|user| self.learn(user));
            }
            _ => {}
        }
    }

    /// Frames may say again what was said: what counts is whether the user is another than before.
    fn learn(&mut self, presence: UserPresence) {
        let user = presence.user_id.clone();
        let known = self.known.get(&user);
        if known.is_some_and(|known| known.version > presence.version) {
            return;
        }
        if known.map(UserPresence::state) != Some(presence.state()) {
            self.told.push((user.clone(), presence.state()));
        }
        self.known.insert(user, presence);
    }

    /// Reads on until this holds of what it knows.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                let frame = self.stream.next().await;
                self.take(frame);
            }
        };
        within(what, wait).await;
    }

    /// Reads on until a user is known to be so.
    pub(crate) async fn until_state(&mut self, user: &str, state: PresenceState) {
        self.until(&format!("{user} to be {state:?}"), |w| w.state(user) == state).await;
    }

    /// How a user is, as far as it knows.
    pub(crate) fn state(&self, user: &str) -> PresenceState {
        self.known.get(user).map_or(Offline, UserPresence::state)
    }

    /// What a user was told to have become, and is not asked for again.
    pub(crate) fn take_told(&mut self, user: &str) -> Vec<PresenceState> {
        let (of_user, others) = std::mem::take(&mut self.told).into_iter().partition(|(of, _)| of == user);
        self.told = others;
        let of_user: Vec<(String, PresenceState)> = of_user;
        of_user.into_iter().map(|(_, state)| state).collect()
    }

    /// Has a user say something of themselves, and reads on until it comes: what happened before was told before.
    pub(crate) async fn mark(&mut self, user: &mut Clients, name: &str, text: &str) {
        say(user, text).await;
        self.until("a status text", |w| w.known.get(name).is_some_and(|p| p.status_text == text)).await;
    }
}

/// Says something of oneself.
pub(crate) async fn say(user: &mut Clients, text: &str) {
    let request = SetPresenceRequest { status_text: Some(text.into()), ..SetPresenceRequest::default() };
    user.presence.set_presence(request).await.unwrap();
}

/// Says on a stream whether its device is in use, and waits for the answer.
pub(crate) async fn set(stream: &mut Stream, state: PresenceState) {
    let request = SetPresenceRequest { state: state.into(), ..SetPresenceRequest::default() };
    stream.send("set", Up::SetPresence(request)).await;
    let answer = stream.reply("set").await;
    assert!(matches!(answer, Outcome::Done(_)), "{answer:?}");
}

/// The presence of users, as the caller is told when they ask.
pub(crate) async fn get(clients: &Clients, users: &[&str]) -> Vec<UserPresence> {
    let user_ids = users.iter().map(|user| (*user).to_owned()).collect();
    let request = relay_proto::chat::v1::GetPresenceRequest { user_ids };
    clients.presence.clone().get_presence(request).await.unwrap().into_inner().presences
}

/// How a user is, as the caller is told when they ask.
pub(crate) async fn state_of(clients: &Clients, user: &str) -> PresenceState {
    get(clients, &[user]).await[0].state()
}

/// A private room of so many members beside its owner.
pub(crate) async fn fill(owner: &mut Clients, room: &str, members: &[String]) {
    owner.create_room(room, RoomKind::Private, &[]).await;
    for some in members.chunks(100) {
        let new = |user: &String| relay_proto::chat::v1::NewMember { user_id: user.clone(), role: 0 };
        let request =
            relay_proto::chat::v1::AddMembersRequest { room_id: room.into(), members: some.iter().map(new).collect() };
        owner.rooms.add_members(request).await.unwrap();
    }
}
