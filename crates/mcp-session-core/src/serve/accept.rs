//! The accept loop: connections, signals and the shutdowns of the endpoints, until all endpoints are closed.

use std::{
    future::poll_fn,
    io, mem,
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all, select_all},
};

use super::signals;
use crate::{
    contain::{self, Panicked},
    runtime::Runtime,
    serve::{
        Serve, ServeConnection,
        connections::{Connections, Stage},
    },
    shutdown::{Shutdown, ShutdownReport},
    trace,
};

/// The pause after `accept` failed for lack of resources, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Serve {
    /// Accepts connections until every endpoint is closed. Returns the sum of their reports.
    pub(super) async fn accept(
        &mut self,
        runtime: &Arc<dyn Runtime>,
        connections: &Connections,
    ) -> ShutdownReport {
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
                        signals::escalate(&shutdowns);
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
