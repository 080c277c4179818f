//! The wire suite: tests an adapter over real sockets, on any runtime.
//!
//! The behaviour suite calls an endpoint in process; this one connects to it. Its clients write bytes and report exactly
//! how a body ended; the server runs on the adapter's own runtime. A scenario is named after the requirement or promise
//! it tests. [`suite`] makes a test of each scenario (see [`suite::run`](crate::suite::run)), for a [`ServeHarness`]: the
//! [`TestBed`](crate::TestBed) of the other suites, plus `serve`.
//!
//! ```
//! use std::{process::ExitCode, sync::Arc};
//! use mcp_session_core::{Endpoint, Runtime, Serve};
//! use mcp_session_testkit::{TestBed, suite::{self, Needs}, wire::{self, ServeHarness}};
//! # mod mine {
//! #     // Your crate. This one is hyper's HTTP/1.1 on tokio, without the deadlines that a real adapter has.
//! #     use std::{convert::Infallible, pin::pin};
//! #     use futures::{future::{Either, select}, stream};
//! #     use hyper::{server::conn::http1, service::service_fn};
//! #     use hyper_util::rt::TokioIo;
//! #     use mcp_session_core::{ServeConnection, Endpoint, Serve};
//! #     use tokio::net::{TcpListener, TcpStream};
//! #
//! #     pub(crate) fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
//! #         let serves = endpoint.clone();
//! #         let connect = move |socket: TcpStream| -> ServeConnection {
//! #             let endpoint = serves.clone();
//! #             Box::new(move |context| Box::pin(async move {
//! #                 let service = service_fn(move |request| {
//! #                     let endpoint = endpoint.clone();
//! #                     async move { Ok::<_, Infallible>(endpoint.handle(request).await) }
//! #                 });
//! #                 let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
//! #                 if let Either::Right(((), mut connection)) = select(pin!(connection), context.closing()).await {
//! #                     connection.as_mut().graceful_shutdown();
//! #                     let _ = connection.await;
//! #                 }
//! #             }))
//! #         };
//! #         let incoming = stream::unfold((listener, connect), async |(listener, connect)| {
//! #             let accepted = listener.accept().await;
//! #             Some((accepted.map(|(socket, _)| connect(socket)), (listener, connect)))
//! #         });
//! #         Serve::new(endpoint, incoming)
//! #     }
//! #
//! #     #[derive(Debug)]
//! #     pub(crate) struct MyRuntime(pub(crate) tokio::runtime::Handle);
//! #
//! #     impl mcp_session_core::Runtime for MyRuntime {
//! #         fn now(&self) -> std::time::Instant {
//! #             std::time::Instant::now()
//! #         }
//! #         fn sleep_until(&self, deadline: std::time::Instant) -> mcp_session_core::BoxFuture<'static, ()> {
//! #             let _context = self.0.enter();
//! #             Box::pin(tokio::time::sleep_until(deadline.into()))
//! #         }
//! #         fn spawn(&self, task: mcp_session_core::BoxFuture<'static, ()>) {
//! #             self.0.spawn(task);
//! #         }
//! #     }
//! # }
//! # use mine::{MyRuntime, serve};
//!
//! /// A separate runtime for each scenario.
//! struct Mine(tokio::runtime::Runtime);
//!
//! impl Mine {
//!     fn new() -> Self {
//!         Self(tokio::runtime::Runtime::new().expect("a runtime"))
//!     }
//! }
//!
//! impl TestBed for Mine {
//!     fn name(&self) -> &str {
//!         "mine"
//!     }
//!
//!     fn runtime(&self) -> Arc<dyn Runtime> {
//!         Arc::new(MyRuntime(self.0.handle().clone()))
//!     }
//!
//!     fn block_on<F: Future>(&self, future: F) -> F::Output {
//!         self.0.block_on(future)
//!     }
//! }
//!
//! impl ServeHarness for Mine {
//!     fn serve(listener: std::net::TcpListener, endpoint: Endpoint) -> Serve {
//!         serve(tokio::net::TcpListener::from_std(listener).expect("a listener"), endpoint)
//!     }
//! }
//!
//! fn main() -> ExitCode {
//! #   for scenario in wire::scenarios().iter().filter(|scenario| [
//! #       "s_7_post_and_get_streams_end_with_the_last_chunk",
//! #       "pipelined_requests_have_their_answers_in_order",
//! #       "e_24_delete_while_draining_ends_the_session_at_once",
//! #   ].contains(&scenario.name)) {
//! #       scenario.run(&Mine::new());
//! #   }
//!     let mine = wire::suite("mine_on_the_wire", Mine::new).without(Needs::Http2, "it speaks HTTP/1.1 only");
//! #   if true { return ExitCode::SUCCESS } // the arguments of this process are not for it
//!     suite::run([mine])
//! }
//! ```
//!
//! ```text
//! test mine_on_the_wire::s_7_post_and_get_streams_end_with_the_last_chunk ... ok
//! test mine_on_the_wire::s_11_an_unread_get_stream_delays_nobody ... ok
//! test mine_on_the_wire::d_12_a_client_that_leaves_cancels_nothing_and_leaks_nothing ... ok
//! test mine_on_the_wire::a_head_that_drips_has_a_deadline ... FAILED
//! test mine_on_the_wire::over_http2_the_same_bodies_get_408_and_413 ... ignored (it speaks HTTP/1.1 only)
//! ```
//!
//! # What an HTTP stack may lack
//!
//! Every adapter keeps the promises. Some abilities are optional: an adapter whose HTTP library lacks one says so
//! with [`Suite::without`], and why. The tests that need it are then listed as ignored, with that reason.
//! [`Needs`](crate::suite::Needs) lists the abilities.
//!
//! # How it works
//!
//! The server runs in your [`TestBed`](crate::TestBed); the clients run on tokio, on their own thread, whatever your
//! runtime is. That is why this module needs the feature `wire`: no other part of the crate depends on a runtime.
//! Times that must elapse are short ([`SHORT`]), times that must not elapse are long ([`LONG`]), and everything else waits
//! for a state, for at most [`LIMIT`]. So the suite also passes in [`Contended`](crate::Contended), on a busy machine.
//! When a scenario fails, the server's log helps: core logs with `tracing`.

#![allow(clippy::missing_panics_doc, reason = "a scenario panics if the server does not behave as described")]

mod batches;
mod bounds;
mod cors;
mod dial;
mod drain;
mod ends;
mod framing;
mod harness;
mod http1;
mod http2;
mod leaving;
mod modern;
mod over_http2;
mod requests;
mod resume;
mod server;
mod signal;
mod stall;
mod stateless;
mod still;

use std::{future::Future, time::Duration};

pub use dial::ClientStream;
pub use harness::{ServeHarness, run};
pub use http1::{Client, Connection, End, Head, Reply, call, initialize, initialized};
pub use http2::{Frame, Http2, Sent};
pub use server::{Server, Setup, large};
use tokio::time;

use crate::suite::{Scenario, Suite};

/// Every scenario, as tests `name::scenario`. `harness` makes a new harness for each. An adapter whose HTTP library lacks
/// an [ability](crate::wire#what-an-http-stack-may-lack) says so with [`Suite::without`].
pub fn suite<H: ServeHarness + 'static>(
    name: impl Into<String>,
    harness: impl Fn() -> H + Clone + Send + 'static,
) -> Suite {
    Suite::new(name, scenarios(), harness)
}

/// Every scenario.
pub fn scenarios<H: ServeHarness>() -> Vec<Scenario<H>> {
    [
        batches::scenarios(),
        bounds::scenarios(),
        cors::scenarios(),
        drain::scenarios(),
        ends::scenarios(),
        framing::scenarios(),
        leaving::scenarios(),
        modern::scenarios(),
        over_http2::scenarios(),
        requests::scenarios(),
        resume::scenarios(),
        signal::scenarios(),
        stall::scenarios(),
        stateless::scenarios(),
    ]
    .concat()
}

/// How long a scenario waits for something that must happen. A scenario fails when this time is up.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A timeout or budget that a scenario waits for.
pub const SHORT: Duration = Duration::from_millis(200);

/// A timeout or budget that must not elapse in a scenario: twice [`LIMIT`].
pub const LONG: Duration = Duration::from_secs(60);

/// Waits for `future`, for at most [`LIMIT`].
#[track_caller]
pub fn within<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match time::timeout(LIMIT, future).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: {what} took more than {LIMIT:?}"),
        }
    }
}

/// Waits until `state` is true.
#[track_caller]
pub fn until(what: &str, mut state: impl FnMut() -> bool) -> impl Future<Output = ()> {
    within(what, async move {
        while !state() {
            time::sleep(Duration::from_millis(2)).await;
        }
    })
}
