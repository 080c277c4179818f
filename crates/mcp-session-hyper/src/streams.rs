//! [`Streams`]: response bytes of an HTTP/2 connection that its client has not taken yet.

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

/// Answers are given up above this many times the limit of waiting bytes: requests that were admitted before the limit was
/// reached may all be answered at once.
const SURPLUS: usize = 4;

/// How long a request waits while the limit of waiting bytes is reached and its client takes none of them. Then it is
/// refused: a client that reads at all takes some in that time.
const WAIT: Duration = Duration::from_secs(1);

/// The error that resets a stream whose request was not processed: its client may try again.
pub(crate) fn refused() -> BoxError {
    h2::Error::from(h2::Reason::REFUSED_STREAM).into()
}

/// The streams of one HTTP/2 connection: those whose client takes nothing are cut, because a window that stays closed would
/// hold their answers forever.
pub(crate) struct Streams {
    context: ConnectionContext,
    /// Response bytes that have not been sent yet.
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    open: HashMap<u64, (Arc<Stream>, Seen)>,
    /// The stream that began last, until it has a task.
    fresh: Option<Arc<Stream>>,
    held: Vec<Waker>,
    /// While the limit is reached: since when, or when bytes were last taken.
    full_since: Option<Instant>,
}

/// The progress of a stream as last seen, and when it was first seen.
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
    /// How often bytes of it were taken.
    taken: AtomicUsize,
    cut: AtomicBool,
    task: AtomicWaker,
}

impl Stream {
    /// Runs the task of this stream until the stream is cut: hyper resets a stream whose task is dropped.
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

    /// Registers a new request, which has its own stream.
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

    /// Takes the stream that has just begun: hyper calls the service, then spawns the task of the stream.
    pub(crate) fn take_fresh(&self) -> Option<Arc<Stream>> {
        self.with(|state| state.fresh.take())
    }

    /// Returns `true` if so many bytes wait that new requests must wait too.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.load(SeqCst) >= self.limit()
    }

    /// Waits until that is no longer so. Returns `false` if the client takes nothing; the request is counted as stalled and
    /// must be refused.
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
                // Bytes may have been taken before the waker was registered.
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

    /// Returns `true` if a response of at least `bytes` bytes may wait with the others; otherwise counts it as stalled.
    pub(crate) fn admits(&self, bytes: u64) -> bool {
        let waiting = self.waiting.load(SeqCst) as u64;
        let limit = self.context.send_backlog().saturating_mul(SURPLUS) as u64;
        let admits = waiting == 0 || waiting.saturating_add(bytes) <= limit;
        if !admits {
            self.context.response_stalled();
        }
        admits
    }

    /// Resets the streams of which nothing was taken for the stall timeout. Returns `false` if one of them cannot be reset
    /// because hyper already holds all of it.
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

/// The registration of a stream, removed on drop.
pub(crate) struct Entry {
    streams: Arc<Streams>,
    stream: Arc<Stream>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Dropped after the lock is released: the drop of a stream drops a waker, which may run other code.
        let removed = self.streams.with(|state| state.open.remove(&self.stream.number));
        drop(removed);
    }
}

/// A response that is being sent, until its last byte was written.
pub(crate) struct Sending {
    shared: Arc<Shared>,
    /// Bytes that count as waiting but have not been taken from the body yet.
    unasked: usize,
}

struct Shared {
    entry: Entry,
    busy: Busy,
}

impl Sending {
    /// Starts a response of at least `bytes` bytes.
    pub(crate) fn new(entry: Entry, busy: Busy, bytes: u64) -> Self {
        let unasked = usize::try_from(bytes).unwrap_or(usize::MAX / 2);
        entry.streams.wait(&entry.stream, unasked);
        Self { shared: Arc::new(Shared { entry, busy }), unasked }
    }
}

impl Keep for Sending {
    /// A frame of HTTP/2, as large as clients accept them: a piece waits until its last byte is sent, so a large one would
    /// count as waiting when nearly all of it is taken.
    const PIECE: usize = 16 * 1024;

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

/// A piece of a response, until it was written or given up.
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
