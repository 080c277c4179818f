//! [`serve`]: accepts connections, and stops without losing an answer.

use std::{
    error::Error,
    future::{Future, IntoFuture},
    io,
    pin::pin,
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{rt::TokioExecutor, server::conn::auto};
use mcp_session_core::{BoxFuture, Endpoint, Shutdown, ShutdownPolicy, ShutdownReport};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time};

use crate::{McpService, connection};

/// The least time that connections get to write out what they were handed, also at the very ceiling.
const FLUSH: Duration = Duration::from_millis(100);

/// How long to wait after `accept` has failed for want of resources, such as file descriptors.
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
pub fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve<McpService> {
    Serve {
        listener,
        service: McpService::new(endpoint.clone()),
        endpoint,
        policy: ShutdownPolicy::default(),
        connection: connection::Options::default(),
        signal: None,
    }
}

/// A server to be awaited: see [`serve`].
#[must_use = "a server does nothing unless it is awaited"]
pub struct Serve<S> {
    listener: TcpListener,
    endpoint: Endpoint,
    service: S,
    policy: ShutdownPolicy,
    connection: connection::Options,
    signal: Option<Signal>,
}

impl<S> Serve<S> {
    /// Serves this service instead, such as an `axum::Router` that has an [`McpService`] among other routes. The
    /// endpoint still decides when the server ends.
    pub fn with_service<T>(self, service: T) -> Serve<T> {
        let Self { listener, endpoint, policy, connection, signal, .. } = self;
        Serve { listener, endpoint, service, policy, connection, signal }
    }

    /// Shuts down when the future of `signal` is ready, and escalates when that of a second call is, and so on.
    /// Without it, the server ends when somebody calls [`Endpoint::shutdown`].
    pub fn with_shutdown<F, Fut>(mut self, mut signal: F) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.signal = Some(Box::new(move || Box::pin(signal())));
        self
    }

    /// How long the phases of the shutdown may take.
    pub fn with_policy(mut self, policy: ShutdownPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How long a request head may take to arrive; also how long a kept connection may be idle. 30 seconds.
    pub fn with_header_timeout(mut self, timeout: Duration) -> Self {
        self.connection.header_timeout = timeout;
        self
    }

    /// Bytes that the kernel may hold for a client that does not read. 256 KiB: what is there has left the
    /// session's bounded queue and cannot be answered for, so it should not be megabytes.
    pub fn with_send_buffer(mut self, bytes: usize) -> Self {
        self.connection.send_buffer = bytes;
        self
    }
}

impl<S, B> Serve<S>
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async fn run(self) -> io::Result<ShutdownReport> {
        let Self { listener, endpoint, service, policy, connection, mut signal } = self;
        let mut http = auto::Builder::new(TokioExecutor::new());
        connection.configure(&mut http);
        let (close, closing) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut shutdown = None;
        let mut closed = pin!(endpoint.closed());
        let mut signalled = next_signal(&mut signal);

        // The listener stays open while the endpoint drains: replies, cancels and DELETE must still get in.
        let report = loop {
            tokio::select! {
                report = &mut closed => break report,
                () = &mut signalled => {
                    match &shutdown {
                        None => shutdown = Some(endpoint.shutdown(policy)),
                        Some(shutdown) => Shutdown::escalate(shutdown),
                    }
                    signalled = next_signal(&mut signal);
                }
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => {
                        let (http, service, closing) = (http.clone(), service.clone(), closing.clone());
                        connections.spawn(connection::serve(http, socket, service, connection, closing));
                    }
                    Err(_error) => {
                        #[cfg(feature = "tracing")]
                        tracing::warn!(error = %_error, "accept failed");
                        time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        };

        drop(listener);
        // Every answer and every end has been handed over: connections write them out and close. One whose client
        // does not read is dropped.
        let now = time::Instant::now();
        let ceiling = endpoint.shutdown(policy).ceiling().into();
        let deadline = (now + policy.finish).min(ceiling).max(now + FLUSH);
        let _ = close.send(());
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = time::timeout_at(deadline, all).await;
        Ok(report)
    }
}

impl<S, B> IntoFuture for Serve<S>
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = io::Result<ShutdownReport>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<S> std::fmt::Debug for Serve<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

fn next_signal(signal: &mut Option<Signal>) -> BoxFuture<'static, ()> {
    match signal {
        Some(signal) => signal(),
        None => Box::pin(std::future::pending()),
    }
}

/// Ready at the next SIGTERM or Ctrl-C: for [`Serve::with_shutdown`].
///
/// # Panics
///
/// If the process cannot listen for signals.
pub async fn terminate_signal() {
    let interrupt = async { tokio::signal::ctrl_c().await.expect("the process can listen for Ctrl-C") };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).expect("the process can listen for SIGTERM");
        tokio::select! {
            () = interrupt => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    interrupt.await;
}
