//! [`ConnectionContext`]: what a connection knows of its server, and [`Closing`], by which the server ends it.

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use event_listener::EventListener;
use futures::FutureExt;

use crate::{
    runtime::Runtime,
    serve::{
        connections::{Shared, Stage},
        endpoints::Endpoints,
        work::Work,
    },
    transport::PeerAddr,
};

/// The limits, peer and shutdown signals of a connection, for adapters.
#[derive(Clone)]
pub struct ConnectionContext {
    pub(super) endpoints: Endpoints,
    pub(super) peer: Option<SocketAddr>,
    pub(super) shared: Arc<Shared>,
    pub(super) work: Work,
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

    /// See [`Serve::with_header_timeout`](crate::Serve::with_header_timeout).
    pub fn header_timeout(&self) -> Duration {
        self.shared.limits.header_timeout
    }

    /// See [`Serve::with_idle_timeout`](crate::Serve::with_idle_timeout).
    pub fn idle_timeout(&self) -> Duration {
        self.shared.limits.idle_timeout
    }

    /// See [`Serve::with_head_limit`](crate::Serve::with_head_limit).
    pub fn head_limit(&self) -> usize {
        self.shared.limits.head_limit
    }

    /// See [`Serve::with_max_streams`](crate::Serve::with_max_streams).
    pub fn max_streams(&self) -> u32 {
        self.shared.limits.max_streams
    }

    /// See [`Serve::with_stall_timeout`](crate::Serve::with_stall_timeout).
    pub fn stall_timeout(&self) -> Duration {
        self.shared.limits.stall_timeout
    }

    /// See [`Serve::with_send_backlog`](crate::Serve::with_send_backlog).
    pub fn send_backlog(&self) -> usize {
        self.shared.limits.send_backlog
    }

    /// See [`Serve::with_linger`](crate::Serve::with_linger).
    pub fn linger(&self) -> (Duration, u64) {
        self.shared.limits.linger
    }

    /// See [`Serve::with_send_buffer`](crate::Serve::with_send_buffer).
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
    pub(super) fn new(shared: &Arc<Shared>, stage: Stage) -> Self {
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
