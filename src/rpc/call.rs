//! What every unary method does first and last.

use tonic::{Request, Response, Status};

use super::status::to_status;
use crate::{
    error::{Error, Reason},
    id::UserKey,
    identity::Caller,
};

/// What a method answers with.
pub(super) type Answer<T> = Result<Response<T>, Status>;

/// The domain's answer as the wire's.
pub(super) fn answer<T>(result: Result<T, Error>) -> Answer<T> {
    result.map(Response::new).map_err(|error| to_status(&error))
}

/// The caller that the gate found, and the request.
pub(super) fn parts<T>(request: Request<T>) -> Result<(UserKey, T), Status> {
    let caller = whole_caller(&request)?.user;
    Ok((caller, request.into_inner()))
}

/// The caller that the gate found, with their token's expiry.
pub(super) fn whole_caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let missing = || to_status(&Error::new(Reason::CredentialsMissing, "the call has no caller"));
    request.extensions().get::<Caller>().cloned().ok_or_else(missing)
}

/// A page token on the wire: empty after the last page.
pub(super) fn page_token(token: Option<String>) -> String {
    token.unwrap_or_default()
}
