//! [`Serve`]: the life of a server, on any runtime: it accepts connections, and stops without losing an answer.

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

use crate::{
    config::{
        ConfigError,
        check::{bytes, deadline},
    },
    contain::{self, Contained, Panicked},
    endpoint::Endpoint,
    proto::after,
    runtime::Runtime,
    sync::lock,
    terminate::{Shutdown, ShutdownPolicy, ShutdownReport},
    trace,
};

/// The least time that connections get to write out what they were handed, also at the very ceiling.
const FLUSH: Duration = Duration::from_millis(100);

/// How long not to accept after it has failed for want of resources, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long after the first signal others belong to the same stop. A wrapper, a cgroup and a process group repeat one
/// within milliseconds; a person who presses Ctrl-C again because nothing seems to happen takes longer than a second.
const SIGNAL_WINDOW: Duration = Duration::from_secs(1);

/// How many signals of one stop are listened to. A future that is always ready must not keep the server busy.
const SAME_STOP: u32 = 16;

/// The longest timeout of a connection: further away, some clocks overflow.
const FARTHEST: Duration = Duration::from_secs(86_400);

/// Serves one connection to its end. Dropping the future cuts the connection.
pub type ServeConnection = Box<dyn FnOnce(ConnectionContext) -> BoxFuture<'static, ()> + Send>;

type Signal = Box<dyn FnMut() -> BoxFuture<'static, ()> + Send>;

/// The endpoints that a server serves: one, or several that stop together. Made from an [`Endpoint`], an array or a `Vec`
/// of them.
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

/// A server, to be awaited. An adapter's `serve` makes one; it ends when its endpoints were shut down, whoever did it,
/// and returns the report. When one of several endpoints begins to shut down, the others do too, with the same policy, so that
/// they share one ceiling; the report is the sum of theirs.
///
/// Connections are accepted for as long as an endpoint drains, so that replies, cancels and DELETE arrive. Then
/// [`ConnectionContext::closing`] tells them to end. Those whose client does not read are dropped after
/// [`ShutdownPolicy::finish`]; those on which the application is still at work, such as an ordinary route of an app with a
/// download, have what is left of the whole budget. Those that are dropped are counted in
/// [`ShutdownReport::connections_cut`]. Connections always get 100 ms to write out what they were handed, even at the
/// ceiling.
///
/// # Cancel safety
///
/// Dropping it cuts every connection. The endpoints' own shutdown, if one has begun, goes on.
///
/// ```
/// # use std::{io, sync::Arc};
/// # use futures::{FutureExt, stream};
/// # use mcp_session_core::{ServeConnection, Endpoint, Router, Runtime, Serve, ShutdownPolicy};
/// # async fn example(runtime: impl Runtime) -> io::Result<()> {
/// // An adapter gives what a listener accepts: here one client, who sends nothing and waits for the end.
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
    /// For adapters: a server of what `incoming` accepts. Each item is a client and how to serve it; an error is
    /// logged, and accepting goes on after a moment. It is polled for as long as the server accepts, and then
    /// dropped, with the listener in it.
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

    /// Shuts down when the future of `signal` is ready, and escalates when that of a second call is, and so on; the
    /// last one cuts the connections that are left. The first call is made here. Without it, the server ends when somebody
    /// calls [`Endpoint::shutdown`].
    ///
    /// Signals within a second of the first one are the same stop, which a wrapper, a process group or a `preStop` hook
    /// often sends twice: see [`with_signal_window`](Self::with_signal_window).
    pub fn with_graceful_shutdown<F: Future<Output = ()> + Send + 'static>(
        mut self,
        mut signal: impl FnMut() -> F + Send + 'static,
    ) -> Self {
        let next = signal();
        self.signals.next = Contained::new(|| next.boxed());
        self.signals.again = Box::new(move || Box::pin(signal()));
        self
    }

    /// How long after the first signal others count as the same stop instead of escalating. 1 second by default: what
    /// repeats a signal does so within milliseconds, and a person takes longer. Zero: each signal escalates.
    pub fn with_signal_window(mut self, window: Duration) -> Self {
        self.signals.window = window;
        self
    }

    /// How long the phases of the shutdown may take.
    pub fn with_policy(self, policy: ShutdownPolicy) -> Self {
        Self { policy, ..self }
    }

    /// How long a request head may take from its first byte to its last; the first one of a connection is counted from
    /// its begin, so that it also bounds a client that says nothing. A millisecond at the least, else the server refuses to
    /// start, and a day at the most. 30 seconds by default: a head is a
    /// packet or two, and whoever takes longer holds a connection for nothing.
    ///
    /// HTTP/2 has many heads on one connection: there it bounds the first one, and [`Serve::with_idle_timeout`] the rest.
    pub fn with_header_timeout(mut self, timeout: Duration) -> Self {
        self.limits.header_timeout = timeout.min(FARTHEST);
        self
    }

    /// How long a connection may be kept without a request. A millisecond at the least, else the server refuses to
    /// start, and a day at the most. 75 seconds by default: load balancers keep
    /// theirs for 60 seconds, and whoever reuses a connection that its server is just closing loses a request.
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = timeout.min(FARTHEST);
        self
    }

    /// Bytes of a request head; more gets 431 and the end of the connection. 64 KiB by default: what hyper reads
    /// at a time, and several times what cookies and tokens need. At least 8 KiB. HTTP/2, which may have a head for each of
    /// its streams, takes 16 KiB of each at the most.
    pub fn with_head_limit(mut self, bytes: usize) -> Self {
        self.limits.head_limit = bytes.max(8 * 1024);
        self
    }

    /// Requests that one HTTP/2 connection may have at a time, GET streams among them. At least one. 200 by default, as
    /// hyper has it, twice what RFC 9113 asks for (5.1.2): a gateway that keeps a GET stream for each of its users on
    /// one connection wants more, and each of them may hold 128 KiB that its client does not take.
    pub fn with_max_streams(mut self, streams: u32) -> Self {
        self.limits.max_streams = streams.max(1);
        self
    }

    /// How long a response may wait for its client to take some of it: then its HTTP/2 stream is reset, or its
    /// HTTP/1.1 connection closed, and [`Stats::responses_stalled`](crate::Stats::responses_stalled) counts it. A response that
    /// has nothing to write, such as a quiet GET stream, does not wait. A millisecond at the least, else the server refuses to
    /// start, and a day at the most. 60 seconds by default: as long
    /// as the kernel waits for a client that acknowledges nothing.
    pub fn with_stall_timeout(mut self, timeout: Duration) -> Self {
        self.limits.stall_timeout = timeout.min(FARTHEST);
        self
    }

    /// Bytes of answers that may wait on one HTTP/2 connection: while there are as many, its next requests wait unread, and
    /// are refused (`REFUSED_STREAM`) when nothing of it was taken for a second; an answer that would make it four times as
    /// many resets its stream. One byte at the least lets one answer wait. 16 MiB by default: a few of the largest
    /// answers that clients get; whoever asks for more at a time has to read.
    pub fn with_send_backlog(mut self, bytes: usize) -> Self {
        self.limits.send_backlog = bytes;
        self
    }

    /// How long, and for how many bytes, to read on after a response to a request that was not read to its end: a socket
    /// that is closed with bytes unread is reset, and the response is lost on its way. By default 30 seconds, 5 of them
    /// in silence, as nginx lingers, and 64 MiB: an upload of twice the size that anybody would allow. In a shutdown a fifth
    /// of a second at the most. Nothing that is read is kept. Zero: the connection is closed at once.
    pub fn with_linger(mut self, timeout: Duration, bytes: u64) -> Self {
        self.limits.linger = (timeout.min(FARTHEST), bytes);
        self
    }

    /// Bytes that the kernel may hold for a client that does not read. 256 KiB: what is there has left the
    /// session's bounded queue and cannot be answered for, so it should not be megabytes.
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

        // Every answer and every end has been handed over: connections write them out and close.
        let now = runtime.now();
        let (mut ceiling, mut whole) = (now, now);
        for endpoint in endpoints.iter() {
            let shutdown = endpoint.shutdown(policy);
            (ceiling, whole) = (ceiling.max(shutdown.ceiling()), whole.max(shutdown.whole_ceiling()));
        }
        let finish = policy.finish.min(ceiling.saturating_duration_since(now)).max(FLUSH);
        lock(&connections.shared.counts).finish = finish;
        connections.shared.enter(Stage::Closing);
        // A connection whose client does not read has until `finish`; one on which the application is at work has the rest.
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
        // Whoever begins the shutdown of one begins that of all.
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

/// Ends the present phase: that of whichever is behind, so that all go through the phases together.
fn escalate(shutdowns: &[Shutdown]) {
    let present = shutdowns.iter().map(Shutdown::phase).min();
    shutdowns.iter().filter(|shutdown| Some(shutdown.phase()) == present).for_each(Shutdown::escalate);
}

/// The signals that the server stops by.
struct Signals {
    next: Contained<BoxFuture<'static, ()>>,
    again: Signal,
    window: Duration,
    /// There was one.
    begun: bool,
    /// Until when another one is the same stop, and how many there were.
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

    /// Ready at the first signal, and at each that is another stop.
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

/// Waits for the next signal, and begins to wait for the one after it. A wait that panics has failed for good: the server goes
/// on, and stops when its endpoint does.
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
            trace::panicked("the wait for a signal to stop");
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

/// Whether `accept` failed because of the one client that it would have accepted: the next one is not concerned.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl IntoFuture for Serve {
    /// An error only if it has no endpoint to serve, or a limit that cannot work, such as a timeout of zero: that is
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) with a [`ConfigError`].
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

/// What a server lets its user set for connections.
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

/// The address that a request came from, among its [extensions](http::Request::extensions): every adapter's `serve` puts it
/// there. Behind a proxy it is the proxy's.
///
/// ```
/// use mcp_session_core::{PeerAddr, Router, RpcError};
///
/// let router = Router::new("addresses", "0.1.0").request("whereami", async |cx| {
///     let peer = cx.extensions().get::<PeerAddr>().map(|PeerAddr(addr)| addr.to_string());
///     Ok::<_, RpcError>(serde_json::json!({ "address": peer }))
/// });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// What an adapter's connection has to know.
#[derive(Clone)]
pub struct ConnectionContext {
    endpoints: Endpoints,
    peer: Option<SocketAddr>,
    shared: Arc<Shared>,
    work: Work,
}

impl ConnectionContext {
    /// The runtime that the endpoint runs on, the first one if there are several.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        self.endpoints[0].runtime()
    }

    /// Where the connection says that the application is at work on it.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// Who is at the other end, if [`ConnectionContext::with_peer_addr`] said so.
    pub fn peer_addr(&self) -> Option<PeerAddr> {
        self.peer.map(PeerAddr)
    }

    /// For adapters: says who is at the other end.
    #[must_use]
    pub fn with_peer_addr(self, addr: Option<SocketAddr>) -> Self {
        Self { peer: addr, ..self }
    }

    /// Whether an endpoint shuts down. An HTTP/1.1 connection best ends together with the response that it is writing
    /// then: a client that saw the response end first may have sent a request on it meanwhile.
    pub fn is_stopping(&self) -> bool {
        self.shared.has_reached(Stage::Stopping) || self.endpoints.iter().any(|endpoint| !endpoint.is_ready())
    }

    /// Ready once an endpoint has begun to shut down, at `LameDuck` or `Draining`: the time to tell an HTTP/2 client with
    /// GOAWAY to go elsewhere. Streams that it has go on.
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

    /// For adapters: counts a response whose client did not take it, and says so in the log.
    pub fn response_stalled(&self) {
        self.endpoints[0].response_stalled(self.shared.limits.stall_timeout);
    }

    /// Ready once the connection has to come to its end: at once if it is idle, else when the response that it is
    /// writing is complete.
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

/// The future of [`ConnectionContext::closing`] and [`ConnectionContext::stopping`]. Once ready, it stays so.
#[derive(Debug)]
pub struct Closing {
    shared: Arc<Shared>,
    stage: Stage,
    /// Who is woken by the stage, and what holds the place.
    registered: Option<(Waker, EventListener)>,
}

impl Closing {
    fn new(shared: &Arc<Shared>, stage: Stage) -> Self {
        Self { shared: Arc::clone(shared), stage, registered: None }
    }

    /// Whether it is ready.
    pub fn is_closing(&self) -> bool {
        self.shared.has_reached(self.stage)
    }
}

impl Future for Closing {
    type Output = ();

    /// A connection polls this with everything that it does, and all connections share the event: so it is touched
    /// only when the task is another than the last time. A listener that is held is still to be notified, because
    /// nobody notifies the event of a stage that has not come.
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
            // The stage may have come before anybody listened.
            if !self.is_closing() && listener.poll_unpin(cx).is_pending() {
                self.registered = Some((cx.waker().clone(), listener));
                return Poll::Pending;
            }
        }
    }
}

/// How many requests of a connection wait for the application, as against their client: see [`ConnectionContext::work`].
///
/// When the server has to end, a connection whose client does not read is dropped after [`ShutdownPolicy::finish`], one on
/// which the application is at work has what is left of the whole budget. An adapter says which it is: a request waits for the
/// application until its response begins, and whenever the response's body has nothing ready. One that says nothing is treated as if
/// its client did not read.
#[derive(Debug, Clone, Default)]
pub struct Work(Arc<WorkCounts>);

#[derive(Debug, Default)]
struct WorkCounts {
    waiting: AtomicUsize,
    /// How often something changed.
    changes: AtomicUsize,
}

impl Work {
    /// One more request waits for the application.
    pub fn begin(&self) {
        self.0.waiting.fetch_add(1, Relaxed);
        self.0.changes.fetch_add(1, Relaxed);
    }

    /// One of them does not any more: its client's turn has come.
    pub fn end(&self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }

    /// `future`, during which a request waits for the application.
    pub async fn during<F: Future>(&self, future: F) -> F::Output {
        /// Also if the future is dropped, or panics.
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

    /// Whether one waits now, and how often one has begun to.
    fn look(&self) -> (bool, usize) {
        (self.0.waiting.load(Relaxed) > 0, self.0.changes.load(Relaxed))
    }
}

/// How far the server is. The order is that of time.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Stopping = 1,
    Closing = 2,
    /// Clients that do not read have had their time.
    Stalled = 3,
    Cut = 4,
}

/// What the server and its connections share.
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
    /// Those that were dropped because their client did not read.
    cut: usize,
    /// How long a client may take to read.
    finish: Duration,
}

impl Shared {
    /// The event of one stage only: a listener that is dropped passes its notification on, and one that got it from
    /// an earlier stage would sleep through the next.
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

    /// Enters a stage, and with it all before.
    fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, SeqCst);
        for reached in [Stage::Stopping, Stage::Closing, Stage::Stalled, Stage::Cut] {
            if reached as u8 <= stage as u8 {
                self.event(reached).notify(usize::MAX);
            }
        }
    }
}

/// The connections of a server. They are cut when it is dropped.
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

/// Waits until a connection has to be cut that is past the time of clients that do not read: at once, unless the
/// application is at work on it. One whose response comes to its end then gets as much time as the others.
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

/// One connection, counted until it is dropped, also by a panic or a runtime that ends.
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
