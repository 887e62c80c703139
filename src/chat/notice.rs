//! What nodes tell each other beside events: how something is now. It is not in any log; a notice that is lost is made up for by
//! the next one, or by what the database says.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    bulletin::{Bulletin, NodeId},
    presence::UserPresence,
    topic,
};
use crate::{
    bus::{Bus, Health},
    hub::names,
    id::{RoomKey, UserId, UserKey},
};

/// How something is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Notice {
    /// On the room's channel: a member types, or does not any more.
    Typing {
        /// Where.
        room: RoomKey,
        /// Who.
        user: UserId,
        /// Whether they do.
        typing: bool,
    },
    /// On the room's channel: the presence of some members changed.
    Presence {
        /// Where.
        room: RoomKey,
        /// Theirs, as it is now; nothing in rooms that are too large for it.
        users: Vec<UserPresence>,
    },
    /// On the user's channel: whether the devices of all their sessions are out of use.
    Devices {
        /// Whose.
        user: UserKey,
        /// Whether they are.
        away: bool,
    },
    /// On the user's channel: the same of one session. Whoever has it answers the question of this name.
    Device {
        /// Whose.
        user: UserKey,
        /// Which.
        session: Uuid,
        /// Whether it is.
        away: bool,
        /// The name of the question.
        question: Uuid,
    },
    /// On the user's channel: they blocked a user, or took it back. The database says which.
    Block {
        /// Who did.
        user: UserKey,
        /// Whom.
        other: UserId,
    },
    /// On the room's channel: these members' cursors moved. Whoever has streams of them tells them how they stand.
    Receipts {
        /// Where.
        room: RoomKey,
        /// Who, up to where they have got the messages, and up to where they have read them.
        moved: Vec<(UserId, u64, u64)>,
    },
    /// On the room's channel, which every node watches that has a stream of a member: a member changed what they have set.
    Settings {
        /// Where.
        room: RoomKey,
        /// Who.
        user: UserId,
    },
}

/// Tells other nodes.
pub(super) struct Teller {
    node: NodeId,
    bus: Arc<dyn Bus>,
    /// Whether there are other nodes that can be told.
    linked: bool,
}

impl Teller {
    /// A teller of this node.
    pub(super) fn new(node: NodeId, bus: Arc<dyn Bus>) -> Self {
        let linked = !matches!(bus.health(), Health::Alone | Health::Silent);
        Self { node, bus, linked }
    }

    /// Tells the nodes that have somebody who follows the room.
    pub(super) fn tell_room(&self, room: &RoomKey, notice: Notice) {
        if self.linked {
            let notice = Bulletin::Notice(notice).encode(self.node);
            self.bus.publish(&names::of_topic(&topic(room)), notice, false);
        }
    }

    /// Tells the nodes that have a stream of the user.
    pub(super) fn tell_user(&self, user: &UserKey, notice: Notice) {
        if self.linked {
            self.bus.publish(&names::of_user(user), Bulletin::Notice(notice).encode(self.node), false);
        }
    }
}
