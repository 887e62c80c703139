//! The one error of the domain: a reason from a closed set, a sentence, and what a caller can do about it.
//!
//! It knows nothing of the wire; `rpc::status` maps it to a status.

use std::{borrow::Cow, fmt, time::Duration};

/// A result with Relay's error.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something failed. The wire's `ErrorReason` has the same values; `proto/relay/error/v1` documents each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "documented in proto/relay/error/v1/error.proto, value by value")]
pub enum Reason {
    CredentialsMissing,
    TokenInvalid,
    TokenExpired,
    RoleInsufficient,
    NotAMember,
    FieldInvalid,
    PageTokenInvalid,
    RequestMalformed,
    RequestTooLarge,
    StreamNotOpen,
    StreamAlreadyOpen,
    RoomNotFound,
    RoomExists,
    MessageNotFound,
    MessageDeleted,
    ClientMessageIdReused,
    MemberNotFound,
    LastOwner,
    RoomIsDirect,
    TooManyRooms,
    TooManyMembers,
    TooManyReactions,
    TooManyStreams,
    Overloaded,
    Draining,
    StorageUnavailable,
    DeadlineExceeded,
    MethodNotFound,
    SessionNotFound,
    Internal,
    ProjectNotFound,
    ReceiptBeyondRoom,
    MentionInvalid,
    LaneNumberUsed,
    LaneJumpTooFar,
    LaneFull,
    SearchQueryInvalid,
    UserBanned,
    MemberMuted,
    UserBlocked,
    SlowMode,
    MemberIsOwner,
    TooManyPins,
    TooManyBans,
    ReportNotFound,
    AdminRequired,
    TooManyReports,
}

/// A field that is outside its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field in the request.
    pub field: String,
    /// What is wrong, and the limit.
    pub description: String,
}

/// Why something failed, in words and as a value. Neither holds a secret or another tenant's data.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    reason: Reason,
    message: Cow<'static, str>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
}

impl Error {
    /// An error that trying again cannot mend.
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { inner: Box::new(Inner { reason, message: message.into(), violations: Vec::new(), retry_after: None }) }
    }

    /// An error that may be gone after `wait`.
    pub fn retryable(reason: Reason, message: impl Into<Cow<'static, str>>, wait: Duration) -> Self {
        let mut error = Self::new(reason, message);
        error.inner.retry_after = Some(wait);
        error
    }

    /// One field is outside its limits.
    pub fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        let mut error = Self::new(Reason::FieldInvalid, format!("{field}: {description}"));
        error.inner.violations.push(Violation { field, description });
        error
    }

    /// One field is wrong, for a reason of its own.
    pub fn field_for(reason: Reason, field: impl Into<String>, description: impl Into<String>) -> Self {
        let mut error = Self::field(field, description);
        error.inner.reason = reason;
        error
    }

    /// The database did not do what it was asked. The cause goes to the log here, once, and never to a caller.
    pub fn storage(cause: &dyn fmt::Display) -> Self {
        tracing::error!(error = %cause, "storage failed");
        Self::retryable(
            Reason::StorageUnavailable,
            "the database did not answer; send it again with the same id",
            Duration::from_secs(1),
        )
    }

    /// There is no such room, or the caller may not know of it.
    pub fn room_not_found() -> Self {
        Self::new(Reason::RoomNotFound, "there is no such room")
    }

    /// A fault of the server. The cause goes to the log here, and never to a caller.
    pub fn internal(cause: &dyn fmt::Display) -> Self {
        tracing::error!(error = %cause, "internal fault");
        Self::new(Reason::Internal, "internal fault")
    }

    /// More waits than may; `message` says of what.
    pub fn overloaded(message: &'static str) -> Self {
        Self::retryable(Reason::Overloaded, message, Duration::from_millis(500))
    }

    /// The server is on its way out.
    pub fn draining() -> Self {
        Self::retryable(Reason::Draining, "the server is shutting down", Duration::from_secs(1))
    }

    /// Puts `prefix` before the path of each violated field: `text` becomes `requests[3].text`.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        for violation in &mut self.inner.violations {
            violation.field = format!("{prefix}.{}", violation.field);
        }
        if let [violation] = self.inner.violations.as_slice() {
            self.inner.message = format!("{}: {}", violation.field, violation.description).into();
        }
        self
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.inner.reason
    }

    /// One sentence for a developer.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The fields outside their limits.
    pub fn violations(&self) -> &[Violation] {
        &self.inner.violations
    }

    /// How long to wait before trying again; `None` when that cannot help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl std::error::Error for Error {}
