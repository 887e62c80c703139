//! What went wrong in a call or on a stream, as one typed error.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use prost_types::Duration as WireDuration;
use relay_proto::error::v1::Error as WireError;
pub use relay_proto::error::v1::{ErrorReason, FieldViolation};
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;

/// The domain that Relay writes into `google.rpc.ErrorInfo`.
const DOMAIN: &str = "relay";

/// What kind of failure it is: enough to decide what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is wrong; [`Error::field_violations`] may say which field. The same request fails again.
    InvalidArgument,
    /// The server does not accept the token, not even a newly fetched one.
    Unauthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// There is no such room, message or member, or the caller may not know of it.
    NotFound,
    /// The id is taken.
    AlreadyExists,
    /// The state of the room or message does not allow it.
    FailedPrecondition,
    /// A limit is reached, or the server has too much to do.
    ResourceExhausted,
    /// The server cannot be reached, goes away, or cannot reach its database.
    Unavailable,
    /// The call took too long.
    DeadlineExceeded,
    /// The server does not know this method: it is older than this crate.
    Unimplemented,
    /// A fault of the server, or of something between here and it.
    Internal,
    /// The call was cancelled on its way.
    Cancelled,
    /// A send failed, and the message may or may not be written: no final answer came until the deadline, or one attempt
    /// was lost and a later one failed without a word on the message. Sending it again with the same client message id is
    /// safe, ever; with another id it may be written twice.
    OutcomeUnknown,
    /// The token provider failed, or its token cannot be carried in a header.
    Token,
    /// The client was set up wrongly: an address that is none, or no runtime around [`build`](crate::ClientBuilder::build).
    Configuration,
    /// The server's answer does not keep to the contract.
    Protocol,
    /// The file of the outbox and cache cannot be read or written. Feature `sqlite`.
    Storage,
}

/// An error of a call or of a stream. Cheap to clone.
///
/// ```
/// use relay_sdk::{Error, ErrorKind};
///
/// fn is_gone(error: &Error) -> bool {
///     error.kind() == ErrorKind::NotFound
/// }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Facts>);

struct Facts {
    kind: ErrorKind,
    reason: Option<ErrorReason>,
    /// Whether Relay made it, for whatever reason. Otherwise something on the way did, or this side.
    by_relay: bool,
    message: String,
    field_violations: Vec<FieldViolation>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Why the server refused. `None` if the error was not made by Relay, or has a reason that this crate does not know.
    pub fn reason(&self) -> Option<ErrorReason> {
        self.0.reason
    }

    /// One sentence for a developer, in English. Not for end users.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The fields that are out of their limits. Empty unless the reason is `FieldInvalid`.
    pub fn field_violations(&self) -> &[FieldViolation] {
        &self.0.field_violations
    }

    /// How long the server asks to wait before trying again. `None` if it said nothing.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether Relay refused, perhaps for a reason that this crate does not know.
    #[cfg(feature = "sqlite")]
    pub(crate) fn by_relay(&self) -> bool {
        self.0.by_relay
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Facts::of(kind, message.into())))
    }

    pub(crate) fn caused_by(kind: ErrorKind, message: &str, source: Box<dyn StdError + Send + Sync>) -> Self {
        let mut facts = Facts::of(kind, format!("{message}: {source}"));
        facts.source = Some(source.into());
        Self(Arc::new(facts))
    }

    /// A send that may have been written, with the last failure as its source.
    pub(crate) fn outcome_unknown(last: Self) -> Self {
        let mut facts = Facts::of(ErrorKind::OutcomeUnknown, format!("the message may or may not be written: {last}"));
        (facts.reason, facts.by_relay) = (last.0.reason, last.0.by_relay);
        facts.source = Some(Arc::new(last));
        Self(Arc::new(facts))
    }

    pub(crate) fn deadline() -> Self {
        Self::new(ErrorKind::DeadlineExceeded, "no answer within the time set for one attempt")
    }

    pub(crate) fn missing(what: &str) -> Self {
        Self::new(ErrorKind::Protocol, format!("the answer carries no {what}"))
    }

    /// Reads an error that an answer or a frame carries.
    pub(crate) fn from_wire(error: WireError) -> Self {
        let mut facts = Facts::of(kind_of(Code::from(error.code)), error.message);
        facts.reason = known(ErrorReason::try_from(error.reason).ok());
        facts.by_relay = true;
        facts.field_violations = error.field_violations;
        facts.retry_after = error.retry_after.and_then(|wait: WireDuration| wait.try_into().ok());
        Self(Arc::new(facts))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let by_relay = info.is_some();
        let reason = info.and_then(|info| ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason)));
        let kind = StdError::source(&status).map_or_else(|| kind_of(status.code()), kind_of_cause);
        let mut facts = Facts::of(kind, message_of(&status));
        (facts.reason, facts.by_relay) = (known(reason), by_relay);
        facts.field_violations = details.bad_request().map_or_else(Vec::new, |bad| {
            let violation = |v: &tonic_types::FieldViolation| FieldViolation {
                field: v.field.clone(),
                description: v.description.clone(),
            };
            bad.field_violations.iter().map(violation).collect()
        });
        facts.retry_after = details.retry_info().and_then(|info| info.retry_delay);
        if kind == ErrorKind::Unavailable && reason.is_none() {
            facts.source = Some(Arc::new(status));
        }
        Self(Arc::new(facts))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.message.as_str() {
            "" => write!(f, "{:?}", self.0.kind)?,
            message => f.write_str(message)?,
        }
        for violation in &self.0.field_violations {
            write!(f, "; {}: {}", violation.field, violation.description)?;
        }
        if let Some(reason) = self.0.reason {
            write!(f, " ({})", reason_name(reason))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("reason", &self.0.reason)
            .field("message", &self.0.message)
            .field("field_violations", &self.0.field_violations)
            .field("retry_after", &self.0.retry_after)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl Facts {
    fn of(kind: ErrorKind, message: String) -> Self {
        Self {
            kind,
            reason: None,
            by_relay: false,
            message,
            field_violations: Vec::new(),
            retry_after: None,
            source: None,
        }
    }
}

fn known(reason: Option<ErrorReason>) -> Option<ErrorReason> {
    reason.filter(|reason| *reason != ErrorReason::Unspecified)
}

/// The name as the contract writes it on the wire, for example `ROOM_NOT_FOUND`.
pub(crate) fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// A status with a cause was made on this side, out of a broken connection or a time limit, whatever its code.
fn kind_of_cause(cause: &(dyn StdError + 'static)) -> ErrorKind {
    let mut next = Some(cause);
    while let Some(error) = next {
        if error.is::<TimeoutExpired>() {
            return ErrorKind::DeadlineExceeded;
        }
        next = error.source();
    }
    ErrorKind::Unavailable
}

/// The status's message, with what lies at the bottom of it: a connection that fails says only "tcp connect error".
fn message_of(status: &Status) -> String {
    let (mut deepest, mut next) = (String::new(), StdError::source(status));
    while let Some(error) = next {
        deepest = error.to_string();
        next = error.source();
    }
    match status.message() {
        message if message.contains(&deepest) => message.to_owned(),
        message => format!("{message}: {deepest}"),
    }
}

fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::InvalidArgument,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::FailedPrecondition => ErrorKind::FailedPrecondition,
        Code::ResourceExhausted => ErrorKind::ResourceExhausted,
        Code::Unavailable => ErrorKind::Unavailable,
        Code::DeadlineExceeded => ErrorKind::DeadlineExceeded,
        Code::Unimplemented => ErrorKind::Unimplemented,
        Code::Cancelled => ErrorKind::Cancelled,
        Code::Ok | Code::Unknown | Code::Aborted | Code::Internal | Code::DataLoss => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn status(code: Code, reason: &str, domain: &str) -> Status {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, domain, std::collections::HashMap::new());
        details.set_retry_info(Some(Duration::from_millis(1500)));
        details.add_bad_request_violation("text", "at most 32768 bytes");
        Status::with_error_details(code, "no", details)
    }

    #[test]
    fn a_status_gives_reason_violations_and_wait() {
        let error = Error::from(status(Code::InvalidArgument, "FIELD_INVALID", "relay"));
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(error.reason(), Some(ErrorReason::FieldInvalid));
        assert_eq!(error.retry_after(), Some(Duration::from_millis(1500)));
        assert_eq!(error.field_violations()[0].field, "text");
        assert_eq!(error.to_string(), "no; text: at most 32768 bytes (FIELD_INVALID)");
    }

    #[test]
    fn a_foreign_or_unknown_reason_is_none() {
        assert_eq!(Error::from(status(Code::NotFound, "ROOM_NOT_FOUND", "elsewhere")).reason(), None);
        assert_eq!(Error::from(status(Code::NotFound, "MADE_LATER", "relay")).reason(), None);
        assert_eq!(Error::from(status(Code::NotFound, "UNSPECIFIED", "relay")).reason(), None);
    }

    #[test]
    #[cfg(feature = "sqlite")]
    fn an_unknown_reason_is_still_relays_word() {
        assert!(Error::from(status(Code::NotFound, "MADE_LATER", "relay")).by_relay());
        assert!(!Error::from(status(Code::NotFound, "ROOM_NOT_FOUND", "elsewhere")).by_relay());
        assert!(!Error::from(Status::not_found("from a proxy")).by_relay());
    }

    #[test]
    fn every_reason_of_the_contract_is_read_from_its_name() {
        let reasons: Vec<_> = (1..).map_while(|number| ErrorReason::try_from(number).ok()).collect();
        assert_eq!(reasons.len(), 47);
        for reason in reasons {
            let error = Error::from(status(Code::Internal, reason_name(reason), "relay"));
            assert_eq!(error.reason(), Some(reason));
        }
    }

    #[test]
    fn an_error_in_a_frame_says_the_same_as_a_status() {
        let error = Error::from_wire(WireError {
            code: 8,
            reason: ErrorReason::Overloaded.into(),
            message: "full".into(),
            field_violations: Vec::new(),
            retry_after: Some(WireDuration { seconds: 2, nanos: 0 }),
        });
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(error.reason(), Some(ErrorReason::Overloaded));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_status_made_on_this_side_is_told_by_its_cause() {
        let broken = Status::from_error(Box::new(std::io::Error::other("reset")));
        assert_eq!(Error::from(broken).kind(), ErrorKind::Unavailable);
        let late = Status::from_error(Box::new(TimeoutExpired(())));
        assert_eq!(Error::from(late).kind(), ErrorKind::DeadlineExceeded);
    }
}
