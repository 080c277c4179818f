//! [`ExchangeHandle`]: a running exchange, in a session or without one.

use std::time::Instant;

use bytes::Bytes;
use event_listener::EventListener;
use mcp_session_proto::{
    ExchangeKey, HttpRefusal, Phase, Reply, SendError, SessionId, Status, StreamKey, Text,
};

use crate::{
    session::{
        Session,
        cell::{Machine, SharedWaiters},
        env::Env,
    },
    stateless::{
        call::{self, Call},
        server::Completed,
    },
    stream::EventStream,
};

/// A running exchange.
#[derive(Debug, Clone)]
pub(crate) enum ExchangeHandle {
    /// An exchange of a session.
    Session(Session, ExchangeKey),
    /// An exchange without a session.
    Stateless(Call),
}

/// The form of the HTTP response.
#[derive(Debug)]
pub(crate) enum ReplyHead {
    Json(Text),
    Refused(Text, Box<HttpRefusal>),
    Events(EventStream),
    /// The reply was already taken. Cannot happen with a single reader.
    Lost,
}

/// What [`ExchangeHandle::answer`] has done.
pub(crate) struct Answered {
    /// Whether the answer counts: `false` if the request was answered or cancelled before.
    pub(crate) heard: bool,
    pub(crate) at: Instant,
    /// The head of the response, if it was asked for and is decided.
    pub(crate) head: Option<ReplyHead>,
}

impl ExchangeHandle {
    /// The session that it belongs to.
    pub(crate) fn session(&self) -> Option<&Session> {
        match self {
            Self::Session(session, _) => Some(session),
            Self::Stateless(_) => None,
        }
    }

    /// The id of the session that it belongs to.
    pub(crate) fn session_id(&self) -> Option<SessionId> {
        self.session().map(Session::id)
    }

    /// What the endpoint shares.
    pub(crate) fn env(&self) -> &Env {
        match self {
            Self::Session(session, _) => session.env(),
            Self::Stateless(call) => call.env(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Session(session, _) => session.now(),
            Self::Stateless(call) => call.now(),
        }
    }

    /// Passes the handler's answer to the machine, and takes the head of the response at once if `with_head`.
    pub(crate) fn answer(&self, completed: &Completed<'_>, with_head: bool) -> Answered {
        let Completed { answer, insertions } = completed;
        match self {
            Self::Session(session, key) => session.with(|machine, now| Answered {
                heard: machine.answer(now, *key, answer),
                at: now,
                head: if with_head { self.session_head(machine, now, session, *key) } else { None },
            }),
            Self::Stateless(call) => call.with(|machine, now| Answered {
                heard: machine.answer_with(now, answer, insertions.as_ref()),
                at: now,
                head: if with_head { self.stateless_head(machine, now, call) } else { None },
            }),
        }
    }

    /// The handler was not ready at its first poll. Returns the waiters of the exchange.
    pub(crate) fn suspend(&self) -> (SharedWaiters, Instant) {
        match self {
            Self::Session(session, key) => session.with(|machine, now| {
                machine.handle_suspended(now, *key);
                (machine.tag_or(*key, SharedWaiters::default).unwrap_or_default(), now) // `None`: the exchange is over
            }),
            Self::Stateless(call) => call.with(|machine, now| {
                machine.handle_suspended(now);
                (machine.tag_or(SharedWaiters::default), now)
            }),
        }
    }

    /// The handler has finished without an answer.
    pub(crate) fn release(&self) -> Instant {
        match self {
            Self::Session(session, key) => session.with(|machine, now| {
                machine.handle_released(now, *key);
                now
            }),
            Self::Stateless(call) => call.with(|machine, now| {
                machine.handle_released();
                now
            }),
        }
    }

    /// The client has disconnected before the head of the response was decided.
    pub(crate) fn disconnect(&self) {
        match self {
            Self::Session(session, key) => {
                session.with(|machine, now| machine.handle_disconnect(now, StreamKey::Response(*key)));
            }
            Self::Stateless(call) => call.with(call::Machine::handle_disconnect),
        }
    }

    /// The head of the response, if it is decided.
    pub(crate) fn poll_head(&self) -> Option<ReplyHead> {
        match self {
            Self::Session(session, key) => {
                session.with(|machine, now| self.session_head(machine, now, session, *key))
            }
            Self::Stateless(call) => call.with(|machine, now| self.stateless_head(machine, now, call)),
        }
    }

    fn session_head(
        &self,
        machine: &mut Machine,
        now: Instant,
        session: &Session,
        key: ExchangeKey,
    ) -> Option<ReplyHead> {
        let reply = machine.poll_reply(now, key);
        head(reply, || {
            let waiters = machine.tag_or(key, SharedWaiters::default).unwrap_or_default(); // `None`: the exchange is over
            EventStream::new(session.clone(), StreamKey::Response(key), waiters)
        })
    }

    fn stateless_head(&self, machine: &mut call::Machine, now: Instant, call: &Call) -> Option<ReplyHead> {
        let reply = machine.poll_reply(now);
        head(reply, || EventStream::of_call(call.clone(), machine.tag_or(SharedWaiters::default)))
    }

    /// Sends a message on the reply; waits for space in its queue.
    pub(crate) async fn notify(&self, event: &Bytes) -> Result<(), SendError> {
        self.send(
            |machine, now, key| machine.notify(now, key, event),
            |machine, now| machine.notify(now, event),
        )
        .await
    }

    /// Reports progress on the reply; waits for space in its queue.
    pub(crate) async fn progress(&self, progress: f64, event: &Bytes) -> Result<(), SendError> {
        self.send(
            |machine, now, key| machine.progress(now, key, progress, event),
            |machine, now| machine.progress(now, progress, event),
        )
        .await
    }

    async fn send(
        &self,
        mut in_session: impl FnMut(&mut Machine, Instant, ExchangeKey) -> Result<(), SendError>,
        mut stateless: impl FnMut(&mut call::Machine, Instant) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        match self {
            Self::Session(session, key) => {
                session
                    .send_with(|machine, now| match in_session(machine, now, *key) {
                        Err(SendError::Full) => Err(machine.tag_or(*key, SharedWaiters::default)),
                        sent => Ok(sent),
                    })
                    .await
            }
            Self::Stateless(call) => {
                until(|| {
                    call.with(|machine, now| match stateless(machine, now) {
                        Err(SendError::Full) => Err(machine.tag_or(SharedWaiters::default).handler.listen()),
                        sent => Ok(sent),
                    })
                })
                .await
            }
        }
    }

    /// The status for the handler: whether it is cancelled or abandoned.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Session(session, key) => session.with(|machine, _| machine.poll_status(*key)),
            Self::Stateless(call) => call.with(|machine, _| machine.status()),
        }
    }

    /// Waits until `ready` returns a value.
    pub(crate) async fn until<R>(&self, ready: impl Fn(Status) -> Option<R>) -> R {
        match self {
            Self::Session(session, key) => {
                session
                    .send_with(|machine, _| {
                        let ready = ready(machine.poll_status(*key));
                        ready.ok_or_else(|| machine.tag_or(*key, SharedWaiters::default))
                    })
                    .await
            }
            Self::Stateless(call) => {
                until(|| {
                    call.with(|machine, _| {
                        let ready = ready(machine.status());
                        ready.ok_or_else(|| machine.tag_or(SharedWaiters::default).handler.listen())
                    })
                })
                .await
            }
        }
    }

    /// The deadline of the answer, if the session or the endpoint is ending, and the time.
    pub(crate) fn answer_by(&self) -> (Option<Instant>, Instant) {
        match self {
            Self::Session(session, _) => session.with(|machine, now| (machine.answer_by(), now)),
            Self::Stateless(call) => call.with(|machine, now| (machine.answer_by(), now)),
        }
    }

    /// Waits until the session or the endpoint starts to end; without a session, also until the request is over.
    pub(crate) async fn draining(&self) {
        match self {
            Self::Session(session, _) => {
                session.until_ending(|machine| machine.phase() != Phase::Running).await;
            }
            Self::Stateless(call) => {
                until(|| {
                    call.with(|machine, _| match machine.phase() {
                        Phase::Running if machine.is_running() => {
                            Err(machine.tag_or(SharedWaiters::default).handler.listen())
                        }
                        _ => Ok(()),
                    })
                })
                .await;
            }
        }
    }
}

fn head(reply: Option<Reply>, events: impl FnOnce() -> EventStream) -> Option<ReplyHead> {
    Some(match reply {
        Some(Reply::Pending) => return None,
        Some(Reply::Json(answer)) => ReplyHead::Json(answer),
        Some(Reply::Refused(answer, refusal)) => ReplyHead::Refused(answer, refusal),
        Some(Reply::Stream) => ReplyHead::Events(events()),
        None => ReplyHead::Lost,
    })
}

/// Calls `attempt` until it returns a value; waits with the listener in between, which was registered under the lock.
async fn until<R>(mut attempt: impl FnMut() -> Result<R, EventListener>) -> R {
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(changed) => changed.await,
        }
    }
}
