//! [`Serve`]: accepts connections on any runtime, and shuts down without losing an answer.

mod accept;
mod connections;
mod context;
mod endpoints;
mod limits;
mod signals;
mod work;

use std::{
    fmt,
    future::{Future, IntoFuture, poll_fn},
    io,
    sync::Arc,
    time::Duration,
};

use futures::{
    FutureExt, Stream, StreamExt,
    future::{BoxFuture, Either, select},
    stream::{self, BoxStream},
};

use crate::{
    contain::Contained,
    shutdown::{FLUSH, ShutdownPolicy, ShutdownReport},
    sync::lock,
};
use connections::{Connections, Stage};
use limits::Limits;
use signals::Signals;

pub use context::{Closing, ConnectionContext};
pub use endpoints::Endpoints;
pub use work::Work;

/// The longest timeout of a connection: longer ones overflow some clocks.
const FARTHEST: Duration = Duration::from_secs(86_400);

/// Serves one accepted connection to its end. Dropping the future cuts the connection.
pub type ServeConnection = Box<dyn FnOnce(ConnectionContext) -> BoxFuture<'static, ()> + Send>;

/// The former name of [`ServeConnection`].
#[deprecated(since = "0.1.0", note = "renamed to `ServeConnection`")]
pub type Connect = ServeConnection;

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
    /// a signal, the server runs until [`Endpoint::shutdown`](crate::Endpoint::shutdown) is called.
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
}

impl IntoFuture for Serve {
    /// Fails with [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no endpoint, or if a limit cannot work, such
    /// as a timeout of zero (with a [`ConfigError`](crate::ConfigError)). There are no other errors.
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
