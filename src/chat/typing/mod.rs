//! Who types: started by a word, kept up by more of them, over by itself. Nothing of it is stored.
//!
//! Each node keeps what it knows and tells its own sessions, as a state: one frame a room, which overtakes events and of
//! which a slow reader gets only the newest. Nodes tell each other of beginnings and ends at once, and of what goes on at
//! most every third of the timeout, on the room's channel.

mod typists;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use self::typists::{Begun, Due, Origin, Typists};
use super::{
    bulletin::NodeId,
    frame::{Encoder, Frame},
    log::{not_a_member, refuse_blocked, refuse_muted},
    notice::{Notice, Teller},
    policy::{self, Action},
    room_of, store, topic,
};
use crate::{
    bus::Bus,
    clock::Clock,
    db::Db,
    error::{Error, Result},
    hub::{Hub, Session, State, StateKey},
    id::{RoomId, RoomKey, UserId, UserKey},
};

/// What typing works with.
pub struct TypingParts {
    /// Which node this is.
    pub node: NodeId,
    /// Who may type.
    pub db: Db,
    /// Who is told.
    pub hub: Arc<Hub>,
    /// The other nodes.
    pub bus: Arc<dyn Bus>,
    /// How it becomes bytes.
    pub encoder: Arc<dyn Encoder>,
    /// When mutes end.
    pub clock: Arc<dyn Clock>,
}

/// Who types, in all rooms.
pub struct Typing {
    db: Db,
    hub: Arc<Hub>,
    encoder: Arc<dyn Encoder>,
    clock: Arc<dyn Clock>,
    teller: Teller,
    typists: Mutex<Typists>,
    /// As many as there are rooms in `typists`: mostly none, and then nobody needs the lock.
    rooms: AtomicUsize,
    /// Held from looking at a room until its list is queued: an older list does not come after a newer one.
    order: Mutex<()>,
    changed: Notify,
}

impl Typing {
    /// Nobody types. Who does not say it again stops after `timeout`.
    pub fn new(timeout: Duration, parts: TypingParts) -> Arc<Self> {
        let TypingParts { node, db, hub, bus, encoder, clock } = parts;
        Arc::new(Self {
            db,
            hub,
            encoder,
            clock,
            teller: Teller::new(node, bus),
            typists: Mutex::new(Typists::new(timeout)),
            rooms: AtomicUsize::new(0),
            order: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// A user says by a call that they type, or not any more.
    ///
    /// # Errors
    /// ROOM_NOT_FOUND, NOT_A_MEMBER, ROLE_INSUFFICIENT, MEMBER_MUTED, USER_BLOCKED; OVERLOADED.
    pub async fn set(&self, user: &UserKey, room: RoomId, typing: bool) -> Result<()> {
        let room = user.room(room);
        self.set_looked_up(&room, &user.user, typing).await
    }

    /// The same by a frame on a session. Who stops in a room that the session follows is not looked up, and who goes on typing
    /// there once in each timeout: what keeps them from it came meanwhile.
    ///
    /// # Errors
    /// The same.
    pub async fn set_on(&self, session: &Session, room: RoomId, typing: bool) -> Result<()> {
        let user = session.owner();
        let room = user.room(room);
        let known = !typing || self.typists.lock().may_go_on(&room, &user.user, Instant::now());
        if known && self.hub.follows(session, &topic(&room)) {
            return self.say(&room, &user.user, typing);
        }
        self.set_looked_up(&room, &user.user, typing).await
    }

    async fn set_looked_up(&self, room: &RoomKey, user: &UserId, typing: bool) -> Result<()> {
        if let Err(refused) = self.may_type(room, user).await {
            // Who typed does not any more.
            self.say(room, user, false)?;
            return Err(refused);
        }
        self.say(room, user, typing)?;
        self.typists.lock().vouch(room, user, Instant::now());
        Ok(())
    }

    async fn may_type(&self, room: &RoomKey, user: &UserId) -> Result<()> {
        let standing = store::typing::standing(&self.db, room, user).await?.ok_or_else(Error::room_not_found)?;
        let role = standing.role.ok_or_else(|| not_a_member(standing.kind))?;
        policy::require(role, Action::Send)?;
        refuse_muted(standing.muted_until, self.clock.now())?;
        refuse_blocked(standing.peer_blocked)
    }

    fn say(&self, room: &RoomKey, user: &UserId, typing: bool) -> Result<()> {
        let now = Instant::now();
        let tell = self.change(|typists| match typing {
            true => match typists.begin(room, user, Origin::Here, now) {
                Begun::Full => Err(Error::overloaded("more users type than the server keeps in mind")),
                begun => Ok(begun == Begun::Tell),
            },
            false => Ok(typists.end(room, user, now)),
        })?;
        if tell {
            self.tell_others(room, user.clone(), typing);
        }
        Ok(())
    }

    /// Another node tells that a user types, or not any more.
    pub(super) fn heard(&self, room: &RoomKey, user: &UserId, typing: bool) {
        let now = Instant::now();
        self.change(|typists| match typing {
            true => drop(typists.begin(room, user, Origin::Elsewhere, now)),
            false => drop(typists.end(room, user, now)),
        });
    }

    /// A message was sent: its sender has stopped. `frame` is what told it.
    pub(super) fn sent(&self, room: &RoomKey, frame: impl FnOnce() -> bytes::Bytes) {
        if self.nobody() || !self.typists.lock().anybody(room) {
            return;
        }
        if let Some(message) = self.encoder.message(&frame()) {
            self.change(|typists| typists.end(room, &message.sender, Instant::now()));
        }
    }

    /// A user left a room.
    pub(super) fn left(&self, room: &RoomKey, user: &UserId) {
        if !self.nobody() {
            self.change(|typists| typists.end(room, user, Instant::now()));
        }
    }

    /// A room is no more.
    pub(super) fn ended(&self, room: &RoomKey) {
        if !self.nobody() {
            self.change(|typists| typists.erase(room));
        }
    }

    /// The last session of a user at this node is over.
    pub fn gone(&self, user: &UserKey) {
        if self.nobody() {
            return;
        }
        let rooms = self.change(|typists| {
            let rooms = typists.of(user);
            for room in &rooms {
                typists.end(room, &user.user, Instant::now());
            }
            rooms
        });
        for room in rooms {
            self.tell_others(&room, user.user.clone(), false);
        }
    }

    /// Tells a session that was opened just now who types in the rooms that it follows.
    pub(super) fn greet(&self, session: &Session) {
        if self.nobody() {
            return;
        }
        let _order = self.order.lock();
        for room in self.hub.followed(session).iter().map(room_of) {
            if self.typists.lock().anybody(&room) {
                session.put(&self.state(&room));
            }
        }
    }

    /// Tells what is due until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(self.wait()).await.is_some() {
            let now = Instant::now();
            let Due { rooms, expired } = self.change(|typists| typists.take(now));
            for (room, user) in expired {
                self.tell_others(&room, user, false);
            }
            for room in rooms {
                let told = {
                    let _order = self.order.lock();
                    self.hub.tell_topic(&topic(&room), &self.state(&room))
                };
                self.change(|typists| typists.told(&room, told, now));
            }
        }
    }

    /// Waits until something is due.
    async fn wait(&self) {
        loop {
            let notified = self.changed.notified();
            let next = self.typists.lock().next();
            match next {
                Some(next) => {
                    if tokio::time::timeout_at(next, notified).await.is_err() {
                        return;
                    }
                }
                None => notified.await,
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Typists) -> T) -> T {
        let (done, sooner) = {
            let mut typists = self.typists.lock();
            let before = typists.next();
            let done = change(&mut typists);
            self.rooms.store(typists.rooms(), Ordering::Relaxed);
            (done, typists.next().is_some_and(|next| before.is_none_or(|before| next < before)))
        };
        if sooner {
            self.changed.notify_one();
        }
        done
    }

    fn nobody(&self) -> bool {
        self.rooms.load(Ordering::Relaxed) == 0
    }

    fn tell_others(&self, room: &RoomKey, user: UserId, typing: bool) {
        self.teller.tell_room(room, Notice::Typing { room: room.clone(), user, typing });
    }

    /// Who types in a room, as a frame.
    fn state(&self, room: &RoomKey) -> State {
        let list = self.typists.lock().list(room);
        let frame = Frame::Typing { room: room.room.clone(), users: list.users, count: list.count };
        let key = StateKey { kind: "typing", of: room.room.shared() };
        State { key, frame: self.encoder.frame(&frame), instead: None, kept: false }
    }
}
