//! Searches, in and out.

use relay_proto::chat::v1 as wire;

use super::message;
use crate::{
    chat::search::{Hit, MAX_NAMED, Search},
    clock::Timestamp,
    error::{Error, Result},
    id::{RoomId, UserId},
};

/// What to search for.
pub(in crate::rpc) fn search(request: &wire::SearchMessagesRequest) -> Result<Search> {
    let by_rank = match wire::SearchOrder::try_from(request.order) {
        Ok(wire::SearchOrder::Unspecified | wire::SearchOrder::Newest) => false,
        Ok(wire::SearchOrder::Rank) => true,
        Err(_) => return Err(Error::field("order", "takes newest or rank")),
    };
    Ok(Search {
        query: request.query.clone(),
        rooms: names("room_ids", &request.room_ids, RoomId::parse)?,
        senders: names("sender_ids", &request.sender_ids, UserId::parse)?,
        from: moment("sent_after", request.sent_after)?,
        until: moment("sent_before", request.sent_before)?,
        by_rank,
    })
}

fn names<T>(field: &str, names: &[String], parse: fn(&str, &str) -> Result<T>) -> Result<Vec<T>> {
    if names.len() > MAX_NAMED {
        let what = format!("has {} entries, at most {MAX_NAMED} are allowed", names.len());
        return Err(Error::field(field, what));
    }
    names.iter().enumerate().map(|(i, name)| parse(name, &format!("{field}[{i}]"))).collect()
}

/// A moment as the caller wrote it; what is finer than a microsecond is rounded up, so that no message lies before it that
/// did not before.
fn moment(field: &str, at: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>> {
    /// From the year 1 to 9999.
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    let Some(at) = at else { return Ok(None) };
    if !SECONDS.contains(&at.seconds) || !(0..1_000_000_000).contains(&at.nanos) {
        return Err(Error::field(field, "is no time from the year 1 to 9999"));
    }
    Ok(Some(Timestamp(at.seconds * 1_000_000 + (i64::from(at.nanos) + 999) / 1_000)))
}

/// A message that was found.
pub(in crate::rpc) fn hit(hit: &Hit) -> wire::SearchResult {
    let part = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let highlights = hit.highlights.iter();
    wire::SearchResult {
        message: Some(message(&hit.room, &hit.message)),
        highlights: highlights.map(|h| wire::Highlight { offset: part(h.offset), length: part(h.length) }).collect(),
    }
}
