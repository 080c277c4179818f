//! The wire suite: tests an adapter over real sockets, on any runtime.
//!
//! The behaviour suite calls an endpoint in process; this one connects to it. Its clients write bytes and report exactly
//! how a body ended; the server runs on the adapter's own runtime. A scenario is named after the requirement or promise
//! it tests. [`wire_suite!`](crate::wire_suite) makes one `#[test]` of each scenario, for a [`ServeHarness`]: the
//! [`TestBed`](crate::TestBed) of the other suites, plus `serve`.
//!
//! ```
//! use std::sync::Arc;
//! use mcp_session_core::{Endpoint, Runtime, Serve};
//! use mcp_session_testkit::{TestBed, wire::ServeHarness, wire_suite};
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
//! wire_suite!(mine_on_the_wire, Mine::new(), without http2: "it speaks HTTP/1.1 only");
//!
//! # fn main() {
//! // The same by hand, scenario by scenario:
//! use mcp_session_testkit::wire;
//! wire::run(&Mine::new(), wire::ends::s_7_post_and_get_streams_end_with_the_last_chunk);
//! # wire::run(&Mine::new(), wire::requests::pipelined_requests_have_their_answers_in_order);
//! # wire::run(&Mine::new(), wire::drain::e_24_delete_while_draining_ends_the_session_at_once);
//! # }
//! ```
//!
//! ```text
//! test mine_on_the_wire::s_7_post_and_get_streams_end_with_the_last_chunk ... ok
//! test mine_on_the_wire::s_11_an_unread_get_stream_delays_nobody ... ok
//! test mine_on_the_wire::d_12_a_client_that_leaves_cancels_nothing_and_leaks_nothing ... ok
//! test mine_on_the_wire::a_head_that_drips_has_a_deadline ... FAILED
//! test mine_on_the_wire::over_http2_the_same_bodies_get_408_and_413 ... ignored, it speaks HTTP/1.1 only
//! ```
//!
//! # What an HTTP stack may lack
//!
//! Every adapter keeps the promises. Four abilities are optional: an adapter whose HTTP library lacks one names it in the
//! macro call, with the reason. Its tests are then listed as ignored, with that reason.
//!
//! | ability | meaning |
//! |---|---|
//! | `http2` | HTTP/2 is served on the same port; covers every scenario of [`over_http2`] |
//! | `pipelining` | requests sent before the answers to earlier ones are answered in order |
//! | `chunk_extensions` | extensions in a chunked body are ignored |
//! | `one_write` | head and body of an answer that is ready at once leave in one write |
//!
//! # How it works
//!
//! The server runs in your [`TestBed`](crate::TestBed); the clients run on tokio, on their own thread, whatever your
//! runtime is. That is why this module needs the feature `wire`: no other part of the crate depends on a runtime.
//! Times that must elapse are short ([`SHORT`]), times that must not elapse are long ([`LONG`]), and everything else waits
//! for a state, for at most [`LIMIT`]. So the suite also passes in [`Contended`](crate::Contended), on a busy machine.
//! When a scenario fails, the server's log helps: core logs with `tracing`.

#![allow(clippy::missing_panics_doc, reason = "a scenario panics if the server does not behave as described")]

pub mod batches;
pub mod bounds;
pub mod cors;
pub mod drain;
pub mod ends;
pub mod framing;
mod harness;
mod http1;
mod http2;
pub mod leaving;
pub mod over_http2;
pub mod requests;
pub mod resume;
mod server;
pub mod signal;
pub mod stall;

use std::{future::Future, time::Duration};

pub use harness::{ServeHarness, run};
pub use http1::{Client, Connection, End, Head, Reply, call, initialize, initialized};
pub use http2::{Frame, Http2, Sent};
pub use server::{Server, Setup, large};
use tokio::time;

/// Generates `mod $module` with one `#[test]` for each scenario. The expression creates a fresh
/// [`ServeHarness`](crate::wire::ServeHarness) for each test. `without` names an
/// [ability](crate::wire#what-an-http-stack-may-lack) that the adapter lacks, and why; its tests are listed as
/// ignored. It can be repeated for further abilities. See [the module](crate::wire) for an example.
#[macro_export]
macro_rules! wire_suite {
    ($module:ident, $harness:expr $(, without $ability:ident: $reason:tt)* $(,)?) => {
        mod $module {
            #[allow(unused_imports, clippy::wildcard_imports)] // the expression may use no name of the outer scope
            use super::*;
            $crate::wire_suite! { @abilities [] [] [] [] $harness; $($ability: $reason,)* }
        }
    };
    (@abilities [] $pipelining:tt $chunks:tt $one_write:tt $harness:expr; http2: $reason:tt, $($rest:tt)*) => {
        $crate::wire_suite! { @abilities [#[ignore = $reason]] $pipelining $chunks $one_write $harness; $($rest)* }
    };
    (@abilities $http2:tt [] $chunks:tt $one_write:tt $harness:expr; pipelining: $reason:tt, $($rest:tt)*) => {
        $crate::wire_suite! { @abilities $http2 [#[ignore = $reason]] $chunks $one_write $harness; $($rest)* }
    };
    (@abilities $http2:tt $pipelining:tt [] $one_write:tt $harness:expr; chunk_extensions: $reason:tt, $($rest:tt)*) => {
        $crate::wire_suite! { @abilities $http2 $pipelining [#[ignore = $reason]] $one_write $harness; $($rest)* }
    };
    (@abilities $http2:tt $pipelining:tt $chunks:tt [] $harness:expr; one_write: $reason:tt, $($rest:tt)*) => {
        $crate::wire_suite! { @abilities $http2 $pipelining $chunks [#[ignore = $reason]] $harness; $($rest)* }
    };
    (@abilities $http2:tt $pipelining:tt $chunks:tt $one_write:tt $harness:expr;) => {
        $crate::wire_suite! { @scenarios $harness;
            [] requests: a_19_a_chunked_body_is_read, b_05_b_07_b_12_header_fields_arrive_as_sent,
                b_07_a_request_without_a_readable_host_is_refused,
                a_handler_finds_the_address_of_its_client,
                a_client_that_expects_100_gets_it, answers_without_a_body_have_none;
            $chunks requests: a_19_chunk_extensions_are_ignored;
            $pipelining requests: pipelined_requests_have_their_answers_in_order,
                a_pipelined_request_does_not_hide_a_client_that_leaves;
            [] framing: nothing_after_an_ambiguous_request_is_served, a_19_trailers_are_passed_over,
                a_line_that_never_ends_has_a_limit, b_07_the_host_of_an_absolute_target_counts;
            [] ends: s_7_post_and_get_streams_end_with_the_last_chunk,
                s_9_a_json_answer_of_the_last_moment_is_complete;
            $one_write ends: a_ready_answer_is_sent_in_one_write;
            [] stall: s_11_an_unread_get_stream_delays_nobody, s_11_an_unread_answer_delays_nobody,
                s_11_delete_ends_a_session_whose_stream_is_unread,
                d_12_a_client_that_leaves_cancels_nothing_and_leaks_nothing,
                s_9_a_clean_report_means_that_the_client_has_everything;
            [] leaving: e_24_a_request_is_processed_after_its_client_left,
                a_client_that_closes_its_sending_half_has_its_answer;
            [] resume: d_33_an_answer_that_came_while_its_client_was_away_is_not_lost,
                d_23_a_new_connection_takes_over_streams_of_abandoned_ones,
                d_30_a_stream_cut_within_an_event_resumes_without_loss;
            [] batches: a_24_s_5_a_batch_in_a_drain_gets_all_its_answers;
            [] cors: b_40_a_page_may_read_the_answers;
            [] bounds: a_head_that_never_ends_has_a_deadline, a_head_that_drips_has_a_deadline,
                a_head_has_a_limit, a_kept_connection_that_is_idle_has_a_deadline,
                a_kept_connection_outlives_the_deadline_for_heads,
                b_44_a_refusal_reaches_a_client_that_is_still_sending,
                s_4_the_rest_of_a_refused_request_holds_nobody_up,
                a_body_that_never_ends_gets_408, a_body_that_breaks_off_harms_nobody,
                a_19_an_oversized_body_gets_413;
            [] drain: s_2_draining_answers_everything_and_404s_no_live_id,
                b_18_a_reply_on_a_new_connection_reaches_its_handler_while_draining,
                e_24_delete_while_draining_ends_the_session_at_once,
                s_14_a_post_that_is_half_there_when_the_drain_begins_is_refused,
                a_lame_duck_serves_everything_and_says_close;
            [] signal: s_10_the_first_signal_begins_and_the_next_ones_escalate,
                s_10_the_last_signal_does_not_wait_for_a_reader,
                s_3_neither_hung_handlers_nor_unread_streams_move_the_ceiling,
                s_4_with_nothing_in_flight_idle_connections_close_and_the_server_ends,
                s_4_an_incomplete_head_gets_no_answer, s_7_the_server_ends_with_any_shutdown_of_its_endpoint,
                nobody_listens_after_the_end;
            $http2 over_http2: a_preface_that_never_ends_has_a_deadline,
                an_idle_connection_has_a_deadline, over_http2_the_same_bodies_get_408_and_413,
                s_2_while_draining_requests_are_answered_or_refused,
                a_lame_duck_says_goaway_and_serves_everything,
                s_11_an_answer_that_is_never_taken_is_reset_in_time,
                s_11_what_waits_for_a_client_is_bounded,
                s_4_an_idle_connection_ends_with_goaway,
                s_7_streams_end_without_a_reset_and_the_connection_with_goaway,
                s_11_an_unread_stream_delays_no_other_of_its_connection;
        }
    };
    (@scenarios $harness:expr; $([$($ignore:tt)*] $group:ident: $($scenario:ident),+;)+) => {
        $($crate::wire_suite! { @group $harness; [$($ignore)*] $group: $($scenario),+ })+
    };
    (@group $harness:expr; $ignore:tt $group:ident: $($scenario:ident),+) => {
        $($crate::wire_suite! { @scenario $harness; $ignore $group $scenario })+
    };
    (@scenario $harness:expr; [$($ignore:tt)*] $group:ident $scenario:ident) => {
        #[test]
        $($ignore)*
        fn $scenario() {
            $crate::wire::run(&$harness, $crate::wire::$group::$scenario);
        }
    };
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
