//! [`Activity`]: what a connection is doing, and since when it has had nothing to do.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::Instant,
};

use mcp_session_core::{ConnectionContext, Runtime, Work};

/// Counts the requests of a connection, from their head to the end of their response.
#[derive(Debug)]
pub(crate) struct Activity {
    runtime: Arc<dyn Runtime>,
    work: Work,
    /// How often the response of an HTTP/1.1 connection was asked for more, and in the lowest bit whether it had some.
    progress: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests whose response is not complete.
    running: usize,
    /// Of these, those whose response has no head yet.
    unanswered: usize,
    /// Of the others, those that are no streams of their own (GET): their client waits for the end.
    answering: usize,
    used: bool,
    idle_since: Instant,
    /// Since when the next head is coming.
    head_since: Option<Instant>,
    /// The request of the last response had a body, which may not have been read.
    unread: bool,
    /// The last response was to one with a body, and was no success.
    refused: bool,
    /// Who waits at the end of the input until a request is done.
    reader: Option<Waker>,
}

impl Activity {
    /// A connection that has had no request yet.
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
        Arc::new(Self { runtime, work, progress, state: Mutex::new(state) })
    }

    /// A request has come, and waits for the application. It is over when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, is_get: bool) -> Busy {
        self.with(|state| {
            state.running += 1;
            state.unanswered += 1;
            (state.used, state.head_since) = (true, None);
            (state.unread, state.refused) = (false, false);
        });
        self.work.begin();
        Busy { activity: Arc::clone(self), is_get, answered: false, waits: AtomicBool::new(true) }
    }

    /// Bytes have come. Between two requests, they begin a head.
    pub(crate) fn heard(&self) {
        self.with(|state| {
            if state.running == 0 && state.head_since.is_none() {
                state.head_since = Some(self.runtime.now());
            }
        });
    }

    /// A body was polled: whether it had something to write.
    pub(crate) fn polled(&self, ready: bool) {
        // Written by the one body at a time.
        let polls = self.progress.load(Relaxed) >> 1;
        self.progress.store(polls.wrapping_add(1) << 1 | u64::from(ready), Relaxed);
    }

    /// Something that changes whenever the response is asked for more, if it has something that waits to be written.
    pub(crate) fn waiting(&self) -> Option<u64> {
        let progress = self.progress.load(Relaxed);
        (progress & 1 == 1).then_some(progress)
    }

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// Whether there was ever a request.
    pub(crate) fn is_used(&self) -> bool {
        self.with(|state| state.used)
    }

    /// Whether a request is running.
    pub(crate) fn is_running(&self) -> bool {
        self.with(|state| state.running > 0)
    }

    /// Whether the last request had a body, which may not have been read.
    pub(crate) fn left_unread(&self) -> bool {
        self.with(|state| state.unread)
    }

    /// Whether that was refused.
    pub(crate) fn refused(&self) -> bool {
        self.with(|state| state.refused)
    }

    /// Until when there has to be a request, if none is running.
    pub(crate) fn due(&self, context: &ConnectionContext) -> Option<Instant> {
        self.with(|state| match (state.running, state.head_since) {
            (1.., _) => None,
            (0, Some(since)) if state.used => Some(since + context.header_timeout()),
            (0, _) if !state.used => Some(state.idle_since + context.header_timeout()),
            (0, _) => Some(state.idle_since + context.idle_timeout()),
        })
    }

    /// Whether the end of the input has to wait for requests that came before it. A failure has only to wait for what
    /// nobody has looked at yet, an end also for what its client may still read. The waker is called when that may change.
    pub(crate) fn holds_end(&self, failed: bool, waker: &Waker) -> bool {
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
    /// For the application, as against its client.
    waits: AtomicBool,
}

impl Busy {
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Whether it waits for the application, as against its client.
    pub(crate) fn waits(&self, waits: bool) {
        // Only whoever has the body says so.
        if self.waits.load(Relaxed) != waits {
            self.waits.store(waits, Relaxed);
            if waits {
                self.activity.work.begin();
            } else {
                self.activity.work.end();
            }
        }
    }

    /// There is a response; `unread` if its request had a body, and `refused` if that was no success.
    pub(crate) fn answered(&mut self, unread: bool, refused: bool) {
        self.answered = true;
        self.waits(false); // what there is of it can be written
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
