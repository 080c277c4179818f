//! [`Serve`]: accepts connections on any runtime, and shuts down without losing an answer.

use std::{
    fmt,
    future::{Future, IntoFuture, pending, poll_fn},
    io, mem,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use event_listener::{Event, EventListener};
use futures::{
    FutureExt, Stream, StreamExt,
    future::{BoxFuture, Either, join_all, select, select_all},
    stream::{self, BoxStream},
};
use mcp_session_proto::after;

use crate::{
    config::{
        ConfigError,
        check::{bytes, deadline},
    },
    contain::{self, Contained, Panicked},
    endpoint::Endpoint,
    runtime::Runtime,
    shutdown::{Shutdown, ShutdownPolicy, ShutdownReport},
    sync::lock,
    trace,
    transport::PeerAddr,
};

/// Minimum time for connections to flush, even at the ceiling.
const FLUSH: Duration = Duration::from_millis(100);

/// The pause after `accept` failed for lack of resources, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long after the first signal further signals count as the same stop. A wrapper, a cgroup and a process group
/// repeat a signal within milliseconds; a person who presses Ctrl-C again takes longer than a second.
const SIGNAL_WINDOW: Duration = Duration::from_secs(1);

/// The maximum number of repeated signals per stop. A future that is always ready must not keep the server busy.
const SAME_STOP: u32 = 16;

/// The longest timeout of a connection: longer ones overflow some clocks.
const FARTHEST: Duration = Duration::from_secs(86_400);

/// Serves one accepted connection to its end. Dropping the future cuts the connection.
pub type ServeConnection = Box<dyn FnOnce(ConnectionContext) -> BoxFuture<'static, ()> + Send>;

/// The former name of [`ServeConnection`].
#[deprecated(since = "0.1.0", note = "renamed to `ServeConnection`")]
pub type Connect = ServeConnection;

type Signal = Box<dyn FnMut() -> BoxFuture<'static, ()> + Send>;

/// The endpoints of a server: one, or several that shut down together. Converted from an [`Endpoint`], or from an array
/// or a `Vec` of them.
///
/// ```
/// # use mcp_session_core::{Endpoint, Endpoints, Router, Runtime};
/// # fn example(runtime: impl Runtime + Clone) {
/// let tools = Endpoint::new(runtime.clone(), Router::new("tools", "0.1.0"));
/// let admin = Endpoint::new(runtime, Router::new("admin", "0.1.0"));
/// let one: Endpoints = tools.clone().into();
/// let both: Endpoints = [tools, admin].into();
/// assert_eq!((one.len(), both.len()), (1, 2));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Endpoints(Arc<[Endpoint]>);

impl std::ops::Deref for Endpoints {
    type Target = [Endpoint];

    fn deref(&self) -> &[Endpoint] {
        &self.0
    }
}

impl From<Endpoint> for Endpoints {
    fn from(endpoint: Endpoint) -> Self {
        [endpoint].into()
    }
}

impl From<&Endpoint> for Endpoints {
    fn from(endpoint: &Endpoint) -> Self {
        endpoint.clone().into()
    }
}

impl<const N: usize> From<[Endpoint; N]> for Endpoints {
    fn from(endpoints: [Endpoint; N]) -> Self {
        Self(endpoints.into())
    }
}

impl From<Vec<Endpoint>> for Endpoints {
    fn from(endpoints: Vec<Endpoint>) -> Self {
        Self(endpoints.into())
    }
}

/// A server; await it to run it. An adapter's `serve` returns one. It completes when its endpoints have shut down, and
/// returns the report. When one of several endpoints starts to shut down, the others do too, with the same policy, so
/// that they share one ceiling; their reports are combined.
///
/// Connections are accepted as long as an endpoint drains, so that replies, cancels and DELETE arrive. Then
/// [`ConnectionContext::closing`] tells connections to close. A connection whose client does not read is dropped after
/// [`ShutdownPolicy::finish`]. A connection on which the application is still working, such as a download from another
/// route of the app, gets the rest of the whole budget. Dropped connections are counted in
/// [`ShutdownReport::connections_cut`]. Every connection gets at least 100 ms to flush, even at the ceiling.
///
/// # Cancel safety
///
/// Dropping the future cuts every connection. A shutdown of the endpoints that has begun continues.
///
/// ```
/// # use std::{io, sync::Arc};
/// # use futures::{FutureExt, stream};
/// # use mcp_session_core::{ServeConnection, Endpoint, Router, Runtime, Serve, ShutdownPolicy};
/// # async fn example(runtime: impl Runtime) -> io::Result<()> {
/// // An adapter passes the connections of a listener: here one client, which sends nothing and waits for the end.
/// let endpoint = Endpoint::new(runtime, Router::new("greeter", "0.1.0"));
/// let idle: ServeConnection = Box::new(|context| async move { context.closing().await }.boxed());
/// let server = Serve::new(endpoint.clone(), stream::iter([Ok(idle)]));
///
/// endpoint.shutdown(ShutdownPolicy::default());
/// let report = server.await?;
/// assert!(report.is_clean() && report.connections_cut == 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a server does nothing unless it is awaited"]
pub struct Serve {
    endpoints: Endpoints,
    incoming: BoxStream<'static, io::Result<ServeConnection>>,
    policy: ShutdownPolicy,
    limits: Limits,
    signals: Signals,
}

impl Serve {
    /// For adapters: creates a server of the connections that `incoming` yields. Errors are logged, and accepting
    /// continues after a pause. `incoming` is polled as long as the server accepts, then dropped together with its
    /// listener.
    pub fn new(
        endpoints: impl Into<Endpoints>,
        incoming: impl Stream<Item = io::Result<ServeConnection>> + Send + 'static,
    ) -> Self {
        Self {
            endpoints: endpoints.into(),
            incoming: incoming.chain(stream::pending()).boxed(),
            policy: ShutdownPolicy::default(),
            limits: Limits::DEFAULT,
            signals: Signals::none(),
        }
    }

    /// Shuts down when the future returned by `signal` is ready. `signal` is then called again; each further ready
    /// future escalates, and the last one cuts the remaining connections. The first call happens in this method. Without
    /// a signal, the server runs until [`Endpoint::shutdown`] is called.
    ///
    /// Signals within a second of the first one count as the same stop, because a wrapper, a process group or a
    /// `preStop` hook often sends it twice: see [`with_signal_window`](Self::with_signal_window).
    pub fn with_graceful_shutdown<F: Future<Output = ()> + Send + 'static>(
        mut self,
        mut signal: impl FnMut() -> F + Send + 'static,
    ) -> Self {
        let next = signal();
        self.signals.next = Contained::new(|| next.boxed());
        self.signals.again = Box::new(move || Box::pin(signal()));
        self
    }

    /// The former name of [`Serve::with_graceful_shutdown`].
    #[deprecated(since = "0.1.0", note = "renamed to `with_graceful_shutdown`")]
    pub fn with_shutdown<F: Future<Output = ()> + Send + 'static>(
        self,
        signal: impl FnMut() -> F + Send + 'static,
    ) -> Self {
        self.with_graceful_shutdown(signal)
    }

    /// Sets how long after the first signal further signals count as the same stop instead of escalating. 1 second by
    /// default: automatic repetitions follow within milliseconds, and a person takes longer. Zero: each signal escalates.
    pub fn with_signal_window(mut self, window: Duration) -> Self {
        self.signals.window = window;
        self
    }

    /// Sets how long the phases of the shutdown may take.
    pub fn with_policy(self, policy: ShutdownPolicy) -> Self {
        Self { policy, ..self }
    }

    /// Sets how long a request head may take from its first byte to its last. The first head of a connection is timed
    /// from the start of the connection, so that a silent client is bounded too. At least a millisecond, else the server
    /// refuses to start; at most a day. 30 seconds by default: a head is a packet or two, and a client that takes longer
    /// holds a connection for nothing.
    ///
    /// An HTTP/2 connection has many heads: this bounds the first one, and [`Serve::with_idle_timeout`] the others.
    pub fn with_header_timeout(mut self, timeout: Duration) -> Self {
        self.limits.header_timeout = timeout.min(FARTHEST);
        self
    }

    /// Sets how long a connection may stay open without a request. At least a millisecond, else the server refuses to
    /// start; at most a day. 75 seconds by default: load balancers keep connections for 60 seconds, and a client that
    /// reuses a connection while the server closes it loses a request.
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = timeout.min(FARTHEST);
        self
    }

    /// Sets the maximum length of a request head in bytes; a longer one gets 431 and closes the connection. At least
    /// 8 KiB. 64 KiB by default: what hyper reads at a time, and several times what cookies and tokens need. HTTP/2, which
    /// may have one head per stream, accepts at most 16 KiB each.
    pub fn with_head_limit(mut self, bytes: usize) -> Self {
        self.limits.head_limit = bytes.max(8 * 1024);
        self
    }

    /// Sets the maximum number of concurrent requests of an HTTP/2 connection, GET streams included. At least one. 200 by
    /// default, as in hyper; RFC 9113 recommends at least 100 (6.5.2). A gateway that keeps a GET stream per user on one
    /// connection needs more. Each stream may hold 128 KiB that its client does not read.
    pub fn with_max_streams(mut self, streams: u32) -> Self {
        self.limits.max_streams = streams.max(1);
        self
    }

    /// Sets how long a response may wait for its client to read some of it. Then its HTTP/2 stream is reset or its
    /// HTTP/1.1 connection closed, and [`Stats::responses_stalled`](crate::Stats::responses_stalled) counts it. A response
    /// with nothing to write, such as a quiet GET stream, does not wait. At least a millisecond, else the server refuses
    /// to start; at most a day. 60 seconds by default: as long as the kernel waits for a client that acknowledges nothing.
    pub fn with_stall_timeout(mut self, timeout: Duration) -> Self {
        self.limits.stall_timeout = timeout.min(FARTHEST);
        self
    }

    /// Sets how many bytes of answers may wait on an HTTP/2 connection. While that many wait, its next requests are not
    /// processed, and are refused (`REFUSED_STREAM`) if the client reads nothing for a second. An answer that would raise the
    /// total to four times the limit resets its stream. At least one byte, which lets one answer wait. 16 MiB by default:
    /// a few of the largest answers that clients get.
    pub fn with_send_backlog(mut self, bytes: usize) -> Self {
        self.limits.send_backlog = bytes;
        self
    }

    /// Sets for how long, and how many bytes, to keep reading after the response to a request that was not read to its
    /// end. Otherwise the socket would be reset because of unread bytes, and the response could be lost. The bytes are
    /// discarded. Zero closes the connection at once. By default 30 seconds, but only 5 seconds without new bytes, as in
    /// nginx, and 64 MiB: twice the largest upload that anybody would allow. In a shutdown much shorter: with the
    /// hyper adapters at most 200 ms from its beginning, with async-std at most 50 ms once connections must close.
    pub fn with_linger(mut self, timeout: Duration, bytes: u64) -> Self {
        self.limits.linger = (timeout.min(FARTHEST), bytes);
        self
    }

    /// Sets how many bytes the kernel may buffer for a client that does not read. 256 KiB by default: buffered bytes have
    /// left the session's bounded queue and their delivery is unknown, so it should not be megabytes.
    pub fn with_send_buffer(mut self, bytes: usize) -> Self {
        self.limits.send_buffer = bytes;
        self
    }

    async fn run(mut self) -> io::Result<ShutdownReport> {
        let Some(first) = self.endpoints.first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a server needs an endpoint"));
        };
        self.limits.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let runtime = Arc::clone(first.runtime());
        let connections = Connections::new(self.limits);
        let mut report = self.accept(&runtime, &connections).await;
        let Self { endpoints, policy, incoming, mut signals, .. } = self;
        drop(incoming); // and with it the listener

        // Every answer and every end of stream has been handed over: connections flush and close.
        let now = runtime.now();
        let (mut ceiling, mut whole) = (now, now);
        for endpoint in endpoints.iter() {
            let shutdown = endpoint.shutdown(policy);
            (ceiling, whole) = (ceiling.max(shutdown.ceiling()), whole.max(shutdown.whole_ceiling()));
        }
        let finish = policy.finish.min(ceiling.saturating_duration_since(now)).max(FLUSH);
        lock(&connections.shared.counts).finish = finish;
        connections.shared.enter(Stage::Closing);
        // A connection whose client does not read has until `finish`; one on which the application is working has the rest.
        for (until, then) in [(now + finish, Stage::Stalled), (whole.max(now + finish), Stage::Cut)] {
            let time = runtime.sleep_until(until);
            let signal = poll_fn(|cx| signals.poll_next(cx, &runtime));
            match select(connections.all_ended().boxed(), select(time, signal)).await {
                Either::Left(_) | Either::Right((Either::Right(_), _)) => break,
                Either::Right((Either::Left(_), _)) => connections.shared.enter(then),
            }
        }
        let counts = lock(&connections.shared.counts);
        report.connections_cut = (counts.cut + counts.live) as u64;
        Ok(report)
    }

    async fn accept(&mut self, runtime: &Arc<dyn Runtime>, connections: &Connections) -> ShutdownReport {
        let Self { endpoints, incoming, policy, signals, .. } = self;
        let mut closed = join_all(endpoints.iter().map(|endpoint| endpoint.closed().boxed())).boxed();
        // The shutdown of one endpoint starts that of all.
        let mut begun = select_all(endpoints.iter().map(|endpoint| endpoint.shutdown_begun().boxed())).fuse();
        let mut pause: Option<BoxFuture<'static, ()>> = None;
        let mut signalled = false;
        loop {
            let news = poll_fn(|cx| {
                if let Poll::Ready(reports) = closed.poll_unpin(cx) {
                    return Poll::Ready(News::Closed(reports));
                }
                if signals.poll_next(cx, runtime).is_ready() {
                    return Poll::Ready(News::Signal);
                }
                if let Poll::Ready((shutdown, ..)) = begun.poll_unpin(cx) {
                    connections.shared.enter(Stage::Stopping);
                    return Poll::Ready(News::Begun(shutdown));
                }
                if let Some(until) = &mut pause {
                    ready!(until.poll_unpin(cx));
                    pause = None;
                }
                let accepted = contain::call(|| incoming.poll_next_unpin(cx)).unwrap_or_else(|Panicked| {
                    Poll::Ready(Some(Err(io::Error::other("the listener panicked"))))
                });
                accepted.map(|accepted| accepted.map_or(News::Idle, News::Accepted))
            });
            match news.await {
                News::Closed(reports) => return ShutdownReport::sum(reports),
                News::Signal => {
                    let shutdowns: Vec<_> =
                        endpoints.iter().map(|endpoint| endpoint.shutdown(*policy)).collect();
                    if mem::replace(&mut signalled, true) {
                        escalate(&shutdowns);
                    }
                }
                News::Begun(shutdown) => {
                    let policy = shutdown.policy();
                    endpoints.iter().for_each(|endpoint| drop(endpoint.shutdown(policy)));
                }
                News::Accepted(Ok(connect)) => connections.spawn(endpoints, connect),
                News::Accepted(Err(error)) => {
                    trace::accept_failed(&error);
                    if !is_the_clients(&error) {
                        pause = Some(runtime.sleep_until(runtime.now() + ACCEPT_PAUSE));
                    }
                }
                News::Idle => {}
            }
        }
    }
}

/// Ends the current phase of the endpoints that are furthest behind, so that all go through the phases together.
fn escalate(shutdowns: &[Shutdown]) {
    let present = shutdowns.iter().map(Shutdown::phase).min();
    shutdowns.iter().filter(|shutdown| Some(shutdown.phase()) == present).for_each(Shutdown::escalate);
}

/// The signals that stop the server.
struct Signals {
    next: Contained<BoxFuture<'static, ()>>,
    again: Signal,
    window: Duration,
    /// There was a signal.
    begun: bool,
    /// Until when further signals count as the same stop, and how many there were.
    same_stop: Option<(BoxFuture<'static, ()>, u32)>,
}

impl Signals {
    fn none() -> Self {
        Self {
            next: Contained::new(|| pending().boxed()),
            again: Box::new(|| Box::pin(pending())),
            window: SIGNAL_WINDOW,
            begun: false,
            same_stop: None,
        }
    }

    /// Ready at the first signal, and at each later one that is not part of the same stop.
    fn poll_next(&mut self, cx: &mut Context<'_>, runtime: &Arc<dyn Runtime>) -> Poll<()> {
        loop {
            if self.same_stop.as_mut().is_some_and(|(over, _)| over.poll_unpin(cx).is_ready()) {
                self.same_stop = None;
            }
            match &mut self.same_stop {
                Some((_, count)) if *count >= SAME_STOP => return Poll::Pending,
                Some((_, count)) => {
                    ready!(poll_signal(&mut self.next, &mut self.again, cx));
                    *count += 1;
                    trace::signal_repeated();
                }
                None => {
                    ready!(poll_signal(&mut self.next, &mut self.again, cx));
                    if !mem::replace(&mut self.begun, true) && !self.window.is_zero() {
                        self.same_stop = Some((runtime.sleep_until(after(runtime.now(), self.window)), 0));
                    }
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// Ready at the next signal; then starts to wait for the one after it. If the wait panics, there are no further signals:
/// the server continues, and stops when its endpoint does.
fn poll_signal(
    next: &mut Contained<BoxFuture<'static, ()>>,
    again: &mut Signal,
    cx: &mut Context<'_>,
) -> Poll<()> {
    match ready!(next.poll_unpin(cx)) {
        Ok(()) => {
            *next = Contained::new(again);
            Poll::Ready(())
        }
        Err(Panicked) => {
            trace::panicked("the future of the shutdown signal");
            *next = Contained::new(|| pending().boxed());
            Poll::Pending
        }
    }
}

enum News {
    Closed(Vec<ShutdownReport>),
    Signal,
    Begun(Shutdown),
    Accepted(io::Result<ServeConnection>),
    Idle,
}

/// Returns `true` if `accept` failed because of the accepted client: the next one is not affected.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl IntoFuture for Serve {
    /// Fails with [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no endpoint, or if a limit cannot work, such
    /// as a timeout of zero (with a [`ConfigError`]). There are no other errors.
    type Output = io::Result<ShutdownReport>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("policy", &self.policy)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The limits of connections.
#[derive(Debug, Clone, Copy)]
struct Limits {
    header_timeout: Duration,
    idle_timeout: Duration,
    head_limit: usize,
    max_streams: u32,
    stall_timeout: Duration,
    send_backlog: usize,
    linger: (Duration, u64),
    send_buffer: usize,
}

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        const AT_ONCE: &str = "every connection would be closed at once";
        deadline("Serve::with_header_timeout", self.header_timeout, AT_ONCE)?;
        deadline("Serve::with_idle_timeout", self.idle_timeout, AT_ONCE)?;
        deadline("Serve::with_stall_timeout", self.stall_timeout, "no response could be written in time")?;
        bytes("Serve::with_send_backlog", self.send_backlog, 1, "no request would ever be read")
    }

    const DEFAULT: Self = Self {
        header_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(75),
        head_limit: 64 * 1024,
        max_streams: 200,
        stall_timeout: Duration::from_secs(60),
        send_backlog: 16 * 1024 * 1024,
        linger: (Duration::from_secs(30), 64 * 1024 * 1024),
        send_buffer: 256 * 1024,
    };
}

/// The limits, peer and shutdown signals of a connection, for adapters.
#[derive(Clone)]
pub struct ConnectionContext {
    endpoints: Endpoints,
    peer: Option<SocketAddr>,
    shared: Arc<Shared>,
    work: Work,
}

impl ConnectionContext {
    /// The runtime of the endpoint; of the first one, if there are several.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        self.endpoints[0].runtime()
    }

    /// Counts the requests of the connection that wait for the application.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// The peer address, if [`ConnectionContext::with_peer_addr`] has set it.
    pub fn peer_addr(&self) -> Option<PeerAddr> {
        self.peer.map(PeerAddr)
    }

    /// For adapters: sets the peer address.
    #[must_use]
    pub fn with_peer_addr(self, addr: Option<SocketAddr>) -> Self {
        Self { peer: addr, ..self }
    }

    /// Returns `true` if an endpoint is shutting down. An HTTP/1.1 connection should then close together with the end of
    /// the response that it is writing: otherwise the client may already have sent the next request on it.
    pub fn is_stopping(&self) -> bool {
        self.shared.has_reached(Stage::Stopping) || self.endpoints.iter().any(|endpoint| !endpoint.is_ready())
    }

    /// Waits until an endpoint starts to shut down, at `LameDuck` or `Draining`: the time to send GOAWAY to an HTTP/2
    /// client. Its open streams continue.
    pub fn stopping(&self) -> Closing {
        Closing::new(&self.shared, Stage::Stopping)
    }

    /// See [`Serve::with_header_timeout`].
    pub fn header_timeout(&self) -> Duration {
        self.shared.limits.header_timeout
    }

    /// See [`Serve::with_idle_timeout`].
    pub fn idle_timeout(&self) -> Duration {
        self.shared.limits.idle_timeout
    }

    /// See [`Serve::with_head_limit`].
    pub fn head_limit(&self) -> usize {
        self.shared.limits.head_limit
    }

    /// See [`Serve::with_max_streams`].
    pub fn max_streams(&self) -> u32 {
        self.shared.limits.max_streams
    }

    /// See [`Serve::with_stall_timeout`].
    pub fn stall_timeout(&self) -> Duration {
        self.shared.limits.stall_timeout
    }

    /// See [`Serve::with_send_backlog`].
    pub fn send_backlog(&self) -> usize {
        self.shared.limits.send_backlog
    }

    /// See [`Serve::with_linger`].
    pub fn linger(&self) -> (Duration, u64) {
        self.shared.limits.linger
    }

    /// See [`Serve::with_send_buffer`].
    pub fn send_buffer(&self) -> usize {
        self.shared.limits.send_buffer
    }

    /// For adapters: counts and logs a response that its client did not read.
    pub fn response_stalled(&self) {
        self.endpoints[0].response_stalled(self.shared.limits.stall_timeout);
    }

    /// Waits until the server ends its connections. Then the connection must close: at once if it is idle, otherwise when
    /// the response that it is writing is complete.
    pub fn closing(&self) -> Closing {
        Closing::new(&self.shared, Stage::Closing)
    }
}

impl fmt::Debug for ConnectionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionContext")
            .field("peer", &self.peer)
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

/// The future of [`ConnectionContext::closing`] and [`ConnectionContext::stopping`]. Once ready, it stays ready.
#[derive(Debug)]
pub struct Closing {
    shared: Arc<Shared>,
    stage: Stage,
    /// The waker of the last poll, and its listener.
    registered: Option<(Waker, EventListener)>,
}

impl Closing {
    fn new(shared: &Arc<Shared>, stage: Stage) -> Self {
        Self { shared: Arc::clone(shared), stage, registered: None }
    }

    /// Returns `true` if the future is ready.
    pub fn is_closing(&self) -> bool {
        self.shared.has_reached(self.stage)
    }
}

impl Future for Closing {
    type Output = ();

    /// A connection polls this on every wake-up, and all connections share the event, so a new listener is registered
    /// only if the task has changed. A listener that is held has not been notified yet, because the event of a stage is
    /// only notified when the stage is reached.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_closing() {
                self.registered = None;
                return Poll::Ready(());
            }
            if let Some((waker, _)) = &self.registered {
                if waker.will_wake(cx.waker()) {
                    return Poll::Pending;
                }
            }
            let mut listener = self.shared.event(self.stage).listen();
            // The stage may have been reached before `listen`.
            if !self.is_closing() && listener.poll_unpin(cx).is_pending() {
                self.registered = Some((cx.waker().clone(), listener));
                return Poll::Pending;
            }
        }
    }
}

/// The number of requests of a connection that wait for the application, not for their client: see
/// [`ConnectionContext::work`].
///
/// During a shutdown, a connection whose client does not read is dropped after [`ShutdownPolicy::finish`]; one on which the
/// application is working gets the rest of the whole budget. The adapter tells them apart: a request waits for the
/// application until its response begins, and whenever the response body has nothing ready. A connection that reports
/// nothing is treated as if its client did not read.
#[derive(Debug, Clone, Default)]
pub struct Work(Arc<WorkCounts>);

#[derive(Debug, Default)]
struct WorkCounts {
    waiting: AtomicUsize,
    /// How often a request began to wait.
    changes: AtomicUsize,
}

impl Work {
    /// Records that one more request waits for the application.
    pub fn begin(&self) {
        self.0.waiting.fetch_add(1, Relaxed);
        self.0.changes.fetch_add(1, Relaxed);
    }

    /// Records that a request no longer waits for the application, but for its client.
    pub fn end(&self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }

    /// Awaits `future`; meanwhile a request waits for the application.
    pub async fn during<F: Future>(&self, future: F) -> F::Output {
        /// Ends the wait even if the future is dropped or panics.
        struct During<'a>(&'a Work);
        impl Drop for During<'_> {
            fn drop(&mut self) {
                self.0.end();
            }
        }
        self.begin();
        let _during = During(self);
        future.await
    }

    /// Whether a request waits now, and how often one began to wait.
    fn look(&self) -> (bool, usize) {
        (self.0.waiting.load(Relaxed) > 0, self.0.changes.load(Relaxed))
    }
}

/// The stage of the server's shutdown, in order of time.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Stopping = 1,
    Closing = 2,
    /// The time for clients that do not read is over.
    Stalled = 3,
    Cut = 4,
}

/// Shared by the server and its connections.
#[derive(Debug)]
struct Shared {
    limits: Limits,
    stage: AtomicU8,
    stopping: Event,
    closing: Event,
    stalled: Event,
    cut: Event,
    counts: Mutex<Counts>,
    ended: Event,
}

#[derive(Debug, Default)]
struct Counts {
    live: usize,
    /// The number of connections dropped because their client did not read.
    cut: usize,
    /// How long a client may take to read.
    finish: Duration,
}

impl Shared {
    /// The event of a stage. Each stage has its own: a dropped listener passes its notification on, and a listener that
    /// got one from an earlier stage would miss the next.
    fn event(&self, stage: Stage) -> &Event {
        match stage {
            Stage::Stopping => &self.stopping,
            Stage::Closing => &self.closing,
            Stage::Stalled => &self.stalled,
            Stage::Cut => &self.cut,
        }
    }

    fn has_reached(&self, stage: Stage) -> bool {
        self.stage.load(SeqCst) >= stage as u8
    }

    /// Enters a stage and all stages before it.
    fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, SeqCst);
        for reached in [Stage::Stopping, Stage::Closing, Stage::Stalled, Stage::Cut] {
            if reached as u8 <= stage as u8 {
                self.event(reached).notify(usize::MAX);
            }
        }
    }
}

/// The connections of a server. Dropping it cuts them.
#[derive(Debug)]
struct Connections {
    shared: Arc<Shared>,
}

impl Connections {
    fn new(limits: Limits) -> Self {
        let shared = Shared {
            limits,
            stage: AtomicU8::new(0),
            stopping: Event::new(),
            closing: Event::new(),
            stalled: Event::new(),
            cut: Event::new(),
            counts: Mutex::default(),
            ended: Event::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    fn spawn(&self, endpoints: &Endpoints, connect: ServeConnection) {
        let live = Live::new(&self.shared);
        let (endpoints, shared, work) = (endpoints.clone(), Arc::clone(&self.shared), Work::default());
        let runtime = Arc::clone(endpoints[0].runtime());
        let stalled = Closing::new(&self.shared, Stage::Stalled);
        let cut = cut(Arc::clone(&self.shared), Arc::clone(&runtime), work.clone());
        let context = ConnectionContext { endpoints, peer: None, shared, work };
        runtime.spawn(Box::pin(async move {
            let mut live = live;
            if let Either::Left(_) = select(stalled.then(|()| Box::pin(cut)), connect(context)).await {
                live.set_cut();
            }
        }));
    }

    async fn all_ended(&self) {
        loop {
            let ended = self.shared.ended.listen();
            if lock(&self.shared.counts).live == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.shared.enter(Stage::Cut);
    }
}

/// Waits until a connection must be cut, after the time for clients that do not read: at once, unless the application is
/// working on it. When the application has finished, its client gets as much time to read as the others had.
async fn cut(shared: Arc<Shared>, runtime: Arc<dyn Runtime>, work: Work) {
    let mut before = None;
    loop {
        let (waits, changes) = work.look();
        let idle = !waits && before.is_none_or(|before| before == changes);
        if idle || shared.stage.load(SeqCst) >= Stage::Cut as u8 {
            return;
        }
        before = Some(changes);
        let finish = lock(&shared.counts).finish;
        select(runtime.sleep_until(runtime.now() + finish), Closing::new(&shared, Stage::Cut)).await;
    }
}

/// A counted connection. It is counted until dropped, even by a panic or by a runtime that ends.
struct Live {
    shared: Arc<Shared>,
    cut: bool,
}

impl Live {
    fn new(shared: &Arc<Shared>) -> Self {
        lock(&shared.counts).live += 1;
        Self { shared: Arc::clone(shared), cut: false }
    }

    fn set_cut(&mut self) {
        self.cut = true;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let last = {
            let mut counts = lock(&self.shared.counts);
            counts.live -= 1;
            counts.cut += usize::from(self.cut);
            counts.live == 0
        };
        if last {
            self.shared.ended.notify(usize::MAX);
        }
    }
}
