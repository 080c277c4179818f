//! [`DisconnectCancels`]: how an HTTP server learns that a client that leaves cancels its request.

use std::{sync::Arc, task::Waker};

use crate::sync::{
    AtomicWaker,
    atomic::{AtomicBool, Ordering::SeqCst},
};

/// Tells an HTTP server that its client's disconnect cancels the request.
///
/// A socket whose input has ended may belong to a client that has left, or to one that only closed its sending half and
/// still reads. A server may therefore hold the end back for a while, so that answers which are ready soon are still sent.
/// But a request without a session is cancelled when its client leaves, and soon (G-30, G-32, E-30). A server that holds
/// the end back puts this into the [extensions](http::Request::extensions) of each request of a connection. Once the
/// endpoint has admitted such a request, it [is set](Self::is_set), and the server reports the end at once. The adapters'
/// `serve` does that.
///
/// ```
/// use std::task::Waker;
/// use mcp_session_core::DisconnectCancels;
///
/// let cancels = DisconnectCancels::default();
/// let request = http::Request::post("/mcp").extension(cancels.clone()); // to `Endpoint::handle`
/// assert!(!cancels.is_set(Waker::noop()));
/// # let _ = request;
/// ```
#[derive(Debug, Clone, Default)]
pub struct DisconnectCancels(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    set: AtomicBool,
    server: AtomicWaker,
}

impl DisconnectCancels {
    /// Returns `true` if a disconnect cancels the request. Otherwise `waker` is woken when that changes; only the last one
    /// is.
    pub fn is_set(&self, waker: &Waker) -> bool {
        self.0.server.register(waker);
        self.0.set.load(SeqCst)
    }

    /// For the next request of the connection.
    pub fn reset(&self) {
        self.0.set.store(false, SeqCst);
    }

    pub(super) fn set(&self) {
        self.0.set.store(true, SeqCst);
        self.0.server.wake();
    }
}
