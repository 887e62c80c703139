//! Settings to the options of the parts.

use crate::{
    chat::{
        FeedOptions, HotOptions, IndexerOptions, Limits, LogOptions, PresenceOptions, ReceiptOptions, RetentionOptions,
        WatchOptions,
    },
    config::Config,
    hub::HubOptions,
};

impl From<&Config> for HubOptions {
    fn from(config: &Config) -> Self {
        Self {
            queue_bytes: config.stream.queue_bytes,
            max_streams_per_user: config.chat.max_streams_per_user,
            heartbeat_interval: config.stream.heartbeat_interval,
            renew_warning: config.stream.renew_warning,
        }
    }
}

impl From<&Config> for HotOptions {
    fn from(config: &Config) -> Self {
        Self { events: config.chat.hot_events, bytes: config.chat.hot_bytes, ttl: config.chat.hot_ttl }
    }
}

impl From<&Config> for PresenceOptions {
    fn from(config: &Config) -> Self {
        Self {
            node_lease: config.presence.node_lease,
            close_delay: config.presence.close_delay,
            full_room_members: config.presence.full_room_members,
            room_interval: config.presence.room_interval,
        }
    }
}

impl From<&Config> for ReceiptOptions {
    fn from(config: &Config) -> Self {
        Self { interval: config.chat.receipt_interval, queue: config.chat.receipt_queue }
    }
}

impl From<&Config> for FeedOptions {
    fn from(config: &Config) -> Self {
        Self {
            max_replay_events: config.chat.max_replay_events,
            queue_bytes: config.stream.queue_bytes,
            heartbeat_interval: config.stream.heartbeat_interval,
        }
    }
}

impl From<&Config> for IndexerOptions {
    fn from(config: &Config) -> Self {
        Self { delay: config.chat.index_delay, look_interval: config.chat.index_look_interval }
    }
}

impl From<&Config> for WatchOptions {
    fn from(config: &Config) -> Self {
        Self { interval: config.chat.check_interval, interval_alone: config.chat.check_interval_alone }
    }
}

impl From<&Config> for RetentionOptions {
    fn from(config: &Config) -> Self {
        Self { event_retention: config.chat.event_retention, interval: config.chat.retention_interval }
    }
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self { rooms_per_user: config.chat.max_rooms_per_user, members_per_room: config.chat.max_members_per_room }
    }
}

/// The log's, on a database that others may write to or not.
pub(super) fn log_options(config: &Config, shared: bool) -> LogOptions {
    LogOptions {
        queue_bytes: config.chat.append_queue_bytes,
        batch: config.chat.append_batch,
        appenders: if shared { config.database.write_connections as usize } else { 1 },
        lane_wait: config.chat.lane_wait,
        lane_wait_bytes: config.chat.lane_wait_bytes,
    }
}
