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
/// | kind unauthenticated (`CREDENTIALS_MISSING`, `TOKEN_INVALID`, `TOKEN_EXPIRED`) | renew |
/// | any that carries a `RetryInfo` | retry |
/// | kind unavailable, deadline exceeded, token | retry |
/// | kind cancelled or internal, without a reason | retry |
/// | every other | final |
pub(crate) fn of_call(error: &Error) -> Verdict {
    use ErrorReason as R;
    match (error.kind(), error.reason()) {
        (_, Some(R::Overloaded | R::Draining | R::StorageUnavailable | R::DeadlineExceeded)) => Verdict::Retry,
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
/// of the server may pass with its restart.
///
/// | failure | verdict |
/// |---|---|
/// | `REQUEST_TOO_LARGE` | final |
/// | kind resource exhausted, internal, protocol | retry |
/// | every other | as [`of_call`] says |
pub(crate) fn of_stream(error: &Error) -> Verdict {
    match (error.kind(), error.reason()) {
        (_, Some(ErrorReason::RequestTooLarge)) => Verdict::Final,
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
        Some(R::FieldInvalid | R::RoomNotFound | R::NotAMember | R::RoleInsufficient | R::ClientMessageIdReused)
    )
}

#[cfg(test)]
mod tests {
    use relay_proto::error::v1::Error as WireError;
    use tonic::{Code, Status};

    use super::*;

    fn with_reason(code: Code, reason: ErrorReason) -> Error {
        Error::from_wire(WireError { code: code.into(), reason: reason.into(), ..WireError::default() })
    }

    fn bare(code: Code) -> Error {
        Error::from(Status::new(code, "from a proxy"))
    }

    #[test]
    fn what_passes_is_retried() {
        use ErrorReason as R;
        for (code, reason) in [
            (Code::ResourceExhausted, R::Overloaded),
            (Code::Unavailable, R::Draining),
            (Code::Unavailable, R::StorageUnavailable),
            (Code::DeadlineExceeded, R::DeadlineExceeded),
        ] {
            assert_eq!(of_call(&with_reason(code, reason)), Verdict::Retry, "{reason:?}");
            assert_eq!(of_stream(&with_reason(code, reason)), Verdict::Retry, "{reason:?}");
        }
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled, Code::Internal, Code::Unknown] {
            assert_eq!(of_call(&bare(code)), Verdict::Retry, "{code:?}");
            assert_eq!(of_stream(&bare(code)), Verdict::Retry, "{code:?}");
        }
    }

    #[test]
    fn a_refused_token_is_fetched_anew() {
        use ErrorReason as R;
        for reason in [R::CredentialsMissing, R::TokenInvalid, R::TokenExpired] {
            assert_eq!(of_call(&with_reason(Code::Unauthenticated, reason)), Verdict::Renew, "{reason:?}");
            assert_eq!(of_stream(&with_reason(Code::Unauthenticated, reason)), Verdict::Renew, "{reason:?}");
        }
        assert_eq!(of_call(&bare(Code::Unauthenticated)), Verdict::Renew);
    }

    #[test]
    fn what_would_fail_again_is_final() {
        use ErrorReason as R;
        for (code, reason) in [
            (Code::PermissionDenied, R::RoleInsufficient),
            (Code::PermissionDenied, R::NotAMember),
            (Code::PermissionDenied, R::ProjectNotFound),
            (Code::InvalidArgument, R::FieldInvalid),
            (Code::ResourceExhausted, R::RequestTooLarge),
            (Code::NotFound, R::RoomNotFound),
            (Code::AlreadyExists, R::ClientMessageIdReused),
            (Code::FailedPrecondition, R::MessageDeleted),
            (Code::Unimplemented, R::MethodNotFound),
        ] {
            assert_eq!(of_call(&with_reason(code, reason)), Verdict::Final, "{reason:?}");
            assert_eq!(of_stream(&with_reason(code, reason)), Verdict::Final, "{reason:?}");
        }
    }

    #[test]
    fn a_stream_outwaits_what_ends_a_call() {
        use ErrorReason as R;
        for (code, reason) in [(Code::ResourceExhausted, R::TooManyStreams), (Code::Internal, R::Internal)] {
            assert_eq!(of_call(&with_reason(code, reason)), Verdict::Final, "{reason:?}");
            assert_eq!(of_stream(&with_reason(code, reason)), Verdict::Retry, "{reason:?}");
        }
    }
}
