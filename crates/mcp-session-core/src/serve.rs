//! [`Serve`]: the life of a server, on any runtime: it accepts connections, and stops without losing an answer.

use std::{
    fmt,
    future::{Future, IntoFuture, pending, poll_fn},
    io,
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

    /// How long a request head may take to arrive, which also bounds how long a connection may be idle between
    /// requests. A day at the most; 30 seconds by default.
    pub fn with_header_timeout(mut self, timeout: Duration) -> Self {
        self.limits.header_timeout = timeout.min(Duration::from_secs(86_400)); // further away, some clocks overflow
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
        let connections = Connections::default();
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
        let Self { endpoint, incoming, policy, limits, signalled, signal } = self;
        let runtime = Arc::clone(endpoint.runtime());
        let mut shutdown: Option<Shutdown> = None;
        let mut closed = endpoint.closed().boxed();
        let mut pause: Option<BoxFuture<'static, ()>> = None;
        loop {
            let news = poll_fn(|cx| {
                if let Poll::Ready(report) = closed.poll_unpin(cx) {
                    return Poll::Ready(News::Closed(report));
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
                News::Accepted(Ok(connect)) => connections.spawn(endpoint, *limits, connect),
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
    send_buffer: usize,
}

impl Limits {
    const DEFAULT: Self = Self { header_timeout: Duration::from_secs(30), send_buffer: 256 * 1024 };
}

/// What an adapter's connection has to know.
#[derive(Clone)]
pub struct ConnectionContext {
    endpoint: Endpoint,
    limits: Limits,
    shared: Arc<Shared>,
}

impl ConnectionContext {
    /// The runtime that the endpoint runs on.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        self.endpoint.runtime()
    }

    /// Whether the endpoint shuts down. An HTTP/1.1 connection best ends together with the response that it is writing
    /// then: a client that saw the response end first may have sent a request on it meanwhile.
    pub fn is_stopping(&self) -> bool {
        !self.endpoint.is_ready()
    }

    /// See [`Serve::with_header_timeout`].
    pub fn header_timeout(&self) -> Duration {
        self.limits.header_timeout
    }

    /// See [`Serve::with_send_buffer`].
    pub fn send_buffer(&self) -> usize {
        self.limits.send_buffer
    }

    /// Ready once the connection has to come to its end: at once if it is idle, else when the response that it is
    /// writing is complete.
    pub fn closing(&self) -> Closing {
        Closing::new(&self.shared, Stage::Closing)
    }
}

impl fmt::Debug for ConnectionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionContext").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The future of [`ConnectionContext::closing`]. Once ready, it stays so.
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
        self.shared.stage.load(SeqCst) >= self.stage as u8
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
    Closing = 1,
    Cut = 2,
}

/// What the server and its connections share.
#[derive(Debug, Default)]
struct Shared {
    stage: AtomicU8,
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
            Stage::Closing => &self.closing,
            Stage::Cut => &self.cut,
        }
    }

    fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, SeqCst);
        self.closing.notify(usize::MAX);
        if let Stage::Cut = stage {
            self.cut.notify(usize::MAX);
        }
    }
}

/// The connections of a server. They are cut when it is dropped.
#[derive(Debug, Default)]
struct Connections {
    shared: Arc<Shared>,
}

impl Connections {
    fn spawn(&self, endpoint: &Endpoint, limits: Limits, connect: Connect) {
        let live = Live::new(&self.shared);
        let context =
            ConnectionContext { endpoint: endpoint.clone(), limits, shared: Arc::clone(&self.shared) };
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
