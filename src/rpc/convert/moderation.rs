//! Bans, reports and pins, both ways.

use relay_proto::chat::v1 as wire;
use uuid::Uuid;

use super::{
    incoming::{timestamp, uuid},
    outgoing,
};
use crate::{
    chat::{
        moderation::{Ban, Category, Report},
        pins::Pinned,
    },
    clock::Timestamp,
    error::{Error, Result},
    id::RoomId,
};

/// The first second of the year 1, and of the year 10000: what a timestamp on the wire may say lies between.
const YEARS: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// A moment; absent ones stay so.
pub(in crate::rpc) fn moment(at: Option<prost_types::Timestamp>, field: &str) -> Result<Option<Timestamp>> {
    match at {
        Some(at) if !YEARS.contains(&at.seconds) || !(0..1_000_000_000).contains(&at.nanos) => {
            Err(Error::field(field, "is no moment of the years 1 to 9999"))
        }
        at => Ok(at.map(timestamp)),
    }
}

pub(in crate::rpc) fn ban(ban: &Ban) -> wire::Ban {
    wire::Ban {
        user_id: ban.user.to_string(),
        banned_by: ban.by.to_string(),
        banned_at: Some(outgoing::timestamp(ban.at)),
        reason: ban.reason.clone(),
        expires_at: ban.expires_at.map(outgoing::timestamp),
    }
}

/// What is wrong with a message; unspecified is other.
pub(in crate::rpc) fn category(number: i32) -> Result<Category> {
    use wire::ReportCategory as W;
    match W::try_from(number) {
        Ok(W::Unspecified | W::Other) => Ok(Category::Other),
        Ok(W::Spam) => Ok(Category::Spam),
        Ok(W::Abuse) => Ok(Category::Abuse),
        Ok(W::Inappropriate) => Ok(Category::Inappropriate),
        Ok(W::Illegal) => Ok(Category::Illegal),
        Err(_) => Err(Error::field("category", "takes other, spam, abuse, inappropriate or illegal")),
    }
}

/// Whether to list reports that are closed; unspecified is open.
pub(in crate::rpc) fn resolved(state: i32) -> Result<bool> {
    match wire::ReportState::try_from(state) {
        Ok(wire::ReportState::Unspecified | wire::ReportState::Open) => Ok(false),
        Ok(wire::ReportState::Resolved) => Ok(true),
        Err(_) => Err(Error::field("state", "takes open or resolved")),
    }
}

pub(in crate::rpc) fn report_id(text: &str) -> Result<Uuid> {
    uuid(text, "report_id")
}

pub(in crate::rpc) fn report(report: &Report) -> wire::Report {
    let category = match report.category {
        Category::Other => wire::ReportCategory::Other,
        Category::Spam => wire::ReportCategory::Spam,
        Category::Abuse => wire::ReportCategory::Abuse,
        Category::Inappropriate => wire::ReportCategory::Inappropriate,
        Category::Illegal => wire::ReportCategory::Illegal,
    };
    let state = if report.resolved.is_some() { wire::ReportState::Resolved } else { wire::ReportState::Open };
    let resolved = report.resolved.as_ref();
    wire::Report {
        report_id: report.id.to_string(),
        reporter_id: report.reporter.to_string(),
        message: Some(outgoing::message(&report.room, &report.message)),
        category: category.into(),
        comment: report.comment.clone(),
        reported_at: Some(outgoing::timestamp(report.reported_at)),
        state: state.into(),
        resolved_by: resolved.map(|r| r.by.to_string()).unwrap_or_default(),
        resolved_at: resolved.map(|r| outgoing::timestamp(r.at)),
        resolution: resolved.map(|r| r.note.clone()).unwrap_or_default(),
    }
}

pub(in crate::rpc) fn pinned(room: &RoomId, pinned: &Pinned) -> wire::PinnedMessage {
    wire::PinnedMessage {
        message: Some(outgoing::message(room, &pinned.message)),
        pinned_by: pinned.by.to_string(),
        pinned_at: Some(outgoing::timestamp(pinned.at)),
    }
}
