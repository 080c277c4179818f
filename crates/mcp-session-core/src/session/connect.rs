//! Opens the connections of GET: who gets the standalone stream is settled with the client that has it.

use std::time::Instant;

use mcp_session_proto::{Position, Refusal, RequestError, StreamKey};

use super::{
    Session,
    cell::{Machine, SharedWaiters},
};

impl Session {
    /// GET: opens the standalone stream. With a store, also returns the position in the standalone log up to which its
    /// events were sent to the client.
    pub(crate) async fn listen(&self, waiters: &SharedWaiters) -> Result<(StreamKey, Position), Refusal> {
        contest(self, |machine, now| {
            machine.handle_get(now, SharedWaiters::clone(waiters)).map(|key| (key, machine.heard()))
        })
        .await
    }

    /// GET with `Last-Event-ID`: resumes a stream that this node has.
    pub(crate) async fn resume(
        &self,
        last_event_id: &str,
        waiters: &SharedWaiters,
    ) -> Result<StreamKey, Refusal> {
        contest(self, |machine, now| machine.handle_resume(now, last_event_id, SharedWaiters::clone(waiters)))
            .await
    }
}

/// Opens a connection for a stream. If the stream was taken over too often, the client that has it is asked by `ping`
/// first. It keeps the stream if it answers, even with an error, or if it must not be asked now (D-23).
async fn contest<R>(
    session: &Session,
    connect: impl Fn(&mut Machine, Instant) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    let contested = session.with(&connect);
    if !matches!(contested, Err(Refusal::StreamContested)) {
        return contested;
    }
    let Some(patience) = session.with(Machine::contest) else { return contested };
    match session.ping(patience).await {
        Ok(()) | Err(RequestError::Client(_)) => contested,
        Err(_) => session.with(|machine, now| {
            machine.handle_silent();
            connect(machine, now)
        }),
    }
}
