//! Which failures are worth another try.

use crate::{Error, ErrorKind, ErrorReason};

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again after a wait: the failure passes.
    Retry,
    /// Try again at once with a newly fetched token; a second time in a row, it is final.
    Renew,
    /// Give it to the caller: the same request fails again.
    Final,
}

/// What a failed call that may be repeated asks for.
///
/// The first row that fits decides. A status without a reason was not written by Relay but by something on the way, and
/// tells less.
///
/// | failure | verdict |
/// |---|---|
/// | `OVERLOADED`, `DRAINING`, `STORAGE_UNAVAILABLE`, `DEADLINE_EXCEEDED` | retry |
/// | `MEMBER_MUTED`, `SLOW_MODE`: the wait is the user's, and may be long | final |
/// | kind unauthenticated (`CREDENTIALS_MISSING`, `TOKEN_INVALID`, `TOKEN_EXPIRED`) | renew |
/// | any that carries a `RetryInfo` | retry |
/// | kind unavailable, deadline exceeded, token | retry |
/// | kind cancelled or internal, without a reason | retry |
/// | every other | final |
pub(crate) fn of_call(error: &Error) -> Verdict {
    use ErrorReason as R;
    match (error.kind(), error.reason()) {
        (_, Some(R::Overloaded | R::Draining | R::StorageUnavailable | R::DeadlineExceeded)) => Verdict::Retry,
        (_, Some(R::MemberMuted | R::SlowMode)) => Verdict::Final,
        (ErrorKind::Unauthenticated, _) => Verdict::Renew,
        _ if error.retry_after().is_some() => Verdict::Retry,
        (ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::Token, _) => Verdict::Retry,
        (ErrorKind::Cancelled | ErrorKind::Internal, None) => Verdict::Retry,
        _ => Verdict::Final,
    }
}

/// What a stream that failed or could not be opened asks for.
///
/// A stream is patient: a limit on open streams frees itself when the server notices that an old one is dead, and a fault
/// of the server may pass with its restart. Its first frame is always the right one, so if the server misses that it was late.
///
/// | failure | verdict |
/// |---|---|
/// | `REQUEST_TOO_LARGE` | final |
/// | `STREAM_NOT_OPEN` | retry |
/// | kind resource exhausted, internal, protocol | retry |
/// | every other | as [`of_call`] says |
pub(crate) fn of_stream(error: &Error) -> Verdict {
    match (error.kind(), error.reason()) {
        (_, Some(ErrorReason::RequestTooLarge)) => Verdict::Final,
        (_, Some(ErrorReason::StreamNotOpen)) => Verdict::Retry,
        (ErrorKind::ResourceExhausted | ErrorKind::Internal | ErrorKind::Protocol, _) => Verdict::Retry,
        _ => of_call(error),
    }
}

/// Whether a call that failed so may have been carried out all the same.
///
/// | failure | may have been carried out |
/// |---|---|
/// | `DRAINING`, `STORAGE_UNAVAILABLE`, `DEADLINE_EXCEEDED`, `INTERNAL` | yes |
/// | any other reason | no |
/// | kind unavailable, deadline exceeded, cancelled, internal, protocol, without a reason | yes |
/// | every other | no |
pub(crate) fn leaves_open(error: &Error) -> bool {
    use ErrorKind as K;
    use ErrorReason as R;
    match (error.kind(), error.reason()) {
        (_, Some(reason)) => {
            matches!(reason, R::Draining | R::StorageUnavailable | R::DeadlineExceeded | R::Internal)
        }
        (kind, None) => {
            matches!(kind, K::Unavailable | K::DeadlineExceeded | K::Cancelled | K::Internal | K::Protocol)
        }
    }
}

/// Whether the server refuses this very send, so that no earlier attempt with the same id has written it either: either
/// the fields are wrong each time, or the log has looked for the id and not found this message under it.
pub(crate) fn refuses_send(error: &Error) -> bool {
    use ErrorReason as R;
    matches!(
        error.reason(),
        Some(
            R::FieldInvalid
                | R::MentionInvalid
                | R::RoomNotFound
                | R::NotAMember
                | R::RoleInsufficient
                | R::UserBanned
                | R::UserBlocked
                | R::MemberMuted
                | R::SlowMode
                | R::LaneNumberUsed
                | R::LaneJumpTooFar
                | R::ClientMessageIdReused
        )
    )
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::fixtures::{self, Failure};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        reasons: Vec<Row>,
        codes: Vec<Row>,
    }

    #[derive(Deserialize)]
    struct Row {
        #[serde(flatten)]
        failure: Failure,
        kind: String,
        call: String,
        stream: String,
        leaves_open: bool,
        settles_send: bool,
    }

    fn name(verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Retry => "retry",
            Verdict::Renew => "renew",
            Verdict::Final => "final",
        }
    }

    #[test]
    fn every_failure_is_judged_as_the_table_says() {
        let table: Table = fixtures::read("errors.json");
        for row in table.reasons.iter().chain(&table.codes) {
            let error = row.failure.error();
            let seen = (name(of_call(&error)), name(of_stream(&error)), leaves_open(&error), refuses_send(&error));
            let expected = (row.call.as_str(), row.stream.as_str(), row.leaves_open, row.settles_send);
            assert_eq!(seen, expected, "{:?}", row.failure);
            assert_eq!(fixtures::kind_name(error.kind()), row.kind, "{:?}", row.failure);
        }
    }

    #[test]
    fn the_table_has_every_reason_and_every_code() {
        let table: Table = fixtures::read("errors.json");
        fixtures::has_every_reason(table.reasons.iter().map(|row| &row.failure));
        fixtures::has_every_code(table.codes.iter().map(|row| &row.failure));
    }
}
