//! [`Drive`]: polls a connection until it ends, a deadline passes, or the server ends it.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    future::{Either, select},
};
use mcp_session_core::{BoxFuture, Closing, ConnectionContext};

use crate::{activity::Activity, streams::Streams};

/// How long a connection whose time is up may take to end gracefully.
pub(crate) const GOODBYE: Duration = Duration::from_millis(100);

/// A deadline that fires later than this was missed because this process was stopped or starved. By then, what clients sent
/// in time has arrived; the connection gets this much longer to read it.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// What a connection is driven by besides itself. There is one for each connection for as long as it is open, so it has no
/// room for what most connections lack.
pub(crate) struct Drive {
    pub(crate) context: ConnectionContext,
    deadline: Deadline,
    closing: Option<Closing>,
    /// HTTP/2.
    streams: Option<Box<ManyStreams>>,
    /// The progress of the response body when it was last seen, and when it was first seen.
    waiting: Option<(u64, Instant)>,
    asked_to_end: bool,
    idle: bool,
    said_goodbye: bool,
}

struct ManyStreams {
    streams: Arc<Streams>,
    stopping: Option<Closing>,
}

impl Drive {
    /// The first request has as long as its head.
    pub(crate) fn new(context: ConnectionContext) -> Self {
        let deadline = Deadline::after(&context, context.header_timeout());
        let closing = Some(context.closing());
        let (asked_to_end, idle, said_goodbye) = (false, false, false);
        Self { context, deadline, closing, streams: None, waiting: None, asked_to_end, idle, said_goodbye }
    }

    /// Waits for what precedes the first request, such as a TLS handshake. Returns `None` if the deadline passes, or
    /// connections must close.
    pub(crate) async fn in_time<F: Future>(&mut self, begin: F) -> Option<F::Output> {
        let mut begin = pin!(begin);
        loop {
            let Self { closing: Some(closing), deadline, context, .. } = self else { return None };
            let closes = match select(begin.as_mut(), select(closing, &mut deadline.sleep)).await {
                Either::Left((begun, _)) => return Some(begun),
                Either::Right((enough, _)) => matches!(enough, Either::Left(_)),
            };
            if closes || !deadline.is_late(context) {
                return None;
            }
            *deadline = Deadline::after(context, PAUSE);
        }
    }

    /// Requests begin: one at a time, or over HTTP/2 in these streams.
    pub(crate) fn begin(&mut self, streams: Option<&Arc<Streams>>) {
        let tick = self.tick();
        if tick < self.context.header_timeout() {
            self.deadline = Deadline::after(&self.context, tick);
        }
        self.streams = streams.map(|streams| {
            // A connection that is accepted while stopping still serves a request: its client has nowhere else to send it.
            let stopping = (!self.context.is_stopping()).then(|| self.context.stopping());
            Box::new(ManyStreams { streams: Arc::clone(streams), stopping })
        });
    }

    /// Polls a connection of hyper, and ends it by `graceful_shutdown`. In a shutdown, an HTTP/1.1 connection ends together
    /// with the one response that is in progress; an HTTP/2 connection sends GOAWAY.
    pub(crate) fn poll<C: Future<Output = hyper::Result<()>>>(
        &mut self,
        cx: &mut Context<'_>,
        activity: &Activity,
        mut connection: Pin<&mut C>,
        graceful_shutdown: impl Fn(Pin<&mut C>),
    ) -> Poll<Over> {
        loop {
            if !self.asked_to_end && self.context.is_stopping() {
                let last = if self.streams.is_some() { activity.is_used() } else { activity.is_running() };
                if last {
                    self.asked_to_end = true;
                    graceful_shutdown(connection.as_mut());
                }
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(match ended {
                    Ok(()) => Over::Ended { asked: self.asked_to_end, idle: self.idle },
                    Err(_) => Over::Failed,
                });
            }
            let next = if is_ready(&mut self.closing, cx) {
                self.on_closing(activity)
            } else if self.streams.as_mut().is_some_and(|many| is_ready(&mut many.stopping, cx)) {
                Next::End
            } else if self.deadline.sleep.poll_unpin(cx).is_ready() {
                self.on_deadline(activity)
            } else {
                return Poll::Pending;
            };
            match next {
                Next::Continue => {}
                Next::End => {
                    self.asked_to_end = true;
                    graceful_shutdown(connection.as_mut());
                }
                Next::Cut => return Poll::Ready(Over::Cut),
            }
        }
    }

    fn on_closing(&mut self, activity: &Activity) -> Next {
        if !activity.is_used() {
            return Next::Cut; // only part of a first head: no request to answer
        }
        self.idle = !activity.is_running();
        if self.streams.is_some() && self.idle {
            // A client that does not react to GOAWAY is cut.
            (self.deadline, self.said_goodbye) = (Deadline::after(&self.context, GOODBYE), true);
        }
        Next::End
    }

    fn on_deadline(&mut self, activity: &Activity) -> Next {
        if !self.said_goodbye && self.deadline.is_late(&self.context) {
            self.deadline = Deadline::after(&self.context, PAUSE);
            return Next::Continue;
        }
        let now = self.context.runtime().now();
        if !self.takes(activity, now) {
            self.context.response_stalled();
            return Next::Cut;
        }
        let due = activity.due(&self.context);
        if due.is_none_or(|due| due > now) {
            let tick = self.tick();
            let next = due.map_or(tick, |due| tick.min(due.saturating_duration_since(now)));
            (self.deadline, self.said_goodbye) = (Deadline::after(&self.context, next), false);
            return Next::Continue;
        }
        if self.said_goodbye || !activity.is_used() {
            return Next::Cut;
        }
        (self.said_goodbye, self.idle) = (true, true);
        self.deadline = Deadline::after(&self.context, GOODBYE);
        Next::End
    }

    /// Returns `true` if the client has read something of its responses in time.
    fn takes(&mut self, activity: &Activity, now: Instant) -> bool {
        if let Some(many) = &self.streams {
            return many.streams.check(now);
        }
        match (activity.waiting(), self.waiting) {
            (Some(seen), Some((before, since))) if seen == before => {
                now.saturating_duration_since(since) < self.context.stall_timeout()
            }
            (seen, _) => {
                self.waiting = seen.map(|seen| (seen, now));
                true
            }
        }
    }

    /// Whatever starts meanwhile: checking again after this time is early enough.
    fn tick(&self) -> Duration {
        let context = &self.context;
        context.header_timeout().min(context.idle_timeout()).min(context.stall_timeout())
    }
}

/// Polls a future that is dropped once it is ready.
fn is_ready(closing: &mut Option<Closing>, cx: &mut Context<'_>) -> bool {
    let ready = closing.as_mut().is_some_and(|closing| closing.poll_unpin(cx).is_ready());
    if ready {
        *closing = None;
    }
    ready
}

/// What to do with a connection.
enum Next {
    Continue,
    /// It ends gracefully.
    End,
    Cut,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum Over {
    /// It ended by itself, or because it was asked to; `idle` if no request was running when it was asked.
    Ended { asked: bool, idle: bool },
    /// hyper failed. If it refused a head, it has answered it.
    Failed,
    /// It must be dropped.
    Cut,
}

impl Over {
    /// Returns `true` if the client may still be sending.
    pub(crate) fn is_worth_lingering(&self, activity: &Activity) -> bool {
        match *self {
            Self::Ended { asked: false, .. } => activity.left_unread(),
            Self::Ended { asked: true, idle } => activity.refused() && !idle,
            Self::Failed => true,
            Self::Cut => false,
        }
    }
}

/// A deadline and the sleep that waits for it.
struct Deadline {
    at: Instant,
    sleep: BoxFuture<'static, ()>,
}

impl Deadline {
    fn after(context: &ConnectionContext, time: Duration) -> Self {
        let at = context.runtime().now() + time;
        Self { at, sleep: context.runtime().sleep_until(at) }
    }

    /// Returns `true` if it fired so late that this process must have been stopped meanwhile.
    fn is_late(&self, context: &ConnectionContext) -> bool {
        context.runtime().now().saturating_duration_since(self.at) > PAUSE
    }
}
