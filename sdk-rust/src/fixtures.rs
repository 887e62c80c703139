//! The rules as data: `proto/fixtures/*.json`, which every SDK is tested against.

use std::{collections::BTreeSet, path::Path, time::Duration};

use relay_proto::error::v1::{Error as WireError, ErrorReason};
use serde::{Deserialize, de::DeserializeOwned};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{Error, ErrorKind};

/// A reason that this version does not know.
const MADE_LATER: &str = "MADE_LATER";

/// How a call or a stream fails in a fixture.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Failure {
    /// As the contract names it, without `ERROR_REASON_`. Absent: Relay did not write the status.
    pub(crate) reason: Option<String>,
    /// As gRPC names it.
    pub(crate) code: String,
    /// The wait of a `RetryInfo`.
    pub(crate) retry_after_ms: Option<u64>,
}

impl Failure {
    pub(crate) fn error(&self) -> Error {
        let code = code(&self.code);
        let Some(reason) = &self.reason else {
            let mut details = tonic_types::ErrorDetails::new();
            if let Some(wait) = self.retry_after_ms {
                details.set_retry_info(Some(Duration::from_millis(wait)));
            }
            return Status::with_error_details(code, "from a proxy", details).into();
        };
        let reason = match reason.as_str() {
            MADE_LATER => i32::MAX,
            reason => ErrorReason::from_str_name(&format!("ERROR_REASON_{reason}")).unwrap().into(),
        };
        let retry_after = self.retry_after_ms.map(|wait| Duration::from_millis(wait).try_into().unwrap());
        Error::from_wire(WireError { code: code.into(), reason, retry_after, ..WireError::default() })
    }
}

/// Reads a fixture.
pub(crate) fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/fixtures").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Fails unless there is a row for each reason of the contract.
pub(crate) fn has_every_reason<'a>(rows: impl Iterator<Item = &'a Failure>) {
    let rows: BTreeSet<_> = rows.filter_map(|row| row.reason.as_deref()).collect();
    let reasons = (1..).map_while(|number| ErrorReason::try_from(number).ok());
    let missing: Vec<_> = reasons.map(crate::error::reason_name).filter(|reason| !rows.contains(reason)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

/// Fails unless there is a row without a reason for each status code.
pub(crate) fn has_every_code<'a>(rows: impl Iterator<Item = &'a Failure>) {
    let rows: BTreeSet<_> = rows.filter(|row| row.reason.is_none()).map(|row| row.code.as_str()).collect();
    let missing: Vec<_> = CODES.iter().filter(|code| !rows.contains(*code)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

/// A kind as the fixtures name it.
pub(crate) fn kind_name(kind: ErrorKind) -> String {
    let mut name = String::new();
    for letter in format!("{kind:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// The codes of a failure, by their numbers from 1.
const CODES: [&str; 16] = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn code(name: &str) -> Code {
    let index = CODES.iter().position(|code| *code == name).unwrap_or_else(|| panic!("no code {name}"));
    Code::from(index as i32 + 1)
}
