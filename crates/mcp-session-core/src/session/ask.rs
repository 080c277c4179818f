//! [`ask`]: sends a request to the client and waits for its reply.

use std::time::{Duration, Instant};

use futures::{
    FutureExt,
    future::{Either, select},
};
use mcp_session_proto::{Json, OutboundId, RequestError, SendError, after};

use crate::session::{
    Session,
    cell::{Machine, SharedWaiters},
};

/// Sends a request with `send`, which gets the rest of `timeout`, and waits with `waiters` for the reply. If the queue is
/// full, `space` returns the waiters for space.
///
/// # Cancel safety
///
/// If dropped, the client is told to cancel (F-24).
pub(crate) async fn ask(
    session: &Session,
    waiters: &SharedWaiters,
    timeout: Duration,
    mut send: impl FnMut(&mut Machine, Instant, Duration) -> Result<OutboundId, RequestError>,
    space: impl Fn(&Machine) -> Option<SharedWaiters>,
) -> Result<Json, RequestError> {
    let deadline = after(session.now(), timeout);
    let mut sending = Box::pin(session.send_with(|machine, now| {
        match send(machine, now, deadline.saturating_duration_since(now)) {
            Err(RequestError::Send(SendError::Full)) => Err(space(machine)),
            sent => Ok(sent),
        }
    }));
    // The queue usually has space: the timer is created only if it does not.
    let sent = match sending.as_mut().now_or_never() {
        Some(sent) => sent,
        None => match select(sending, session.sleep_until(deadline)).await {
            Either::Left((sent, _)) => sent,
            Either::Right(((), _)) => return Err(RequestError::TimedOut),
        },
    };
    let waiting = Waiting { session, id: sent? };
    session
        .send_with(|machine, _| {
            machine.poll_outbound(waiting.id).ok_or_else(|| Some(SharedWaiters::clone(waiters)))
        })
        .await
}

/// A pending request to the client. Dropping it abandons the request.
struct Waiting<'a> {
    session: &'a Session,
    id: OutboundId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.session.with(|machine, now| machine.abandon_request(now, self.id));
    }
}
