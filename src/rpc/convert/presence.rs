//! Who is there, from the wire and to it.

use relay_proto::chat::v1 as wire;

use super::outgoing::timestamp;
use crate::{
    chat::{Availability, PresenceChange, UserPresence, check_watched},
    error::{Error, Result},
    id::{RoomId, UserId},
};

/// The users whose presence is asked for.
pub(in crate::rpc) fn user_ids(texts: &[String]) -> Result<Vec<UserId>> {
    let convert = |(i, text): (usize, &String)| UserId::parse(text, &format!("user_ids[{i}]"));
    texts.iter().enumerate().map(convert).collect()
}

/// The rooms that a stream is to watch.
pub(in crate::rpc) fn watched(watch: &wire::WatchPresence) -> Result<Vec<RoomId>> {
    let convert = |(i, text): (usize, &String)| RoomId::parse(text, &format!("room_ids[{i}]"));
    let rooms: Vec<RoomId> = watch.room_ids.iter().enumerate().map(convert).collect::<Result<_>>()?;
    check_watched(&rooms, "room_ids")?;
    Ok(rooms)
}

/// How a user wants to be shown.
pub(in crate::rpc) fn presence_change(request: wire::SetPresenceRequest) -> Result<PresenceChange> {
    let away = match wire::PresenceState::try_from(request.state) {
        Ok(wire::PresenceState::Unspecified) => None,
        Ok(wire::PresenceState::Online) => Some(false),
        Ok(wire::PresenceState::Away) => Some(true),
        Ok(wire::PresenceState::Offline) => {
            return Err(Error::field("state", "takes online or away; who closes their streams is offline"));
        }
        Err(_) => return Err(Error::field("state", "takes online or away")),
    };
    Ok(PresenceChange { away, status_text: request.status_text })
}

pub(in crate::rpc) fn presence(presence: &UserPresence) -> wire::UserPresence {
    let state = match presence.state {
        Availability::Online => wire::PresenceState::Online,
        Availability::Away => wire::PresenceState::Away,
        Availability::Offline => wire::PresenceState::Offline,
    };
    wire::UserPresence {
        user_id: presence.user.to_string(),
        state: state.into(),
        last_seen_at: presence.last_seen_at.map(timestamp),
        status_text: presence.status_text.clone(),
        version: presence.version,
    }
}
