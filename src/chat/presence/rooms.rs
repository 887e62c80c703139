//! Who of a room is there, as it is looked up: many rooms by one statement, whoever asks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::PresenceOptions;
use crate::{
    chat::{
        frame::{Encoder, Frame},
        gather::Gather,
        store,
    },
    db::Db,
    error::Result,
    id::RoomKey,
};

/// Members of a large room that are named.
const SAMPLE: u64 = 20;
/// Large rooms of which the last look is kept.
const KEPT: usize = 1_000;

/// Who of a room is there.
#[derive(Debug)]
pub(super) struct Look {
    /// As a frame.
    pub(super) frame: Bytes,
    /// Whether it names only some.
    pub(super) sample: bool,
}

/// Looks at rooms.
pub(super) struct Looks {
    gather: Gather<(RoomKey, Age), Option<Arc<Look>>>,
}

/// How old a look may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Age {
    /// Not older than the question.
    Fresh,
    /// At large rooms as old as they are told anew.
    Recent,
}

struct Looker {
    db: Db,
    encoder: Arc<dyn Encoder>,
    full_room_members: u64,
    interval: Duration,
    /// Large rooms, whose looks cost.
    large: Mutex<HashMap<RoomKey, (Instant, Arc<Look>)>>,
}

impl Looks {
    pub(super) fn start(options: PresenceOptions, db: Db, encoder: Arc<dyn Encoder>) -> Self {
        let PresenceOptions { full_room_members, room_interval: interval, .. } = options;
        let looker = Arc::new(Looker { db, encoder, full_room_members, interval, large: Mutex::default() });
        let gather = Gather::start(move |asked: Vec<(RoomKey, Age)>| {
            let looker = looker.clone();
            Box::pin(async move { looker.look(asked).await })
        });
        Self { gather }
    }

    /// Who of a room is there; `None`: there is no such room.
    pub(super) async fn at(&self, room: RoomKey, age: Age) -> Result<Option<Arc<Look>>> {
        self.gather.ask((room, age)).await
    }
}

impl Looker {
    async fn look(&self, asked: Vec<(RoomKey, Age)>) -> Result<HashMap<(RoomKey, Age), Option<Arc<Look>>>> {
        let rooms: Vec<RoomKey> = asked.iter().map(|(room, _)| room.clone()).collect();
        let sizes: HashMap<RoomKey, u64> = store::presence::sizes(&self.db, &rooms).await?.into_iter().collect();
        let is_small = |room: &RoomKey| sizes.get(room).is_some_and(|size| *size <= self.full_room_members);
        let small: Vec<RoomKey> = rooms.into_iter().filter(is_small).collect();
        let mut present = match small.as_slice() {
            [] => HashMap::new(),
            small => store::presence::present(&self.db, small).await?,
        };
        let mut looks = HashMap::with_capacity(asked.len());
        for room in small {
            let present = present.remove(&room).unwrap_or_default();
            let count = present.len() as u64;
            let frame = Frame::RoomPresence { room: room.room.clone(), count, present, sample: false };
            let look = Arc::new(Look { frame: self.encoder.frame(&frame), sample: false });
            for age in [Age::Fresh, Age::Recent] {
                looks.insert((room.clone(), age), Some(look.clone()));
            }
        }
        for (room, age) in asked {
            if sizes.contains_key(&room) && !is_small(&room) {
                let look = self.look_at_large(&room, age).await?;
                looks.insert((room, age), Some(look));
            }
        }
        Ok(looks)
    }

    async fn look_at_large(&self, room: &RoomKey, age: Age) -> Result<Arc<Look>> {
        let now = Instant::now();
        let kept = self.large.lock().get(room).cloned().filter(|(at, _)| now < *at + self.interval);
        if let (Age::Recent, Some((_, look))) = (age, kept) {
            return Ok(look);
        }
        let (count, present) = store::presence::sample(&self.db, room, SAMPLE).await?;
        let frame = Frame::RoomPresence { room: room.room.clone(), count, present, sample: true };
        let look = Arc::new(Look { frame: self.encoder.frame(&frame), sample: true });
        let mut large = self.large.lock();
        if large.len() >= KEPT {
            large.retain(|_, (at, _)| now < *at + self.interval);
        }
        if large.len() < KEPT {
            large.insert(room.clone(), (now, look.clone()));
        }
        Ok(look)
    }
}
