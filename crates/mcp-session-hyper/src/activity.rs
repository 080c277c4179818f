//! [`Activity`]: what a connection is doing, and since when it is idle.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::Instant,
};

use http::Extensions;
use mcp_session_core::{ConnectionContext, DisconnectCancels, PeerAddr, Runtime, Work};

/// Counts the requests of a connection, from their head to the end of their response.
#[derive(Debug)]
pub(crate) struct Activity {
    runtime: Arc<dyn Runtime>,
    work: Work,
    /// HTTP/1.1: how often a response body was polled, and in the lowest bit whether the last poll was ready.
    progress: AtomicU64,
    /// Set by the endpoint if a disconnect cancels the request.
    cancels: DisconnectCancels,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests whose response is not complete.
    running: usize,
    /// Running requests without a response head yet.
    unanswered: usize,
    /// Running requests with a response head, except GET streams: their client waits for the end.
    answering: usize,
    used: bool,
    idle_since: Instant,
    /// When the first bytes of the next head came.
    head_since: Option<Instant>,
    /// The last request had a body, which may not have been read.
    unread: bool,
    /// The last request had a body, and its response was no success.
    refused: bool,
    /// Woken when the end of the input need not be held back any longer.
    reader: Option<Waker>,
}

impl Activity {
    /// Creates the state of a connection that has had no request yet.
    pub(crate) fn new(runtime: &Arc<dyn Runtime>, work: Work) -> Arc<Self> {
        let state = State {
            running: 0,
            unanswered: 0,
            answering: 0,
            used: false,
            idle_since: runtime.now(),
            head_since: None,
            unread: false,
            refused: false,
            reader: None,
        };
        let (runtime, progress) = (Arc::clone(runtime), AtomicU64::new(0));
        let cancels = DisconnectCancels::default();
        Arc::new(Self { runtime, work, progress, cancels, state: Mutex::new(state) })
    }

    /// Notes that the protocol is known: the first head has its time from now on.
    pub(crate) fn begins(&self) {
        let now = self.runtime.now();
        self.with(|state| state.idle_since = now);
    }

    /// Counts a new request, which waits for the application. The request ends when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, is_get: bool) -> Busy {
        self.with(|state| {
            if state.running == 0 {
                self.cancels.reset();
            }
            state.running += 1;
            state.unanswered += 1;
            (state.used, state.head_since) = (true, None);
            (state.unread, state.refused) = (false, false);
        });
        self.work.begin();
        Busy { activity: Arc::clone(self), is_get, answered: false, waits: AtomicBool::new(true) }
    }

    /// Adds what the endpoint gets with each request.
    pub(crate) fn extend(&self, extensions: &mut Extensions, peer: Option<PeerAddr>) {
        extensions.insert(self.cancels.clone());
        if let Some(peer) = peer {
            extensions.insert(peer);
        }
    }

    /// Notes that bytes were received. Between two requests, they start a head.
    pub(crate) fn heard(&self) {
        self.with(|state| {
            if state.running == 0 && state.head_since.is_none() {
                state.head_since = Some(self.runtime.now());
            }
        });
    }

    /// Notes that a body was polled, and whether it was ready.
    pub(crate) fn polled(&self, ready: bool) {
        // No race: only one body is written at a time.
        let polls = self.progress.load(Relaxed) >> 1;
        self.progress.store(polls.wrapping_add(1) << 1 | u64::from(ready), Relaxed);
    }

    /// Returns a value that changes with each poll of the response body, or `None` if nothing waits to be written.
    pub(crate) fn waiting(&self) -> Option<u64> {
        let progress = self.progress.load(Relaxed);
        (progress & 1 == 1).then_some(progress)
    }

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// Returns `true` if there was ever a request.
    pub(crate) fn is_used(&self) -> bool {
        self.with(|state| state.used)
    }

    /// Returns `true` if a request is running.
    pub(crate) fn is_running(&self) -> bool {
        self.with(|state| state.running > 0)
    }

    /// Returns `true` if the last request had a body, which may not have been read.
    pub(crate) fn left_unread(&self) -> bool {
        self.with(|state| state.unread)
    }

    /// Returns `true` if the last request had a body and its response was no success.
    pub(crate) fn refused(&self) -> bool {
        self.with(|state| state.refused)
    }

    /// Returns the time by which a request must arrive, or `None` while one is running.
    pub(crate) fn due(&self, context: &ConnectionContext) -> Option<Instant> {
        self.with(|state| match (state.running, state.head_since) {
            (1.., _) => None,
            (0, Some(since)) if state.used => Some(since + context.header_timeout()),
            (0, _) if !state.used => Some(state.idle_since + context.header_timeout()),
            (0, _) => Some(state.idle_since + context.idle_timeout()),
        })
    }

    /// Returns `true` if the end of the input must be held back for earlier requests. A read error is held back only for
    /// requests without a response head; a clean end also for responses that the client may still read. Nothing is held back
    /// once the endpoint has a request that a disconnect cancels. `waker` is woken when that may have changed.
    pub(crate) fn holds_end(&self, failed: bool, waker: &Waker) -> bool {
        if self.cancels.is_set(waker) {
            return false;
        }
        self.with(|state| {
            let holds = state.unanswered > 0 || !failed && state.answering > 0;
            state.reader = holds.then(|| waker.clone());
            holds
        })
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request that is running.
#[derive(Debug)]
pub(crate) struct Busy {
    activity: Arc<Activity>,
    is_get: bool,
    answered: bool,
    /// Whether it waits for the application, not for its client.
    waits: AtomicBool,
}

impl Busy {
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Sets whether it waits for the application (`true`) or for its client (`false`).
    pub(crate) fn waits(&self, waits: bool) {
        // No race: only the owner of the body calls this.
        if self.waits.load(Relaxed) != waits {
            self.waits.store(waits, Relaxed);
            if waits {
                self.activity.work.begin();
            } else {
                self.activity.work.end();
            }
        }
    }

    /// Notes that the request has a response. `unread`: the request had a body; `refused`: and the response is no success.
    pub(crate) fn answered(&mut self, unread: bool, refused: bool) {
        self.answered = true;
        self.waits(false); // from now on the client must read
        let waiting = self.activity.with(|state| {
            state.unanswered -= 1;
            state.answering += usize::from(!self.is_get);
            (state.unread, state.refused) = (unread, refused);
            state.reader.take()
        });
        wake(waiting);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.waits(false);
        let now = self.activity.runtime.now();
        self.activity.progress.store(0, Relaxed);
        let waiting = self.activity.with(|state| {
            (state.running, state.idle_since) = (state.running - 1, now);
            match (self.answered, self.is_get) {
                (false, _) => state.unanswered -= 1,
                (true, false) => state.answering -= 1,
                (true, true) => {}
            }
            state.reader.take()
        });
        wake(waiting);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc, task::Waker};

    use futures::FutureExt;
    use http::Request;
    use mcp_session_core::{Endpoint, Router, RpcError, Runtime, Work};
    use mcp_session_testkit::SimRuntime;

    use super::Activity;

    /// The end of the input is held back for a request until the endpoint has admitted it without a session.
    #[test]
    fn g_30_e_30_a_disconnect_that_cancels_is_not_held_back() {
        let sim = SimRuntime::new(0);
        let router = Router::new("hangs", "1.0.0")
            .request("hang", |_| async { pending::<Result<(), RpcError>>().await });
        let endpoint = Endpoint::new(sim.clone(), router);
        let runtime: Arc<dyn Runtime> = Arc::new(sim);
        let activity = Activity::new(&runtime, Work::default());
        let start = |body: &str| {
            let busy = activity.begin(false);
            let mut request = Request::post("/mcp")
                .header("host", "localhost")
                .header("content-type", "application/json")
                .header("accept", "application/json, text/event-stream")
                .body(body.to_owned())
                .expect("a request");
            activity.extend(request.extensions_mut(), None);
            assert!(activity.holds_end(false, Waker::noop()) && activity.holds_end(true, Waker::noop()));
            let mut handled = Box::pin(endpoint.handle(request));
            let response = handled.as_mut().now_or_never();
            (busy, handled, response)
        };
        let (busy, handled, response) = start(r#"{"jsonrpc":"2.0","id":1,"method":"hang"}"#);
        assert!(response.is_none() && !activity.holds_end(false, Waker::noop()));
        drop((busy, handled));
        // The next request of the connection is held back for again, as one whose client may still read.
        let (_busy, _handled, response) = start(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#);
        assert!(response.is_some() && activity.holds_end(false, Waker::noop()));
    }
}
