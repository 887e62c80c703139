//! What every call passes: the policy table, the caller's credentials, a deadline, a complete status, a count.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tonic::{Code, Status};

use super::{
    access::{self, Access},
    status::{from_framework, to_status},
};
use crate::{
    error::{Error, Reason, Result},
    identity::{Caller, Tokens},
    telemetry::{CallLabels, Metrics},
};

/// Where the details of a status lie in headers and trailers.
const DETAILS: &str = "grpc-status-details-bin";

/// What the gate needs to know.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) tokens: Tokens,
    pub(super) metrics: Arc<Metrics>,
    pub(super) request_timeout: Duration,
}

/// Lets a call pass, or answers in its place.
pub(super) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let Some(access) = access::of(path) else {
        return not_found(&request);
    };
    let count = Count { metrics: gate.metrics.clone(), method: path.trim_start_matches('/').into() };
    if access != Access::Anyone {
        match caller(&gate.tokens, request.headers()) {
            Ok(caller) if access == Access::Admin && !caller.admin => return count.response(refuse(&not_an_admin())),
            Ok(caller) => drop(request.extensions_mut().insert(caller)),
            Err(error) => return count.response(refuse(&error)),
        }
    }
    match access {
        Access::Anyone => count.response(next.run(request).await),
        Access::UserStream => {
            request.extensions_mut().insert(count.clone());
            let response = next.run(request).await;
            // What becomes of a stream that has begun is its body's to count.
            if response.headers().contains_key("grpc-status") { count.response(response) } else { response }
        }
        Access::User | Access::Admin => {
            let deadline = deadline(request.headers(), gate.request_timeout);
            let response = tokio::time::timeout(deadline, next.run(request)).await;
            count.response(response.map_or_else(|_| refuse(&too_late()), complete))
        }
    }
}

fn not_an_admin() -> Error {
    Error::new(Reason::AdminRequired, "the method is for users whose token has the claim `relay_admin`")
}

fn too_late() -> Error {
    Error::retryable(Reason::DeadlineExceeded, "the call took too long", Duration::from_millis(100))
}

/// What a path that is not in the policy table gets: gRPC clients and people with a browser are told apart.
fn not_found(request: &Request) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !content_type.starts_with(b"application/grpc") {
        return (StatusCode::NOT_FOUND, "there is nothing here; this port speaks gRPC\n").into_response();
    }
    refuse(&Error::new(Reason::MethodNotFound, "there is no such method"))
}

/// The caller that the credentials name.
fn caller(tokens: &Tokens, headers: &HeaderMap) -> Result<Caller> {
    let missing =
        || Error::new(Reason::CredentialsMissing, "the call needs the metadata `authorization: Bearer <token>`");
    let value = headers.get(header::AUTHORIZATION).ok_or_else(missing)?;
    let text = value.to_str().map_err(|_| missing())?;
    let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).ok_or_else(missing)?.1;
    tokens.verify(token.trim())
}

/// How long a call may take: as long as its caller says, but no longer than the server does.
fn deadline(headers: &HeaderMap, limit: Duration) -> Duration {
    let asked = headers.get("grpc-timeout").and_then(|v| v.to_str().ok()).and_then(parse_timeout);
    asked.unwrap_or(limit).min(limit)
}

/// A `grpc-timeout`: at most 8 digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3_600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

/// An error as a whole response.
pub(super) fn refuse(error: &Error) -> Response {
    to_status(error).into_http::<Body>()
}

/// Gives a status that the framework made the details that every status of Relay has.
fn complete(response: Response) -> Response {
    let headers = response.headers();
    if !headers.contains_key("grpc-status") || headers.contains_key(DETAILS) {
        return response;
    }
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => {
            refuse(&from_framework(&status).unwrap_or_else(|| Error::internal(&status)))
        }
        _ => response,
    }
}

/// Counts how a call ended.
#[derive(Clone)]
pub(super) struct Count {
    metrics: Arc<Metrics>,
    method: Arc<str>,
}

impl Count {
    /// The call ended with this code.
    pub(super) fn ended(&self, code: Code) {
        let labels = CallLabels { method: self.method.to_string(), code: code_name(code) };
        self.metrics.calls.get_or_create(&labels).inc();
    }

    fn response(&self, response: Response) -> Response {
        let status = response.headers().get("grpc-status").map(HeaderValue::as_bytes);
        self.ended(status.map_or(Code::Ok, Code::from_bytes));
        response
    }
}

/// The code's name as the gRPC specification writes it.
fn code_name(code: Code) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
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
    NAMES.get(code as usize).copied().unwrap_or("UNKNOWN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read_as_specified() {
        assert_eq!(parse_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("2H"), Some(Duration::from_secs(7_200)));
        for bad in ["", "S", "5", "-1S", "123456789S", "5X", "5 S", "ä"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}
