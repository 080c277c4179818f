//! Checks the credential of a request (B-09, B-12).

use std::task::Poll;

use futures::{
    FutureExt,
    future::{Either, poll_fn, select},
};
use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use mcp_session_proto::after;

use super::{body::Limits, rejection::Rejection};
use crate::{
    config::{AuthError, AuthFuture},
    contain::{Contained, Panicked},
};

/// Refuses a repeated credential as malformed: two parties might each check a different one (B-12).
pub(super) fn check_authorization(headers: &HeaderMap) -> Result<(), Rejection> {
    // Most requests repeat no header at all.
    let repeats = headers.len() > headers.keys_len();
    if repeats && headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(AuthError::Malformed.into());
    }
    Ok(())
}

/// Checks the credential of a request, if the endpoint checks credentials. A check that is ready at once is not boxed; one that
/// waits has a deadline.
pub(super) async fn check(parts: &mut Parts, limits: Limits<'_>) -> Result<(), Rejection> {
    let Some(check) = &limits.config.authenticate else { return Ok(()) };
    let mut checking = Contained::new(|| check.authenticate(parts));
    if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(checking.poll_unpin(cx))).await {
        return checked(done);
    }
    Box::pin(wait(checking, limits)).await // boxed, so that not every request has its size
}

fn checked(checked: Result<Result<(), AuthError>, Panicked>) -> Result<(), Rejection> {
    checked
        .map_err(|Panicked| Rejection::Internal("the check of the credential failed"))?
        .map_err(Rejection::Auth)
}

async fn wait(
    checking: Contained<AuthFuture<'_>>,
    Limits { config, runtime, .. }: Limits<'_>,
) -> Result<(), Rejection> {
    let deadline = runtime.sleep_until(after(runtime.now(), config.authenticate_timeout));
    match select(checking, deadline).await {
        Either::Left((done, _)) => checked(done),
        Either::Right(((), _)) => Err(Rejection::AuthTimeout),
    }
}
