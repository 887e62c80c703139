//! How things are now, beside what happened: typing, presence, receipts, blocks; and the feed of streams that tells it.

use std::sync::Arc;

use super::{Ground, Stops};
use crate::{
    chat::{
        Feed, FeedParts, History, Presence, PresenceParts, ReceiptParts, Receipts, Renewals, Typing, TypingParts,
        moderation::Blocks,
    },
    config::Config,
    hub::Attendance,
    lifecycle::Tasks,
};

/// The parts, with their tasks running.
pub(super) struct Live {
    pub(super) renewals: Arc<Renewals>,
    pub(super) typing: Arc<Typing>,
    pub(super) presence: Arc<Presence>,
    pub(super) receipts: Receipts,
    pub(super) blocks: Arc<Blocks>,
    pub(super) feed: Arc<Feed>,
}

impl Live {
    /// Makes the parts, and starts their tasks.
    pub(super) fn start(
        config: &Config,
        ground: &Ground,
        history: &Arc<History>,
        tasks: &mut Tasks,
        stops: &Stops,
    ) -> Self {
        let Ground { node, db, hub, bus, encoder, clock, metrics, .. } = ground;
        let (node, db, hub, bus, encoder) = (*node, db.clone(), hub.clone(), bus.clone(), encoder.clone());
        let renewals = Arc::new(Renewals::new(node, bus.clone()));
        let parts = TypingParts {
            node,
            db: db.clone(),
            hub: hub.clone(),
            bus: bus.clone(),
            encoder: encoder.clone(),
            clock: clock.clone(),
        };
        let typing = Typing::new(config.chat.typing_timeout, parts);
        tasks.spawn("typing", typing.clone().run(stops.idle.clone()));
        let parts = PresenceParts {
            node,
            db: db.clone(),
            hub: hub.clone(),
            bus: bus.clone(),
            renewals: renewals.clone(),
            encoder: encoder.clone(),
            clock: clock.clone(),
        };
        let (presence, task) = Presence::new(config.into(), parts);
        tasks.spawn("presence", task.run(stops.idle.clone()));
        let parts = ReceiptParts {
            node,
            db: db.clone(),
            hub: hub.clone(),
            bus,
            encoder: encoder.clone(),
            metrics: metrics.clone(),
        };
        let (receipts, flusher, devices) = Receipts::new(config.into(), parts);
        tasks.spawn("receipts", flusher.run(stops.receipts.clone()));
        tasks.spawn("devices", devices.run(stops.idle.clone()));
        let blocks = Arc::new(Blocks::new(db.clone(), hub.clone(), encoder.clone()));
        let parts = FeedParts {
            db,
            hub: hub.clone(),
            history: history.clone(),
            typing: typing.clone(),
            presence: presence.clone(),
            receipts: receipts.clone(),
            encoder,
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let feed = Feed::start(config.into(), parts);
        let (of_typing, of_presence) = (typing.clone(), presence.clone());
        hub.on_attendance(Box::new(move |user, what| {
            of_presence.attend(user, what);
            if let Attendance::Closed { last: true, .. } = what {
                of_typing.gone(user);
            }
        }));
        Self { renewals, typing, presence, receipts, blocks, feed }
    }
}
