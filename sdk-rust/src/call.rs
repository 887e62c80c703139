//! One unary call: token, time limit, and another try where that helps.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status};

use crate::{
    Error, backoff,
    retry::{self, Verdict},
    token::{Token, Tokens},
};

/// How hard to try.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// How long one attempt may take.
    pub(crate) attempt: Duration,
    /// How long all attempts and waits may take. `None`: one attempt, as the call must not be repeated.
    pub(crate) total: Option<Duration>,
    /// Whether messages are sent. If it fails and any attempt may have written them, the error says that this is not
    /// known: whoever took them for not written would write them twice.
    pub(crate) sends: bool,
}

/// Makes the request anew for each attempt and calls until the answer is final or the time is up.
///
/// # Errors
/// What the last attempt failed with; for a send, within [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) unless it
/// is certain that nothing was written.
pub(crate) async fn call<Q, A, F, Fut>(tokens: &Tokens, effort: Effort, message: Q, attempt: F) -> Result<A, Error>
where
    Q: Clone,
    F: Fn(Request<Q>) -> Fut,
    Fut: Future<Output = Result<Response<A>, Status>>,
{
    until_final(tokens, effort, |token, limit| {
        let mut request = Request::new(message.clone());
        request.metadata_mut().insert("authorization", token.header());
        request.set_timeout(limit);
        let answer = attempt(request);
        async move {
            // The channel keeps the limit as well, but not while it waits for a connection.
            match timeout(limit, answer).await {
                Ok(Ok(response)) => Ok(response.into_inner()),
                Ok(Err(status)) => Err(Error::from(status)),
                Err(_) => Err(Error::deadline()),
            }
        }
    })
    .await
}

async fn until_final<A, F, Fut>(tokens: &Tokens, effort: Effort, attempt: F) -> Result<A, Error>
where
    F: Fn(Token, Duration) -> Fut,
    Fut: Future<Output = Result<A, Error>>,
{
    let end = backoff::from_now(effort.total.unwrap_or(effort.attempt));
    let (mut retries, mut renewed, mut open) = (0, false, false);
    loop {
        let token = tokens.get().await;
        let outcome = match &token {
            Ok(token) => attempt(token.clone(), effort.attempt.min(end - Instant::now())).await,
            Err(error) => Err(error.clone()),
        };
        let error = match outcome {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        open |= retry::leaves_open(&error);
        match (retry::of_call(&error), &token) {
            // A refused call has done nothing, so even one that must not be repeated is made again.
            (Verdict::Renew, Ok(token)) if !renewed => {
                renewed = true;
                tokens.forget(token).await;
            }
            (Verdict::Retry, _) if effort.total.is_some() => {
                let wait = backoff::delay_asked(retries, fastrand::f64(), error.retry_after());
                if backoff::from_now(wait) >= end {
                    return Err(last(effort, error, open));
                }
                tokio::time::sleep(wait).await;
                retries += 1;
                renewed = false;
            }
            _ => return Err(last(effort, error, open)),
        }
    }
}

/// What the caller is told. `open`: some attempt may have been carried out.
fn last(effort: Effort, error: Error, open: bool) -> Error {
    let passing = retry::of_call(&error) == Verdict::Retry;
    if effort.sends && (passing || open && !retry::refuses_send(&error)) {
        return Error::outcome_unknown(error);
    }
    error
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tonic::Code;

    use super::*;
    use relay_proto::error::v1::Error as WireError;

    use crate::{ErrorKind, ErrorReason, token::StaticToken};

    const EFFORT: Effort =
        Effort { attempt: Duration::from_secs(10), total: Some(Duration::from_secs(60)), sends: false };
    const SEND: Effort = Effort { sends: true, ..EFFORT };

    fn tokens() -> Tokens {
        Tokens::new(Box::new(StaticToken("t".into())), Duration::from_secs(1))
    }

    /// Answers with the codes in turn, then with OK; gives the result and the number of attempts.
    async fn run(effort: Effort, codes: &[Code]) -> (Result<(), Error>, usize) {
        let errors: Vec<_> = codes.iter().map(|code| bare(*code)).collect();
        run_errors(effort, &errors).await
    }

    async fn run_errors(effort: Effort, errors: &[Error]) -> (Result<(), Error>, usize) {
        let (calls, tokens) = (RefCell::new(0), tokens());
        let answer = until_final(&tokens, effort, |_, _| {
            let turn = calls.replace_with(|n| *n + 1);
            std::future::ready(errors.get(turn).map_or(Ok(()), |error| Err(error.clone())))
        })
        .await;
        (answer, calls.into_inner())
    }

    fn bare(code: Code) -> Error {
        Status::new(code, "from a proxy").into()
    }

    fn with_reason(code: Code, reason: ErrorReason) -> Error {
        Error::from_wire(WireError { code: code.into(), reason: reason.into(), ..WireError::default() })
    }

    /// The kind that a send ends with.
    async fn sent(errors: &[Error]) -> ErrorKind {
        run_errors(SEND, errors).await.0.unwrap_err().kind()
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_failure_is_tried_again_until_it_passes() {
        let (answer, calls) = run(EFFORT, &[Code::Unavailable, Code::Unknown, Code::DeadlineExceeded]).await;
        assert!(answer.is_ok());
        assert_eq!(calls, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_final_failure_is_tried_once() {
        let (answer, calls) = run(EFFORT, &[Code::NotFound]).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(calls, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_must_not_be_repeated_is_not() {
        let once = Effort { total: None, ..EFFORT };
        assert_eq!(run(once, &[Code::Unavailable]).await.1, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_renewed_once_in_a_row() {
        assert_eq!(run(EFFORT, &[Code::Unauthenticated]).await.1, 2);
        let (answer, calls) = run(EFFORT, &[Code::Unauthenticated; 5]).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unauthenticated);
        assert_eq!(calls, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_send_that_may_have_been_written_is_not_called_refused() {
        let late = Error::deadline();
        for code in [Code::PermissionDenied, Code::Unimplemented, Code::ResourceExhausted] {
            assert_eq!(sent(&[late.clone(), bare(code)]).await, ErrorKind::OutcomeUnknown, "{code:?}");
        }
        let refused = bare(Code::Unauthenticated);
        assert_eq!(sent(&[late.clone(), refused.clone(), refused]).await, ErrorKind::OutcomeUnknown);
        let gone = with_reason(Code::PermissionDenied, ErrorReason::ProjectNotFound);
        let error = run_errors(SEND, &[late, gone]).await.0.unwrap_err();
        assert_eq!((error.kind(), error.reason()), (ErrorKind::OutcomeUnknown, Some(ErrorReason::ProjectNotFound)));
        assert_eq!(sent(&[with_reason(Code::Internal, ErrorReason::Internal)]).await, ErrorKind::OutcomeUnknown);
    }

    #[tokio::test(start_paused = true)]
    async fn a_send_that_was_certainly_not_written_ends_with_the_refusal() {
        let late = Error::deadline();
        // The log looks for the id first, so that its refusal speaks for the earlier attempts as well.
        let outside = with_reason(Code::PermissionDenied, ErrorReason::NotAMember);
        assert_eq!(sent(&[late, outside]).await, ErrorKind::PermissionDenied);
        let full = with_reason(Code::ResourceExhausted, ErrorReason::Overloaded);
        assert_eq!(sent(&[full, bare(Code::PermissionDenied)]).await, ErrorKind::PermissionDenied);
        let refused = bare(Code::Unauthenticated);
        assert_eq!(sent(&[refused.clone(), refused]).await, ErrorKind::Unauthenticated);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_sends_nothing_ends_with_its_last_error() {
        let (answer, _) = run(EFFORT, &[Code::DeadlineExceeded, Code::PermissionDenied]).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_for_a_wait_without_end_is_not_waited_for() {
        let retry_after = Some(prost_types::Duration { seconds: i64::MAX, nanos: 0 });
        let (code, reason) = (Code::ResourceExhausted.into(), ErrorReason::Overloaded.into());
        let full = Error::from_wire(WireError { code, reason, retry_after, ..WireError::default() });
        assert_eq!(run_errors(EFFORT, &[full]).await.0.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    }

    #[tokio::test(start_paused = true)]
    async fn trying_ends_before_the_time_is_up() {
        let begun = Instant::now();
        let (answer, calls) = run(EFFORT, &[Code::Unavailable; 1000]).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert!(calls > 3);
    }
}
