//! What becomes of a message that could not be sent.

use crate::{Error, ErrorKind, ErrorReason};

/// What a failed send makes of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays the first of its room, and is sent again after a wait.
    Retry,
    /// It waits for the user, and its number is declared skipped.
    Park,
    /// The lane is not as this device believes: all that waits in the room is numbered anew in another.
    NewLane,
}

/// What a failed send makes of its message.
///
/// | failure | fate |
/// |---|---|
/// | `OVERLOADED`, `DRAINING`, `STORAGE_UNAVAILABLE`, `DEADLINE_EXCEEDED`, `INTERNAL`, `LANE_FULL` | retry |
/// | `SLOW_MODE` | retry |
/// | not about the message: `CREDENTIALS_MISSING`, `TOKEN_INVALID`, `TOKEN_EXPIRED`, `PROJECT_NOT_FOUND`, `METHOD_NOT_FOUND`, `TOO_MANY_STREAMS` | retry |
/// | `LANE_NUMBER_USED`, `LANE_JUMP_TOO_FAR`. The server looks for the id first, so the message is not written | new lane |
/// | every other reason | park |
/// | a reason of Relay's that is not known here, of the kind invalid argument, permission denied, not found, already exists or failed precondition | park |
/// | any other without a reason, above all what was not made by Relay: nothing was said about the message | retry |
pub(super) fn of_send(error: &Error) -> Fate {
    use ErrorReason as R;
    match error.reason() {
        None if error.by_relay() && refuses(error.kind()) => Fate::Park,
        None
        | Some(
            R::Overloaded
            | R::Draining
            | R::StorageUnavailable
            | R::DeadlineExceeded
            | R::Internal
            | R::LaneFull
            | R::SlowMode
            | R::CredentialsMissing
            | R::TokenInvalid
            | R::TokenExpired
            | R::ProjectNotFound
            | R::MethodNotFound
            | R::TooManyStreams,
        ) => Fate::Retry,
        Some(R::LaneNumberUsed | R::LaneJumpTooFar) => Fate::NewLane,
        Some(_) => Fate::Park,
    }
}

/// Whether an error of this kind comes again as long as the request is the same.
fn refuses(kind: ErrorKind) -> bool {
    use ErrorKind as K;
    matches!(kind, K::InvalidArgument | K::PermissionDenied | K::NotFound | K::AlreadyExists | K::FailedPrecondition)
}

/// Whether a number that could not be declared skipped is to be declared again. If the server refuses it, the message after
/// it waits for the lane's patience, and goes on.
pub(super) fn skip_again(error: &Error) -> bool {
    of_send(error) == Fate::Retry
}
