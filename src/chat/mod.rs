//! Conversations: rooms, members, messages, and the streams that carry what happens in them.
//!
//! | file        | job                                                                        |
//! |-------------|----------------------------------------------------------------------------|
//! | `rooms`, `members`, `messages` | what callers ask for, one function each                 |
//! | `moderation`, `pins` | the same for bans, mutes, blocks, reports and pinned messages      |
//! | `membership` | the steps that they share                                                 |
//! | `lanes`     | numbers of a lane are skipped                                              |
//! | `lane`, `ranges` | how far a lane has come: what it takes next, what it passed over     |
//! | `policy`    | who may do what                                                            |
//! | `log`       | the one way in which anything is written: numbered and committed together  |
//! | `publish`   | what happened goes to the sessions of this node, in order                  |
//! | `piece`, `bulletin` | consecutive events as nodes handle them, and tell them each other  |
//! | `ahead`     | pieces that came before what belongs before them                           |
//! | `watch`     | the position check: what the bus lost is found in the database             |
//! | `hot`, `history` | reading back: from memory, from Redis, from the database              |
//! | `gather`, `flight` | what many want is asked for together, and once                      |
//! | `notice`    | what nodes tell each other beside events                                   |
//! | `receipts`  | how far members have got and read, and what they have set                  |
//! | `renewals`  | a stream's token is renewed wherever the stream is                         |
//! | `typing`    | who types, never stored                                                    |
//! | `presence`  | who is there                                                               |
//! | `feed`      | opening a session, and serving it from the log until it is live            |
//! | `pulse`     | heartbeats, expiring tokens                                                |
//! | `retention` | forgetting old events and deleted rooms                                    |
//! | `search`    | finding messages by what they say                                          |
//! | `frame`     | what streams carry, and who turns it into bytes                            |
//! | `store`     | the statements                                                             |

mod ahead;
mod bulletin;
mod event;
mod feed;
mod flight;
mod frame;
mod gather;
mod history;
mod hot;
mod lane;
mod lanes;
mod log;
mod members;
mod membership;
pub mod message;
mod messages;
pub mod moderation;
mod notice;
mod page;
mod piece;
pub mod pins;
pub mod policy;
mod presence;
mod publish;
mod pulse;
mod ranges;
mod receipts;
mod renewals;
mod retention;
pub mod room;
mod rooms;
pub mod search;
mod store;
mod typing;
mod watch;

use std::{fmt, sync::Arc};

pub use bulletin::NodeId;
pub use event::{Event, EventBody};
pub use feed::{Feed, FeedOptions, FeedParts, MAX_RESUMED_ROOMS, Opening};
pub use frame::{Encoder, Frame, RoomResume, Verdict};
pub use history::History;
pub use hot::{Hot, HotOptions};
pub use log::{Appender, Log, LogOptions, Reply};
pub use messages::{Listed, Range, Reacted};
pub use page::{Page, PageTokens};
pub use presence::{
    Availability, Presence, PresenceChange, PresenceOptions, PresenceParts, PresenceTask, UserPresence, check_watched,
};
pub use publish::{Links, Publisher, PublisherParts};
pub use pulse::Pulse;
pub use receipts::{
    Cursors, Devices, Flusher, Membership, MessageStatus, ReceiptOptions, ReceiptParts, Receipts, RoomSettings,
    SettingsChange,
};
pub use renewals::Renewals;
pub use retention::{Retention, RetentionOptions};
pub use rooms::RoomScope;
pub use search::{Indexer, IndexerOptions};
pub use typing::{Typing, TypingParts};
pub use watch::{Watch, WatchOptions};

use self::moderation::Blocks;
use crate::{db::Db, hub::Topic, id::RoomKey};

/// How much of each there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rooms that one user is in.
    pub rooms_per_user: usize,
    /// Members of one room.
    pub members_per_room: usize,
}

/// What callers can do; clones share it.
#[derive(Clone)]
pub struct Chat {
    inner: Arc<Inner>,
}

struct Inner {
    log: Log,
    db: Db,
    history: Arc<History>,
    pages: PageTokens,
    indexer: Arc<Indexer>,
    limits: Limits,
    blocks: Arc<Blocks>,
    receipts: Receipts,
}

impl Chat {
    /// Chat that writes to `log` and `receipts`, reads from `history` and `db`, tells devices through `blocks`, and searches
    /// what `indexer` has indexed.
    #[expect(clippy::too_many_arguments, reason = "one for each part that it is made of")]
    pub fn new(
        log: Log,
        db: Db,
        history: Arc<History>,
        blocks: Arc<Blocks>,
        receipts: Receipts,
        pages: PageTokens,
        indexer: Arc<Indexer>,
        limits: Limits,
    ) -> Self {
        Self { inner: Arc::new(Inner { log, db, history, pages, indexer, limits, blocks, receipts }) }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> crate::error::Result<()> {
        self.db().ping().await
    }

    fn log(&self) -> &Log {
        &self.inner.log
    }

    fn db(&self) -> &Db {
        &self.inner.db
    }

    fn history(&self) -> &Arc<History> {
        &self.inner.history
    }

    fn blocks(&self) -> &Blocks {
        &self.inner.blocks
    }

    fn pages(&self) -> &PageTokens {
        &self.inner.pages
    }

    fn indexer(&self) -> &Arc<Indexer> {
        &self.inner.indexer
    }

    fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// How far members have got and read.
    pub fn receipts(&self) -> &Receipts {
        &self.inner.receipts
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chat")
    }
}

/// What a room's events are published under.
fn topic(room: &RoomKey) -> Topic {
    Topic { project: room.project.clone(), name: room.room.shared() }
}

/// The room that a topic stands for.
fn room_of(topic: &Topic) -> RoomKey {
    RoomKey { project: topic.project.clone(), room: crate::id::RoomId::from_shared(topic.name.clone()) }
}
