//! [`Streams`]: what waits on an HTTP/2 connection for its client to take it.

use std::{
    collections::HashMap,
    future::poll_fn,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{FutureExt, task::AtomicWaker};
use mcp_session_core::{BoxFuture, ConnectionContext};

use crate::{BoxError, activity::Busy, body::Keep};

/// How many times what may wait is there before an answer is given up: requests that were let in before that bound was reached
/// may all be answered at once.
const SURPLUS: usize = 4;

/// How long requests wait when too much waits already and their client takes nothing of it. Then they are refused: whoever
/// reads at all has taken some in that time.
const WAIT: Duration = Duration::from_secs(1);

/// Why a stream is reset that was not looked at: its client may try again.
pub(crate) fn refused() -> BoxError {
    h2::Error::from(h2::Reason::REFUSED_STREAM).into()
}

/// The streams of one HTTP/2 connection. A window that stays closed would hold their answers for ever.
pub(crate) struct Streams {
    context: ConnectionContext,
    /// Bytes of responses that have not left yet.
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    open: HashMap<u64, (Arc<Stream>, Seen)>,
    /// The last one that began, until it has a task.
    fresh: Option<Arc<Stream>>,
    held: Vec<Waker>,
    /// When something of it was taken, or it became too much, while too much waited.
    full_since: Option<Instant>,
}

/// What was seen of a stream, and when it was seen for the first time.
#[derive(Default)]
struct Seen {
    taken: usize,
    since: Option<Instant>,
}

/// One stream.
#[derive(Default)]
pub(crate) struct Stream {
    number: u64,
    waiting: AtomicUsize,
    /// How often something of it has left.
    taken: AtomicUsize,
    cut: AtomicBool,
    task: AtomicWaker,
}

impl Stream {
    /// Runs the task of this stream, until it is cut: hyper resets a stream whose task is dropped.
    pub(crate) async fn run(self: Arc<Self>, task: impl Future<Output = ()>) {
        let mut task = std::pin::pin!(task);
        poll_fn(|cx| {
            self.task.register(cx.waker());
            if self.cut.load(SeqCst) { Poll::Ready(()) } else { task.as_mut().poll(cx) }
        })
        .await;
    }
}

impl Streams {
    pub(crate) fn new(context: &ConnectionContext) -> Arc<Self> {
        let (context, state) = (context.clone(), Mutex::default());
        Arc::new(Self { context, waiting: AtomicUsize::new(0), state })
    }

    /// A request has come on a stream of its own.
    pub(crate) fn begin(self: &Arc<Self>) -> Entry {
        let stream = self.with(|state| {
            let number = state.next;
            state.next += 1;
            let stream = Arc::new(Stream { number, ..Stream::default() });
            state.open.insert(number, (Arc::clone(&stream), Seen::default()));
            state.fresh = Some(Arc::clone(&stream));
            stream
        });
        Entry { streams: Arc::clone(self), stream }
    }

    /// The stream that has just begun: hyper calls the service, and spawns what comes of it.
    pub(crate) fn take_fresh(&self) -> Option<Arc<Stream>> {
        self.with(|state| state.fresh.take())
    }

    /// Whether so much waits that the next requests have to.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.load(SeqCst) >= self.limit()
    }

    /// Waits until it is not. False if the client takes nothing: then the request is counted, and refused.
    pub(crate) async fn room(&self) -> bool {
        let runtime = self.context.runtime();
        let mut sleep: Option<(Instant, BoxFuture<'static, ()>)> = None;
        let room = poll_fn(|cx| {
            loop {
                if !self.is_full() {
                    return Poll::Ready(true);
                }
                let now = runtime.now();
                let until = self.with(|state| {
                    state.held.retain(|waker| !waker.will_wake(cx.waker()));
                    state.held.push(cx.waker().clone());
                    *state.full_since.get_or_insert(now) + WAIT
                });
                // It may have been taken before anybody was there to be woken.
                if !self.is_full() {
                    return Poll::Ready(true);
                }
                if until <= now {
                    return Poll::Ready(false);
                }
                let (at, sleeps) = sleep.get_or_insert_with(|| (until, runtime.sleep_until(until)));
                if *at != until {
                    (*at, *sleeps) = (until, runtime.sleep_until(until));
                }
                ready!(sleeps.poll_unpin(cx));
                sleep = None;
            }
        })
        .await;
        if !room {
            self.context.response_stalled();
        }
        room
    }

    /// Whether a response of at least so many bytes may wait with the others. It is counted if not.
    pub(crate) fn admits(&self, bytes: u64) -> bool {
        let waiting = self.waiting.load(SeqCst) as u64;
        let limit = self.context.send_backlog().saturating_mul(SURPLUS) as u64;
        let admits = waiting == 0 || waiting.saturating_add(bytes) <= limit;
        if !admits {
            self.context.response_stalled();
        }
        admits
    }

    /// Resets streams of which nothing was taken for the time that they are given. False if there is one that cannot be
    /// reset, because all of it is in hyper's hands.
    pub(crate) fn check(&self, now: Instant) -> bool {
        let timeout = self.context.stall_timeout();
        let (mut stalled, mut hopeless) = (Vec::new(), false);
        self.with(|state| {
            for (stream, seen) in state.open.values_mut() {
                let (waiting, taken) = (stream.waiting.load(SeqCst), stream.taken.load(SeqCst));
                match seen.since {
                    _ if waiting == 0 => *seen = Seen { taken, since: None },
                    Some(since) if seen.taken == taken => {
                        if now.saturating_duration_since(since) < timeout {
                            continue;
                        }
                        seen.since = Some(now);
                        if stream.cut.swap(true, SeqCst) {
                            hopeless = true;
                        } else {
                            stalled.push(Arc::clone(stream));
                        }
                    }
                    Some(_) | None => *seen = Seen { taken, since: Some(now) },
                }
            }
        });
        for stream in stalled {
            self.context.response_stalled();
            stream.task.wake();
        }
        !hopeless
    }

    fn wait(&self, stream: &Stream, bytes: usize) {
        stream.waiting.fetch_add(bytes, SeqCst);
        let limit = self.limit();
        let before = self.waiting.fetch_add(bytes, SeqCst);
        if before < limit && before.saturating_add(bytes) >= limit {
            let now = self.context.runtime().now();
            self.with(|state| state.full_since = Some(now));
        }
    }

    fn take(&self, stream: &Stream, bytes: usize) {
        stream.waiting.fetch_sub(bytes, SeqCst);
        stream.taken.fetch_add(1, SeqCst);
        let limit = self.limit();
        let before = self.waiting.fetch_sub(bytes, SeqCst);
        if before < limit || bytes == 0 {
            return;
        }
        if before - bytes < limit {
            self.with(|state| mem::take(&mut state.held)).into_iter().for_each(Waker::wake);
        } else {
            let now = self.context.runtime().now();
            self.with(|state| state.full_since = Some(now));
        }
    }

    fn limit(&self) -> usize {
        self.context.send_backlog().max(1)
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A stream's place among the others.
pub(crate) struct Entry {
    streams: Arc<Streams>,
    stream: Arc<Stream>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Its streams may be those of a connection that is being checked: nothing is dropped under the lock.
        let removed = self.streams.with(|state| state.open.remove(&self.stream.number));
        drop(removed);
    }
}

/// A response on its way: it is there until its last byte was written.
pub(crate) struct Sending {
    shared: Arc<Shared>,
    /// Of its bytes that count as waiting, those that nobody has asked for yet.
    unasked: usize,
}

struct Shared {
    entry: Entry,
    busy: Busy,
}

impl Sending {
    /// A response of at least so many bytes.
    pub(crate) fn new(entry: Entry, busy: Busy, bytes: u64) -> Self {
        let unasked = usize::try_from(bytes).unwrap_or(usize::MAX / 2);
        entry.streams.wait(&entry.stream, unasked);
        Self { shared: Arc::new(Shared { entry, busy }), unasked }
    }
}

impl Keep for Sending {
    fn piece(&mut self, data: Bytes) -> Bytes {
        if data.is_empty() {
            return data;
        }
        let counted = self.unasked.min(data.len());
        self.unasked -= counted;
        let Entry { streams, stream } = &self.shared.entry;
        streams.wait(stream, data.len() - counted);
        Bytes::from_owner(Piece { data, shared: Arc::clone(&self.shared) })
    }

    fn polled(&mut self, ready: bool) {
        self.shared.busy.waits(!ready);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let Entry { streams, stream } = &self.shared.entry;
        streams.take(stream, self.unasked);
    }
}

/// Some of a response, until it was written or given up.
struct Piece {
    data: Bytes,
    shared: Arc<Shared>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Entry { streams, stream } = &self.shared.entry;
        streams.take(stream, self.data.len());
    }
}
