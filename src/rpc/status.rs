//! The domain's errors on the wire: the one place that knows status codes.

use std::collections::HashMap;

use relay_proto::error::v1 as wire;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::error::{Error, Reason};

/// What `ErrorInfo.domain` says.
const DOMAIN: &str = "relay";
/// The most field violations that a status lists.
const MAX_VIOLATIONS: usize = 32;

/// The code that each reason comes with.
fn code(reason: Reason) -> Code {
    match reason {
        Reason::CredentialsMissing | Reason::TokenInvalid | Reason::TokenExpired => Code::Unauthenticated,
        Reason::RoleInsufficient
        | Reason::NotAMember
        | Reason::ProjectNotFound
        | Reason::UserBanned
        | Reason::MemberMuted
        | Reason::UserBlocked
        | Reason::AdminRequired => Code::PermissionDenied,
        Reason::FieldInvalid
        | Reason::PageTokenInvalid
        | Reason::RequestMalformed
        | Reason::ReceiptBeyondRoom
        | Reason::MentionInvalid
        | Reason::LaneJumpTooFar
        | Reason::SearchQueryInvalid => Code::InvalidArgument,
        Reason::RequestTooLarge
        | Reason::TooManyRooms
        | Reason::TooManyMembers
        | Reason::TooManyReactions
        | Reason::TooManyStreams
        | Reason::LaneFull
        | Reason::SlowMode
        | Reason::TooManyPins
        | Reason::TooManyBans
        | Reason::TooManyReports
        | Reason::Overloaded => Code::ResourceExhausted,
        Reason::StreamNotOpen
        | Reason::StreamAlreadyOpen
        | Reason::MessageDeleted
        | Reason::LastOwner
        | Reason::MemberIsOwner
        | Reason::RoomIsDirect => Code::FailedPrecondition,
        Reason::RoomNotFound
        | Reason::MessageNotFound
        | Reason::MemberNotFound
        | Reason::SessionNotFound
        | Reason::ReportNotFound => Code::NotFound,
        Reason::RoomExists | Reason::ClientMessageIdReused | Reason::LaneNumberUsed => Code::AlreadyExists,
        Reason::Draining | Reason::StorageUnavailable => Code::Unavailable,
        Reason::DeadlineExceeded => Code::DeadlineExceeded,
        Reason::MethodNotFound => Code::Unimplemented,
        Reason::Internal => Code::Internal,
    }
}

/// The reason on the wire.
fn wire_reason(reason: Reason) -> wire::ErrorReason {
    use wire::ErrorReason as W;
    match reason {
        Reason::CredentialsMissing => W::CredentialsMissing,
        Reason::TokenInvalid => W::TokenInvalid,
        Reason::TokenExpired => W::TokenExpired,
        Reason::RoleInsufficient => W::RoleInsufficient,
        Reason::NotAMember => W::NotAMember,
        Reason::FieldInvalid => W::FieldInvalid,
        Reason::PageTokenInvalid => W::PageTokenInvalid,
        Reason::RequestMalformed => W::RequestMalformed,
        Reason::RequestTooLarge => W::RequestTooLarge,
        Reason::StreamNotOpen => W::StreamNotOpen,
        Reason::StreamAlreadyOpen => W::StreamAlreadyOpen,
        Reason::RoomNotFound => W::RoomNotFound,
        Reason::RoomExists => W::RoomExists,
        Reason::MessageNotFound => W::MessageNotFound,
        Reason::MessageDeleted => W::MessageDeleted,
        Reason::ClientMessageIdReused => W::ClientMessageIdReused,
        Reason::MemberNotFound => W::MemberNotFound,
        Reason::LastOwner => W::LastOwner,
        Reason::RoomIsDirect => W::RoomIsDirect,
        Reason::TooManyRooms => W::TooManyRooms,
        Reason::TooManyMembers => W::TooManyMembers,
        Reason::TooManyReactions => W::TooManyReactions,
        Reason::TooManyStreams => W::TooManyStreams,
        Reason::Overloaded => W::Overloaded,
        Reason::Draining => W::Draining,
        Reason::StorageUnavailable => W::StorageUnavailable,
        Reason::DeadlineExceeded => W::DeadlineExceeded,
        Reason::MethodNotFound => W::MethodNotFound,
        Reason::SessionNotFound => W::SessionNotFound,
        Reason::Internal => W::Internal,
        Reason::ProjectNotFound => W::ProjectNotFound,
        Reason::ReceiptBeyondRoom => W::ReceiptBeyondRoom,
        Reason::MentionInvalid => W::MentionInvalid,
        Reason::LaneNumberUsed => W::LaneNumberUsed,
        Reason::LaneJumpTooFar => W::LaneJumpTooFar,
        Reason::LaneFull => W::LaneFull,
        Reason::SearchQueryInvalid => W::SearchQueryInvalid,
        Reason::UserBanned => W::UserBanned,
        Reason::MemberMuted => W::MemberMuted,
        Reason::UserBlocked => W::UserBlocked,
        Reason::SlowMode => W::SlowMode,
        Reason::MemberIsOwner => W::MemberIsOwner,
        Reason::TooManyPins => W::TooManyPins,
        Reason::TooManyBans => W::TooManyBans,
        Reason::ReportNotFound => W::ReportNotFound,
        Reason::AdminRequired => W::AdminRequired,
        Reason::TooManyReports => W::TooManyReports,
    }
}

/// The status that a call ends with.
pub fn to_status(error: &Error) -> Status {
    let name = wire_reason(error.reason()).as_str_name();
    let name = name.strip_prefix("ERROR_REASON_").unwrap_or(name);
    let mut details = ErrorDetails::with_error_info(name, DOMAIN, HashMap::new());
    for violation in error.violations().iter().take(MAX_VIOLATIONS) {
        details.add_bad_request_violation(&violation.field, &violation.description);
    }
    if let Some(wait) = error.retry_after() {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(code(error.reason()), error.message(), details)
}

/// The same facts, for an error that ends neither a call nor a stream.
pub(super) fn to_wire(error: &Error) -> wire::Error {
    wire::Error {
        code: code(error.reason()) as i32,
        reason: wire_reason(error.reason()).into(),
        message: error.message().to_owned(),
        field_violations: error
            .violations()
            .iter()
            .take(MAX_VIOLATIONS)
            .map(|v| wire::FieldViolation { field: v.field.clone(), description: v.description.clone() })
            .collect(),
        retry_after: error.retry_after().and_then(|wait| wait.try_into().ok()),
    }
}

/// The error that a status of the framework's own making stands for, on a method that exists: bytes that are no message, a
/// message that is too large, an encoding that is not taken. `None`: something else, such as a connection that broke.
pub(super) fn from_framework(status: &Status) -> Option<Error> {
    let malformed = |what: &'static str| Some(Error::new(Reason::RequestMalformed, what));
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            Some(Error::new(Reason::RequestTooLarge, status.message().to_owned()))
        }
        Code::Unimplemented => malformed("the request is compressed, or in an encoding that is not taken"),
        Code::Internal if status.message().contains("decod") || status.message().contains("protocol error") => {
            malformed("the request is not the protobuf message that the method takes")
        }
        Code::Internal if status.message().contains("Missing request message") => malformed("the call has no request"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reason of the wire but UNSPECIFIED, and nothing else, is a reason of the domain.
    #[test]
    fn reasons_map_one_to_one_and_come_with_details() {
        let domain = [
            Reason::CredentialsMissing,
            Reason::TokenInvalid,
            Reason::TokenExpired,
            Reason::RoleInsufficient,
            Reason::NotAMember,
            Reason::FieldInvalid,
            Reason::PageTokenInvalid,
            Reason::RequestMalformed,
            Reason::RequestTooLarge,
            Reason::StreamNotOpen,
            Reason::StreamAlreadyOpen,
            Reason::RoomNotFound,
            Reason::RoomExists,
            Reason::MessageNotFound,
            Reason::MessageDeleted,
            Reason::ClientMessageIdReused,
            Reason::MemberNotFound,
            Reason::LastOwner,
            Reason::RoomIsDirect,
            Reason::TooManyRooms,
            Reason::TooManyMembers,
            Reason::TooManyReactions,
            Reason::TooManyStreams,
            Reason::Overloaded,
            Reason::Draining,
            Reason::StorageUnavailable,
            Reason::DeadlineExceeded,
            Reason::MethodNotFound,
            Reason::SessionNotFound,
            Reason::Internal,
            Reason::ProjectNotFound,
            Reason::ReceiptBeyondRoom,
            Reason::MentionInvalid,
            Reason::LaneNumberUsed,
            Reason::LaneJumpTooFar,
            Reason::LaneFull,
            Reason::SearchQueryInvalid,
            Reason::UserBanned,
            Reason::MemberMuted,
            Reason::UserBlocked,
            Reason::SlowMode,
            Reason::MemberIsOwner,
            Reason::TooManyPins,
            Reason::TooManyBans,
            Reason::ReportNotFound,
            Reason::AdminRequired,
            Reason::TooManyReports,
        ];
        for number in 1.. {
            let Ok(wire) = wire::ErrorReason::try_from(number) else {
                assert_eq!(number as usize, domain.len() + 1);
                break;
            };
            let reason = domain.iter().find(|r| wire_reason(**r) == wire).unwrap_or_else(|| panic!("{wire:?}"));
            let status = to_status(&Error::new(*reason, "why"));
            let info = status.get_details_error_info().unwrap();
            assert_eq!(format!("ERROR_REASON_{}", info.reason), wire.as_str_name());
            assert_eq!((info.domain.as_str(), status.message()), ("relay", "why"));
            assert_ne!(status.code(), Code::Ok);
        }
    }

    #[test]
    fn fields_and_waits_are_in_the_details() {
        let status = to_status(&Error::field("text", "is empty"));
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!((fields[0].field.as_str(), fields[0].description.as_str()), ("text", "is empty"));
        let status = to_status(&Error::draining());
        assert!(status.get_details_retry_info().is_some());
    }
}
