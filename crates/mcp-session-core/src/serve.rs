//! [`Serve`]: the life of a server, on any runtime: it accepts connections, and stops without losing an answer.

use std::{
    fmt,
    future::{Future, IntoFuture, pending, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use event_listener::{Event, EventListener};
use futures::{
    FutureExt, Stream, StreamExt,
    future::{BoxFuture, select},
    stream::{self, BoxStream},
};

use crate::{Endpoint, Runtime, Shutdown, ShutdownPolicy, ShutdownReport, trace};

/// The least time that connections get to write out what they were handed, also at the very ceiling.
const FLUSH: Duration = Duration::from_millis(100);

/// How long not to accept after it has failed for want of resources, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The longest timeout of a connection: further away, some clocks overflow.
const FARTHEST: Duration = Duration::from_secs(86_400);

/// Serves one connection to its end. Dropping the future cuts the connection.
pub type Connect = Box<dyn FnOnce(ConnectionContext) -> BoxFuture<'static, ()> + Send>;

type Signal = Box<dyn FnMut() -> BoxFuture<'static, ()> + Send>;

/// A server, to be awaited. An adapter's `serve` makes one; it ends when its endpoint was shut down, whoever did it,
/// and gives the report.
///
/// Connections are accepted for as long as the endpoint drains, so that replies, cancels and DELETE get in. Then
/// [`ConnectionContext::closing`] tells them to end, and those that have not within [`ShutdownPolicy::finish`] are dropped and
/// counted in [`ShutdownReport::connections_cut`]. They always get 100 ms to write out what they were
/// handed, even at the ceiling.
///
/// # Cancel safety
///
/// Dropping it cuts every connection. The endpoint's own shutdown, if one has begun, goes on.
///
/// ```
/// # use std::{io, sync::Arc};
/// # use futures::{FutureExt, stream};
/// # use mcp_session_core::{Connect, Endpoint, Router, Runtime, Serve, ShutdownPolicy};
/// # async fn example(runtime: impl Runtime) -> io::Result<()> {
/// // An adapter gives what a listener accepts: here one client, who sends nothing and waits for the end.
/// let endpoint = Endpoint::new(runtime, Router::new("greeter", "0.1.0"));
/// let idle: Connect = Box::new(|context| async move { context.closing().await }.boxed());
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
    endpoint: Endpoint,
    incoming: BoxStream<'static, io::Result<Connect>>,
    policy: ShutdownPolicy,
    limits: Limits,
    signalled: BoxFuture<'static, ()>,
    signal: Signal,
}

impl Serve {
    /// For adapters: a server of what `incoming` accepts. Each item is a client and how to serve it; an error is
    /// logged, and accepting goes on after a moment. It is polled for as long as the server accepts, and then
    /// dropped, with the listener in it.
    pub fn new(
        endpoint: Endpoint,
        incoming: impl Stream<Item = io::Result<Connect>> + Send + 'static,
    ) -> Self {
        Self {
            endpoint,
            incoming: incoming.chain(stream::pending()).boxed(),
            policy: ShutdownPolicy::default(),
            limits: Limits::DEFAULT,
            signalled: Box::pin(pending()),
            signal: Box::new(|| Box::pin(pending())),
        }
    }

    /// Shuts down when the future of `signal` is ready, and escalates when that of a second call is, and so on; the
    /// last one cuts the connections that are left. The first call is made here. Without it, the server ends when somebody calls [`Endpoint::shutdown`].
    pub fn with_shutdown<F: Future<Output = ()> + Send + 'static>(
        self,
        mut signal: impl FnMut() -> F + Send + 'static,
    ) -> Self {
        Self { signalled: Box::pin(signal()), signal: Box::new(move || Box::pin(signal())), ..self }
    }

    /// How long the phases of the shutdown may take.
    pub fn with_policy(self, policy: ShutdownPolicy) -> Self {
        Self { policy, ..self }
    }

    /// How long a request head may take from its first byte to its last; the first one of a connection is counted from
    /// its begin, so that it also bounds a client that says nothing. A day at the most. 30 seconds by default: a head is a
    /// packet or two, and whoever takes longer holds a connection for nothing.
    ///
    /// HTTP/2 has many heads on one connection: there it bounds the first one, and [`Serve::with_idle_timeout`] the rest.
    pub fn with_header_timeout(mut self, timeout: Duration) -> Self {
        self.limits.header_timeout = timeout.min(FARTHEST);
        self
    }

    /// How long a connection may be kept without a request. A day at the most. 75 seconds by default: load balancers keep
    /// theirs for 60 seconds, and whoever reuses a connection that its server is just closing loses a request.
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = timeout.min(FARTHEST);
        self
    }

    /// Bytes of a request head; the adapters over hyper answer 431 to more, and close. 64 KiB by default: what hyper reads
    /// at a time, and several times what cookies and tokens need. At least 8 KiB. HTTP/2, which may have a head for each of
    /// its streams, takes 16 KiB of each at the most; async-std, whose parser knows no other limit, 8 KiB.
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
    /// has nothing to write, such as a quiet GET stream, does not wait. A day at the most. 60 seconds by default: as long
    /// as the kernel waits for a client that acknowledges nothing.
    pub fn with_stall_timeout(mut self, timeout: Duration) -> Self {
        self.limits.stall_timeout = timeout.min(FARTHEST);
        self
    }

    /// Bytes of answers that may wait on one HTTP/2 connection: while there are as many, its next requests wait unread, and
    /// are refused (`REFUSED_STREAM`) when nothing of it was taken for a second; an answer that would make it four times as
    /// many resets its stream. 16 MiB by default: a few of the largest
    /// answers that clients get; whoever asks for more at a time has to read.
    pub fn with_send_backlog(mut self, bytes: usize) -> Self {
        self.limits.send_backlog = bytes;
        self
    }

    /// How long, and for how many bytes, to read on after a response to a request that was not read to its end: a socket
    /// that is closed with bytes unread is reset, and the response is lost on its way. By default 30 seconds, 5 of them
    /// in silence, as nginx lingers, and 64 MiB: an upload of twice the size that anybody would allow. In a shutdown a fifth
    /// of a second at the most. Nothing that is read is kept.
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

    async fn run(mut self) -> ShutdownReport {
        let runtime = Arc::clone(self.endpoint.runtime());
        let connections = Connections::new(self.limits);
        let mut report = self.accept(&connections).await;
        let Self { endpoint, policy, incoming, signalled, .. } = self;
        drop(incoming); // and with it the listener

        // Every answer and every end has been handed over: connections write them out and close. One whose client
        // does not read is dropped.
        let ceiling = endpoint.shutdown(policy).ceiling();
        let now = runtime.now();
        let budget = policy.finish.min(ceiling.saturating_duration_since(now)).max(FLUSH);
        connections.shared.enter(Stage::Closing);
        let enough = select(runtime.sleep_until(now + budget), signalled);
        select(connections.all_ended().boxed(), enough).await;
        report.connections_cut = connections.shared.live.load(SeqCst) as u64;
        report
    }

    async fn accept(&mut self, connections: &Connections) -> ShutdownReport {
        let Self { endpoint, incoming, policy, signalled, signal, .. } = self;
        let runtime = Arc::clone(endpoint.runtime());
        let mut shutdown: Option<Shutdown> = None;
        let mut closed = endpoint.closed().boxed();
        let mut stopping = endpoint.shutdown_begun().fuse();
        let mut pause: Option<BoxFuture<'static, ()>> = None;
        loop {
            let news = poll_fn(|cx| {
                if let Poll::Ready(report) = closed.poll_unpin(cx) {
                    return Poll::Ready(News::Closed(report));
                }
                if stopping.poll_unpin(cx).is_ready() {
                    connections.shared.enter(Stage::Stopping);
                }
                if signalled.poll_unpin(cx).is_ready() {
                    return Poll::Ready(News::Signal);
                }
                if let Some(until) = &mut pause {
                    futures::ready!(until.poll_unpin(cx));
                    pause = None;
                }
                incoming.poll_next_unpin(cx).map(|accepted| accepted.map_or(News::Idle, News::Accepted))
            });
            match news.await {
                News::Closed(report) => return report,
                News::Signal => {
                    *signalled = signal();
                    match &shutdown {
                        None => shutdown = Some(endpoint.shutdown(*policy)),
                        Some(shutdown) => shutdown.escalate(),
                    }
                }
                News::Accepted(Ok(connect)) => connections.spawn(endpoint, connect),
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

enum News {
    Closed(ShutdownReport),
    Signal,
    Accepted(io::Result<Connect>),
    Idle,
}

/// Whether `accept` failed because of the one client that it would have accepted: the next one is not concerned.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl IntoFuture for Serve {
    /// Always `Ok` so far: the error is kept for what may fail before the first connection.
    type Output = io::Result<ShutdownReport>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.run().await) })
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
    endpoint: Endpoint,
    peer: Option<SocketAddr>,
    shared: Arc<Shared>,
}

impl ConnectionContext {
    /// The runtime that the endpoint runs on.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        self.endpoint.runtime()
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

    /// Whether the endpoint shuts down. An HTTP/1.1 connection best ends together with the response that it is writing
    /// then: a client that saw the response end first may have sent a request on it meanwhile.
    pub fn is_stopping(&self) -> bool {
        self.shared.has_reached(Stage::Stopping) || !self.endpoint.is_ready()
    }

    /// Ready once the endpoint has begun to shut down, at `LameDuck` or `Draining`: the time to tell an HTTP/2 client with
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
        self.endpoint.response_stalled(self.shared.limits.stall_timeout);
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

/// How far the server is. The order is that of time.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Stopping = 1,
    Closing = 2,
    Cut = 3,
}

/// What the server and its connections share.
#[derive(Debug)]
struct Shared {
    limits: Limits,
    stage: AtomicU8,
    stopping: Event,
    closing: Event,
    cut: Event,
    live: AtomicUsize,
    ended: Event,
}

impl Shared {
    /// The event of one stage only: a listener that is dropped passes its notification on, and one that got it from
    /// an earlier stage would sleep through the next.
    fn event(&self, stage: Stage) -> &Event {
        match stage {
            Stage::Stopping => &self.stopping,
            Stage::Closing => &self.closing,
            Stage::Cut => &self.cut,
        }
    }

    fn has_reached(&self, stage: Stage) -> bool {
        self.stage.load(SeqCst) >= stage as u8
    }

    /// Enters a stage, and with it all before.
    fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, SeqCst);
        for reached in [Stage::Stopping, Stage::Closing, Stage::Cut] {
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
            cut: Event::new(),
            live: AtomicUsize::new(0),
            ended: Event::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    fn spawn(&self, endpoint: &Endpoint, connect: Connect) {
        let live = Live::new(&self.shared);
        let context =
            ConnectionContext { endpoint: endpoint.clone(), peer: None, shared: Arc::clone(&self.shared) };
        let cut = Closing::new(&self.shared, Stage::Cut);
        endpoint.runtime().spawn(Box::pin(async move {
            let _live = live;
            select(cut, connect(context)).await;
        }));
    }

    async fn all_ended(&self) {
        loop {
            let ended = self.shared.ended.listen();
            if self.shared.live.load(SeqCst) == 0 {
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

/// One connection, counted until it is dropped, also by a panic or a runtime that ends.
struct Live(Arc<Shared>);

impl Live {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.live.fetch_add(1, SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.0.live.fetch_sub(1, SeqCst) == 1 {
            self.0.ended.notify(usize::MAX);
        }
    }
}
