//! Names of earlier versions, so that code written for them still compiles. They go with 0.2.

use std::future::Future;

use crate::{proto, serve, serve::Serve, store};

/// The former name of [`TerminatePolicy`](crate::TerminatePolicy).
#[deprecated(since = "0.1.0", note = "renamed to `TerminatePolicy`")]
pub type Schedule = proto::TerminatePolicy;

/// The former name of [`RpcRequest`](crate::RpcRequest).
#[deprecated(since = "0.1.0", note = "renamed to `RpcRequest`")]
pub type Request = proto::RpcRequest;

/// The former name of [`ServeConnection`](crate::ServeConnection).
#[deprecated(since = "0.1.0", note = "renamed to `ServeConnection`")]
pub type Connect = serve::ServeConnection;

/// The former name of [`MemoryStore`](crate::store::MemoryStore).
#[deprecated(since = "0.1.0", note = "renamed to `MemoryStore`")]
pub type SharedStore = store::MemoryStore;

impl Serve {
    /// The former name of [`Serve::with_graceful_shutdown`].
    #[deprecated(since = "0.1.0", note = "renamed to `with_graceful_shutdown`")]
    pub fn with_shutdown<F: Future<Output = ()> + Send + 'static>(
        self,
        signal: impl FnMut() -> F + Send + 'static,
    ) -> Self {
        self.with_graceful_shutdown(signal)
    }
}
