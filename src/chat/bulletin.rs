//! What nodes tell each other over the bus, and how it is written.
//!
//! Events travel as the frames that readers get: a node that receives them passes them on as they are. Before them stands
//! a header in postcard's format. A node that does not know the version of a header does as if it had not come; the
//! position check finds what it told.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    notice::Notice,
    piece::{Mark, Piece},
};
use crate::{
    clock::Timestamp,
    hub::Batch,
    id::{RoomKey, UserKey},
};

/// The version of the header. It changes when a node that knows the one before would misread this.
const VERSION: u8 = 1;

/// Which node, from start to end.
pub type NodeId = Uuid;

/// What a node tells others.
#[derive(Clone, Debug)]
pub(super) enum Bulletin {
    /// On a room's channel: events that were committed.
    Events(Piece),
    /// On a room's or a user's channel: how something is now.
    Notice(Notice),
    /// On a user's channel: they joined a room, by the event of that position.
    Joined {
        /// Who.
        user: UserKey,
        /// Where.
        room: RoomKey,
        /// The position.
        position: u64,
    },
    /// On a user's channel: whoever has the session lets it live until then, and says so on the asking node's channel.
    Renew {
        /// Whose session.
        user: UserKey,
        /// Which.
        session: Uuid,
        /// Until when.
        expires_at: Timestamp,
    },
    /// On a node's channel: the session was renewed, or is ending.
    Renewed {
        /// Which session.
        session: Uuid,
        /// Whether it was renewed.
        renewed: bool,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u8,
    origin: [u8; 16],
    body: Body,
}

#[derive(Serialize, Deserialize)]
enum Body {
    Events { first: u64, lengths: Vec<u32>, marks: Vec<Mark> },
    Joined { user: UserKey, room: RoomKey, position: u64 },
    Renew { user: UserKey, session: [u8; 16], expires_at: i64 },
    Renewed { session: [u8; 16], renewed: bool },
    Notice(Notice),
}

impl Bulletin {
    /// As bytes, from the node `origin`.
    pub(super) fn encode(&self, origin: NodeId) -> Bytes {
        let body = match self {
            Self::Events(piece) => Body::Events {
                first: piece.first(),
                lengths: lengths(piece.batch().ends()),
                marks: piece.marks().to_vec(),
            },
            Self::Notice(notice) => Body::Notice(notice.clone()),
            Self::Joined { user, room, position } => {
                Body::Joined { user: user.clone(), room: room.clone(), position: *position }
            }
            Self::Renew { user, session, expires_at } => {
                Body::Renew { user: user.clone(), session: session.into_bytes(), expires_at: expires_at.0 }
            }
            Self::Renewed { session, renewed } => Body::Renewed { session: session.into_bytes(), renewed: *renewed },
        };
        let header = Header { version: VERSION, origin: origin.into_bytes(), body };
        // Nothing in it can fail to be written; an empty payload would be passed over.
        let header = postcard::to_allocvec(&header).unwrap_or_default();
        let frames = match self {
            Self::Events(piece) => piece.batch().bytes(),
            _ => return header.into(),
        };
        let mut payload = BytesMut::with_capacity(header.len() + frames.len());
        payload.extend_from_slice(&header);
        payload.extend_from_slice(frames);
        payload.freeze()
    }

    /// From bytes, with the node that it came from; `None` if it cannot be understood.
    pub(super) fn decode(payload: &Bytes) -> Option<(NodeId, Self)> {
        if payload.first() != Some(&VERSION) {
            return None;
        }
        let (header, frames) = postcard::take_from_bytes::<Header>(payload).ok()?;
        let frames = payload.slice_ref(frames);
        let bulletin = match header.body {
            Body::Events { first, lengths, marks } => {
                let ends = ends(&lengths, frames.len()).filter(|ends| plausible(first, ends.len() as u64))?;
                Self::Events(Piece::from_parts(Batch::new(first, frames, ends), marks)?)
            }
            Body::Notice(notice) => Self::Notice(notice),
            Body::Joined { user, room, position } => {
                plausible(position, 1).then_some(Self::Joined { user, room, position })?
            }
            Body::Renew { user, session, expires_at } => {
                Self::Renew { user, session: Uuid::from_bytes(session), expires_at: Timestamp(expires_at) }
            }
            Body::Renewed { session, renewed } => Self::Renewed { session: Uuid::from_bytes(session), renewed },
        };
        Some((Uuid::from_bytes(header.origin), bulletin))
    }
}

/// Whether there can be so many events from this position on.
fn plausible(first: u64, count: u64) -> bool {
    first > 0 && first.checked_add(count).is_some_and(|end| end <= i64::MAX as u64)
}

fn lengths(ends: &[usize]) -> Vec<u32> {
    let mut start = 0;
    let length = |end: &usize| {
        let length = end - start;
        start = *end;
        u32::try_from(length).unwrap_or(u32::MAX)
    };
    ends.iter().map(length).collect()
}

/// Where each frame ends; `None` unless there are some, and all together are `size` bytes long.
fn ends(lengths: &[u32], size: usize) -> Option<Vec<usize>> {
    let mut end = 0_usize;
    let mut ends = Vec::with_capacity(lengths.len());
    for length in lengths {
        end = end.checked_add(*length as usize)?;
        ends.push(end);
    }
    (ends.last() == Some(&size)).then_some(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ProjectId, UserId};

    fn piece() -> Piece {
        let batch = Batch::new(7, Bytes::from_static(b"aabbb"), vec![2, 5]);
        Piece::from_parts(batch, vec![Mark::Created(3), Mark::Left(UserId::stored("ana".into()))]).unwrap()
    }

    #[test]
    fn events_come_back_as_they_were() {
        let node = Uuid::now_v7();
        let payload = Bulletin::Events(piece()).encode(node);
        let Some((origin, Bulletin::Events(back))) = Bulletin::decode(&payload) else { panic!("no events") };
        assert_eq!((origin, back.first(), back.last()), (node, 7, 8));
        assert_eq!((back.batch().bytes(), back.batch().ends()), (piece().batch().bytes(), piece().batch().ends()));
        assert_eq!(back.marks(), piece().marks());
    }

    #[test]
    fn a_renewal_comes_back_as_it_was() {
        let user = UserKey { project: ProjectId::stored("p".into()), user: UserId::stored("ana".into()) };
        let session = Uuid::new_v4();
        let renew = Bulletin::Renew { user: user.clone(), session, expires_at: Timestamp(-5) };
        let back = Bulletin::decode(&renew.encode(Uuid::nil()));
        let Some((_, Bulletin::Renew { user: of, session: which, expires_at })) = back else { panic!("no renewal") };
        assert_eq!((of, which, expires_at), (user, session, Timestamp(-5)));
    }

    #[test]
    fn positions_that_cannot_be_are_passed_over() {
        let user = UserKey { project: ProjectId::stored("p".into()), user: UserId::stored("ana".into()) };
        let room = user.room(crate::id::RoomId::stored("r".into()));
        for first in [0, i64::MAX as u64, u64::MAX] {
            let batch = Batch::new(first, Bytes::from_static(b"aabbb"), vec![2, 5]);
            let piece = Piece::from_parts(batch, vec![Mark::Plain, Mark::Plain]).unwrap();
            assert!(Bulletin::decode(&Bulletin::Events(piece).encode(Uuid::nil())).is_none(), "{first}");
            let joined = Bulletin::Joined { user: user.clone(), room: room.clone(), position: first };
            assert!(Bulletin::decode(&joined.encode(Uuid::nil())).is_none(), "{first}");
        }
    }

    #[test]
    fn what_was_damaged_is_passed_over() {
        let payload = Bulletin::Events(piece()).encode(Uuid::nil());
        assert!(Bulletin::decode(&Bytes::new()).is_none());
        assert!(Bulletin::decode(&payload.slice(..payload.len() - 1)).is_none());
        let mut newer = payload.to_vec();
        newer[0] = VERSION + 1;
        assert!(Bulletin::decode(&newer.into()).is_none());
        for cut in 0..payload.len() {
            assert!(Bulletin::decode(&payload.slice(..cut)).is_none(), "{cut}");
        }
    }
}
