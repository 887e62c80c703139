//! Receipts, memberships and settings, both ways.

use prost_types::FieldMask;
use relay_proto::chat::v1 as wire;

use super::outgoing::timestamp;
use crate::{
    chat::{Cursors, Membership, MessageStatus, RoomSettings, SettingsChange},
    clock::Timestamp,
    error::{Error, Result},
    id::{RoomId, UserId},
};

/// The end of the year 9999, in seconds.
const LAST_SECOND: i64 = 253_402_300_799;
/// The beginning of the year 1.
const FIRST_SECOND: i64 = -62_135_596_800;

pub(in crate::rpc) fn receipt_of(user: &UserId, cursors: Cursors) -> wire::Receipt {
    wire::Receipt { user_id: user.to_string(), delivered_seq: cursors.delivered, read_seq: cursors.read }
}

pub(in crate::rpc) fn receipts(room: &RoomId, receipts: &[(UserId, Cursors)], partial: bool) -> wire::ReceiptsChanged {
    let receipts = receipts.iter().map(|(user, cursors)| receipt_of(user, *cursors)).collect();
    wire::ReceiptsChanged { room_id: room.to_string(), receipts, partial }
}

pub(in crate::rpc) fn membership(state: &Membership) -> wire::MembershipState {
    wire::MembershipState {
        room_id: state.room.to_string(),
        delivered_seq: state.cursors.delivered,
        read_seq: state.cursors.read,
        last_seq: state.last_seq,
        unread_count: state.unread(),
        unread_mention_seqs: state.unread_mentions.clone(),
        settings: Some(settings(&state.settings)),
        settings_version: state.settings_version,
    }
}

fn settings(settings: &RoomSettings) -> wire::RoomSettings {
    wire::RoomSettings {
        muted_until: settings.quiet_until.map(timestamp),
        archived: settings.archived,
        favourite: settings.favourite,
    }
}

pub(in crate::rpc) fn status(status: &MessageStatus) -> wire::MessageStatus {
    let count = |count: u64| count.try_into().unwrap_or(u32::MAX);
    // Where nobody else is, nobody has got it.
    let state = match status {
        MessageStatus { members: 0, .. } => wire::MessageState::Sent,
        MessageStatus { members, read, .. } if read == members => wire::MessageState::Read,
        MessageStatus { members, delivered, .. } if delivered == members => wire::MessageState::Delivered,
        _ => wire::MessageState::Sent,
    };
    wire::MessageStatus {
        state: state.into(),
        delivered_count: count(status.delivered),
        read_count: count(status.read),
        member_count: count(status.members),
    }
}

pub(in crate::rpc) fn settings_change(
    settings: Option<wire::RoomSettings>,
    mask: Option<FieldMask>,
) -> Result<SettingsChange> {
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() || paths.len() > 3 {
        return Err(Error::field("update_mask", "takes 1 to 3 of muted_until, archived, favourite"));
    }
    let settings = settings.unwrap_or_default();
    let mut change = SettingsChange::default();
    for path in &paths {
        match path.as_str() {
            "muted_until" => change.quiet_until = Some(settings.muted_until.map(moment).transpose()?),
            "archived" => change.archived = Some(settings.archived),
            "favourite" => change.favourite = Some(settings.favourite),
            _ => return Err(Error::field("update_mask", "has a path other than muted_until, archived, favourite")),
        }
    }
    Ok(change)
}

fn moment(at: prost_types::Timestamp) -> Result<Timestamp> {
    if !(FIRST_SECOND..=LAST_SECOND).contains(&at.seconds) || !(0..1_000_000_000).contains(&at.nanos) {
        return Err(Error::field("settings.muted_until", "is no moment of the years 1 to 9999"));
    }
    Ok(Timestamp(at.seconds * 1_000_000 + i64::from(at.nanos / 1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_come_as_far_as_to_the_last_of_the_others() {
        for (members, delivered, read, state) in [
            (0, 0, 0, wire::MessageState::Sent),
            (2, 1, 1, wire::MessageState::Sent),
            (2, 2, 1, wire::MessageState::Delivered),
            (2, 2, 2, wire::MessageState::Read),
        ] {
            assert_eq!(status(&MessageStatus { members, delivered, read }).state(), state);
        }
    }
}
