//! [`serve`]: accepts connections, and stops without losing an answer.

use std::future::{IntoFuture, pending};
use std::{io, pin::pin, time::Duration};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use mcp_session_core::{BoxFuture, Endpoint, Shutdown, ShutdownPolicy, ShutdownReport};
use tokio::time::{self, Instant};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tower_service::Service;

use crate::{
    McpService,
    connection::{BoxError, Connect, Options, connector},
};

/// The least time that connections get to write out what they were handed, also at the very ceiling.
const FLUSH: Duration = Duration::from_millis(100);

/// How long not to accept after it has failed for want of resources, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Signal = Box<dyn FnMut() -> BoxFuture<'static, ()> + Send>;

/// Serves the endpoint on this listener, over HTTP/1.1 and HTTP/2, until it was shut down.
///
/// Set more with the methods of [`Serve`], then `.await` it. Sockets get `TCP_NODELAY` and a bounded send buffer;
/// a request head that drips gets a deadline.
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// use mcp_session_core::{Endpoint, Router};
/// use mcp_session_tokio::{TokioRuntime, serve, terminate_signal};
///
/// let endpoint = Endpoint::new(TokioRuntime::current(), Router::new("greeter", "0.1.0"));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
/// let report = serve(listener, endpoint).with_shutdown(terminate_signal).await?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
pub fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
    let service = McpService::new(endpoint.clone());
    Serve {
        listener,
        endpoint,
        policy: ShutdownPolicy::default(),
        options: Options::DEFAULT,
        connect: connector(service),
        signalled: Box::pin(pending()),
        signal: Box::new(|| Box::pin(pending())),
    }
}

/// A server to be awaited: see [`serve`].
#[must_use = "a server does nothing unless it is awaited"]
pub struct Serve {
    listener: TcpListener,
    endpoint: Endpoint,
    policy: ShutdownPolicy,
    options: Options,
    connect: Connect,
    signalled: BoxFuture<'static, ()>,
    signal: Signal,
}

impl Serve {
    /// Serves this service instead, such as an `axum::Router` that has an [`McpService`] among other routes. The
    /// endpoint still decides when the server ends.
    pub fn with_service<S, B>(self, service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
        S: Clone + Send + Sync + 'static,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        Self { connect: connector(service), ..self }
    }

    /// Shuts down when the future of `signal` is ready, and escalates when that of a second call is, and so on. The
    /// first call is made here. Without it, the server ends when somebody calls [`Endpoint::shutdown`].
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

    /// How long the first request head of a connection may take to arrive, and over HTTP/1.1 every head, which also
    /// bounds how long a kept connection may be idle. A day at the most; 30 seconds by default.
    pub fn with_header_timeout(mut self, timeout: Duration) -> Self {
        self.options.header_timeout = timeout.min(Duration::from_secs(86_400)); // further away, some clocks overflow
        self
    }

    /// Bytes that the kernel may hold for a client that does not read. 256 KiB: what is there has left the
    /// session's bounded queue and cannot be answered for, so it should not be megabytes.
    pub fn with_send_buffer(mut self, bytes: usize) -> Self {
        self.options.send_buffer = bytes;
        self
    }

    async fn run(mut self) -> ShutdownReport {
        let (close, closing) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut report = self.accept(&mut connections, closing).await;
        let Self { listener, endpoint, policy, .. } = self;
        drop(listener);

        // Every answer and every end has been handed over: connections write them out and close. One whose client
        // does not read is dropped.
        let ceiling = Instant::from(endpoint.shutdown(policy).ceiling());
        let budget = policy.finish.min(ceiling.saturating_duration_since(Instant::now())).max(FLUSH);
        let _ = close.send(());
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = time::timeout(budget, all).await;
        report.connections_cut = connections.len() as u64;
        report
    }

    /// Accepts until the endpoint was shut down. The listener stays open while it drains: replies, cancels and
    /// DELETE must still get in.
    async fn accept(
        &mut self,
        connections: &mut JoinSet<()>,
        closing: watch::Receiver<()>,
    ) -> ShutdownReport {
        let Self { listener, endpoint, policy, options, connect, signalled, signal } = self;
        let mut shutdown: Option<Shutdown> = None;
        let mut closed = pin!(endpoint.closed());
        let mut pause = pin!(time::sleep(Duration::ZERO));
        loop {
            tokio::select! {
                report = &mut closed => return report,
                () = &mut *signalled => {
                    *signalled = signal();
                    match &shutdown {
                        None => shutdown = Some(endpoint.shutdown(*policy)),
                        Some(shutdown) => shutdown.escalate(),
                    }
                }
                Some(_) = connections.join_next() => {}
                () = pause.as_mut(), if !pause.is_elapsed() => {}
                accepted = listener.accept(), if pause.is_elapsed() => match accepted {
                    Ok((socket, _)) => drop(connections.spawn(connect(socket, *options, closing.clone()))),
                    Err(_error) => {
                        #[cfg(feature = "tracing")]
                        tracing::warn!(error = %_error, "accept failed");
                        pause.as_mut().reset(Instant::now() + ACCEPT_PAUSE);
                    }
                },
            }
        }
    }
}

impl IntoFuture for Serve {
    /// Always `Ok` so far: the error is kept for what may fail before the first connection.
    type Output = io::Result<ShutdownReport>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.run().await) })
    }
}

impl std::fmt::Debug for Serve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve").field("listener", &self.listener).finish_non_exhaustive()
    }
}
