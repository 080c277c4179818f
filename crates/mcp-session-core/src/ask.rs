//! [`ask`]: a request to the client, from its sending to its reply.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    future::{Either, select},
};

use crate::{
    proto::{Json, OutboundId, RequestError, SendError, after},
    session::{Machine, Session, Waiters},
};

/// Sends a request by `send`, which is given what is left of `timeout`, and waits with `waiters` for the reply. Where
/// there is no space for it, `space` gives those who wait for that.
///
/// # Cancel safety
///
/// Dropped, the client is told to stop (F-24).
pub(crate) async fn ask(
    session: &Session,
    waiters: &Arc<Waiters>,
    timeout: Duration,
    mut send: impl FnMut(&mut Machine, Instant, Duration) -> Result<OutboundId, RequestError>,
    space: impl Fn(&Machine) -> Option<Arc<Waiters>>,
) -> Result<Json, RequestError> {
    let deadline = after(session.now(), timeout);
    let mut sending = Box::pin(session.send_with(|machine, now| {
        match send(machine, now, deadline.saturating_duration_since(now)) {
            Err(RequestError::Send(SendError::Full)) => Err(space(machine)),
            sent => Ok(sent),
        }
    }));
    // The queue has space, as a rule: a timer is made only when it has not.
    let sent = match sending.as_mut().now_or_never() {
        Some(sent) => sent,
        None => match select(sending, session.sleep_until(deadline)).await {
            Either::Left((sent, _)) => sent,
            Either::Right(((), _)) => return Err(RequestError::TimedOut),
        },
    };
    let waiting = Waiting { session, id: sent? };
    session
        .send_with(|machine, _| machine.poll_outbound(waiting.id).ok_or_else(|| Some(Arc::clone(waiters))))
        .await
}

/// A request to the client whose reply is waited for.
struct Waiting<'a> {
    session: &'a Session,
    id: OutboundId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.session.with(|machine, now| machine.abandon_request(now, self.id));
    }
}
