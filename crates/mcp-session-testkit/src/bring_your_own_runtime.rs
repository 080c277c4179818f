//! Bring your own runtime: from three methods to a server that passes every suite.
//!
//! `mcp-session-core` depends on no runtime. It uses one through the trait [`Runtime`](mcp_session_core::Runtime). At the
//! end of this chapter, your runtime has what the adapters for tokio and smol have:
//!
//! | step | you write | you get |
//! |---|---|---|
//! | [1. Three methods](#1-three-methods) | `impl Runtime` | a crate that compiles |
//! | [2. The laws](#2-the-laws) | a [`TestBed`](crate::TestBed), a `main`, one line | 7 tests, one for each law |
//! | [3. The behaviour suite](#3-the-behaviour-suite) | one line | tests of every promise of an endpoint, on your runtime |
//! | [4. Sockets](#4-sockets) | a stream of accepted connections | a server that stops without losing an answer |
//! | [5. The wire suite](#5-the-wire-suite) | a `ServeHarness`, one line | tests of what clients see, byte by byte |
//!
//! This chapter builds a small runtime of its own: tasks run on the thread pool of `futures`; timers and sockets come from
//! `async-io`. The example [`custom_runtime`] puts it all together, in a complete server with two tools.
//!
//! [`custom_runtime`]: https://github.com/mcp-session/mcp-session/tree/main/examples/custom_runtime
//!
//! # 1. Three methods
//!
//! ```toml
//! [dependencies] # until they are published, with `path = "../mcp-session/crates/..."`
//! mcp-session-core = "0.1"
//! mcp-session-hyper = "0.1"
//! async-io = "2"
//! futures = { version = "0.3", features = ["thread-pool"] }
//! smol-hyper = { version = "0.1.1", default-features = false }
//!
//! [dev-dependencies]
//! mcp-session-testkit = { version = "0.1", features = ["wire"] }
//!
//! [[test]]
//! name = "suites" # tests/suites.rs
//! harness = false  # its `main` runs the suites of the test kit
//! ```
//!
//! ```
//! use std::{io, panic::AssertUnwindSafe, time::Instant};
//!
//! use async_io::Timer;
//! use futures::{FutureExt, executor::ThreadPool};
//! use mcp_session_core::{BoxFuture, Runtime};
//!
//! #[derive(Debug, Clone)]
//! struct PoolRuntime(ThreadPool);
//!
//! impl Runtime for PoolRuntime {
//!     fn now(&self) -> Instant {
//!         Instant::now() // the clock of `async-io`
//!     }
//!
//!     fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
//!         Timer::at(deadline).map(|_| ()).boxed()
//!     }
//!
//!     fn spawn(&self, task: BoxFuture<'static, ()>) {
//!         // The pool does not catch panics: it would lose a thread to each.
//!         self.0.spawn_ok(AssertUnwindSafe(task).catch_unwind().map(|_| ()));
//!     }
//! }
//!
//! let runtime = PoolRuntime(ThreadPool::new()?);
//! let (begin, deadline) = (runtime.now(), runtime.now() + std::time::Duration::from_millis(5));
//! assert!(runtime.sleep_until(begin).now_or_never().is_some()); // in the past: ready at once
//! futures::executor::block_on(runtime.sleep_until(deadline));
//! assert!(runtime.now() >= deadline);
//! # Ok::<(), io::Error>(())
//! ```
//!
//! Another runtime may need more:
//!
//! - Its sleep takes a duration: compute it from `now()` inside `sleep_until`, and round up.
//! - Its sleep is pending at the first poll even if the deadline has passed (as in tokio): return a ready future then.
//! - Its task handle cancels on drop: detach it.
//! - Its functions only work on its own threads: keep a handle in your type, and enter it in each method.
//! - Its clock can be paused: `now` must read that clock, not the system's.
//! - Its tasks stay on one thread, and its timers are not `Send`: see [`Runtime`](mcp_session_core::Runtime) on
//!   thread-per-core runtimes.
//!
//! A runtime has random bytes from the operating system by default, and nothing to add.
//!
//! [`Runtime`](mcp_session_core::Runtime) also describes what happens to an endpoint when its runtime ends, and how a
//! handler that blocks its thread affects others.
//!
//! # 2. The laws
//!
//! A [`TestBed`](crate::TestBed) is your runtime and a way for a synchronous test to enter it.
//! [`contract::suite`](crate::contract::suite) makes a test of each law, each with a new bed, and
//! [`suite::run`](crate::suite::run) is the `main` of `tests/suites.rs`:
//!
//! ```
//! # use std::{panic::AssertUnwindSafe, time::Instant};
//! # use async_io::Timer;
//! # use futures::{FutureExt, executor::ThreadPool};
//! # use mcp_session_core::BoxFuture;
//! # #[derive(Debug, Clone)]
//! # struct PoolRuntime(ThreadPool);
//! # impl Runtime for PoolRuntime {
//! #     fn now(&self) -> Instant { Instant::now() }
//! #     fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
//! #         Timer::at(deadline).map(|_| ()).boxed()
//! #     }
//! #     fn spawn(&self, task: BoxFuture<'static, ()>) {
//! #         self.0.spawn_ok(AssertUnwindSafe(task).catch_unwind().map(|_| ()));
//! #     }
//! # }
//! use std::{process::ExitCode, sync::Arc};
//! use mcp_session_core::Runtime;
//! use mcp_session_testkit::{TestBed, contract, suite};
//!
//! struct Bed(PoolRuntime);
//!
//! impl Bed {
//!     fn new() -> Self {
//!         Self(PoolRuntime(ThreadPool::new().expect("threads")))
//!     }
//! }
//!
//! impl TestBed for Bed {
//!     fn name(&self) -> &str {
//!         "mine"
//!     }
//!
//!     fn runtime(&self) -> Arc<dyn Runtime> {
//!         Arc::new(self.0.clone())
//!     }
//!
//!     fn block_on<F: Future>(&self, future: F) -> F::Output {
//!         futures::executor::block_on(future) // the pool runs on its own threads, a test only waits
//!     }
//! }
//!
//! fn main() -> ExitCode {
//! #   contract::suite("my_runtime", Bed::new).check();
//! #   if true { return ExitCode::SUCCESS } // the arguments of this process are not for it
//!     suite::run([contract::suite("my_runtime", Bed::new)])
//! }
//! ```
//!
//! ```text
//! test my_runtime::law_any_thread ... ok
//! test my_runtime::law_dropped_sleep_is_silent ... ok
//! test my_runtime::law_now_is_the_clock_of_sleep ... ok
//! test my_runtime::law_panic_stays_inside ... ok
//! test my_runtime::law_past_deadline_is_ready ... ok
//! test my_runtime::law_random_never_repeats ... ok
//! test my_runtime::law_sleep_is_never_early ... ok
//! test my_runtime::law_spawn_detaches ... ok
//! ```
//!
//! A runtime that breaks a law fails the test of that name. This one drops a handle that cancels its task:
//!
//! ```
//! # use std::{panic, sync::Arc, time::Instant};
//! # use async_io::Timer;
//! # use futures::{FutureExt, executor::ThreadPool};
//! # use mcp_session_core::{BoxFuture, Runtime};
//! # use mcp_session_testkit::{TestBed, contract};
//! # #[derive(Debug, Clone)]
//! # struct Forgetful(ThreadPool);
//! impl Runtime for Forgetful {
//! #     fn now(&self) -> Instant { Instant::now() }
//! #     fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
//! #         Timer::at(deadline).map(|_| ()).boxed()
//! #     }
//!     fn spawn(&self, task: BoxFuture<'static, ()>) {
//!         let (task, _handle) = task.remote_handle();
//!         self.0.spawn_ok(task);
//!     }
//!     // ...
//! }
//! # struct Bed(Forgetful);
//! # impl TestBed for Bed {
//! #     fn name(&self) -> &str { "mine" }
//! #     fn runtime(&self) -> Arc<dyn Runtime> { Arc::new(self.0.clone()) }
//! #     fn block_on<F: Future>(&self, future: F) -> F::Output { futures::executor::block_on(future) }
//! # }
//!
//! let bed = Bed(Forgetful(ThreadPool::new()?));
//! let broken = panic::catch_unwind(|| contract::law_spawn_detaches(&bed)).unwrap_err();
//! let why = broken.downcast::<String>().expect("a message");
//! assert!(why.starts_with("mine: a detached task was dropped"), "{why}");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! No law asserts that something is fast, so all of them pass on a slow machine. If a runtime loses a wake, a timer or a
//! thread, a law hangs, and the test fails after two minutes (see [`Watchdog`](crate::Watchdog)). The pool without
//! `catch_unwind` gives:
//!
//! ```text
//! test my_runtime::law_panic_stays_inside ... FAILED
//! mine: no result after 120s: a wake, a timer or a task was lost
//! ```
//!
//! # 3. The behaviour suite
//!
//! The scenarios in [`behaviour`](crate::behaviour) test an endpoint, from status codes to shutdown. They are written once
//! and pass on every runtime that keeps the laws. [`behaviour::suite`](crate::behaviour::suite) takes the same bed:
//!
//! ```
//! # use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};
//! # use async_io::Timer;
//! # use futures::{FutureExt, executor::ThreadPool};
//! # use mcp_session_core::{BoxFuture, Runtime};
//! # use mcp_session_testkit::TestBed;
//! # #[derive(Debug, Clone)]
//! # struct PoolRuntime(ThreadPool);
//! # impl Runtime for PoolRuntime {
//! #     fn now(&self) -> Instant { Instant::now() }
//! #     fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
//! #         Timer::at(deadline).map(|_| ()).boxed()
//! #     }
//! #     fn spawn(&self, task: BoxFuture<'static, ()>) {
//! #         self.0.spawn_ok(AssertUnwindSafe(task).catch_unwind().map(|_| ()));
//! #     }
//! # }
//! # struct Bed(PoolRuntime);
//! # impl Bed {
//! #     fn new() -> Self { Self(PoolRuntime(ThreadPool::new().expect("threads"))) }
//! # }
//! # impl TestBed for Bed {
//! #     fn name(&self) -> &str { "mine" }
//! #     fn runtime(&self) -> Arc<dyn Runtime> { Arc::new(self.0.clone()) }
//! #     fn block_on<F: Future>(&self, future: F) -> F::Output { futures::executor::block_on(future) }
//! # }
//! # use std::process::ExitCode;
//! use mcp_session_testkit::{behaviour, contract, suite};
//!
//! fn main() -> ExitCode {
//! #   let all = behaviour::scenarios();
//! #   for scenario in all.iter().filter(|scenario| scenario.name.starts_with("s_5_exactly")) {
//! #       scenario.run(&Bed::new());
//! #   }
//! #   if true { return ExitCode::SUCCESS } // the arguments of this process are not for it
//!     suite::run([
//!         contract::suite("my_runtime", Bed::new),
//!         behaviour::suite("my_behaviour", Bed::new),
//!     ])
//! }
//! ```
//!
//! ```text
//! test my_behaviour::a_12_errors_echo_the_id ... ok
//! test my_behaviour::a_17_params_arrive_byte_for_byte ... ok
//! ...
//! test my_behaviour::terminate_closes_post_and_get_alike ... ok
//! ```
//!
//! Scenarios wait for states and pass on slow machines too. If one fails now and then on your runtime although the laws
//! hold, there is a race in your runtime or in core: please report it. [`Scenario`](crate::suite::Scenario) shows how to run
//! one of them in a loop.
//!
//! # 4. Sockets
//!
//! A server is a [`Serve`](mcp_session_core::Serve). Core accepts connections, listens for signals, runs the phases of a
//! shutdown within its ceiling, and counts what had to be cut. You provide the sockets that your listener accepts. If
//! hyper can read and write them, `mcp-session-hyper` does the rest, over HTTP/1.1 and HTTP/2. For I/O that implements the
//! traits of `futures`, `smol-hyper` has a wrapper:
//!
//! ```
//! # use std::{panic::AssertUnwindSafe, time::Instant};
//! # use async_io::Timer;
//! # use futures::{FutureExt, executor::ThreadPool};
//! # use mcp_session_core::{BoxFuture, Runtime};
//! # #[derive(Debug, Clone)]
//! # struct PoolRuntime(ThreadPool);
//! # impl Runtime for PoolRuntime {
//! #     fn now(&self) -> Instant { Instant::now() }
//! #     fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
//! #         Timer::at(deadline).map(|_| ()).boxed()
//! #     }
//! #     fn spawn(&self, task: BoxFuture<'static, ()>) {
//! #         self.0.spawn_ok(AssertUnwindSafe(task).catch_unwind().map(|_| ()));
//! #     }
//! # }
//! use std::{
//!     io::{self, Read, Write},
//!     net::{TcpListener, TcpStream},
//! };
//!
//! use async_io::Async;
//! use futures::stream;
//! use mcp_session_core::{Endpoint, Router, Serve, ShutdownPolicy};
//! use mcp_session_hyper::{McpService, serve_app};
//! use smol_hyper::rt::FuturesIo;
//!
//! fn serve(listener: TcpListener, endpoint: Endpoint) -> io::Result<Serve> {
//!     let accepted = stream::unfold(Async::new(listener)?, async |listener| {
//!         let accepted = listener.accept().await;
//!         Some((accepted.map(|(socket, _)| async_net::TcpStream::from(socket)), listener))
//!     });
//!     let app = McpService::new(endpoint.clone());
//!     Ok(serve_app(accepted, FuturesIo::new, endpoint, app))
//! }
//!
//! # fn main() -> io::Result<()> {
//! let listener = mcp_session_hyper::bind("127.0.0.1:0")?; // its backlog has room for all clients at once
//! let address = listener.local_addr()?;
//! let endpoint = Endpoint::new(PoolRuntime(ThreadPool::new()?), Router::new("mine", "0.1.0"));
//! let server = serve(listener, endpoint.clone())?; // and .with_graceful_shutdown(signal), in a program
//! let main = std::thread::spawn(move || futures::executor::block_on(server.into_future()));
//!
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(b"PUT /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")?;
//! let mut answer = [0; 12];
//! client.read_exact(&mut answer)?;
//! assert_eq!(&answer, b"HTTP/1.1 405"); // MCP has POST, GET and DELETE
//!
//! endpoint.shutdown(ShutdownPolicy::default());
//! let report = main.join().expect("no panic")?;
//! assert!(report.is_clean(), "{report}");
//! assert!(TcpStream::connect(address).is_err()); // and nothing is accepted any more
//! # Ok(())
//! # }
//! ```
//!
//! HTTP libraries other than hyper work as well. A [`ServeConnection`](mcp_session_core::ServeConnection) returns any future
//! that serves one connection with [`Endpoint::handle`](mcp_session_core::Endpoint::handle). The future must end once
//! [`ConnectionContext::closing`](mcp_session_core::ConnectionContext::closing) is ready and no request is running on the
//! connection, and it can be dropped at any time.
//!
//! # 5. The wire suite
//!
//! The last step needs the feature `wire` of the test kit. Its clients write bytes to your sockets and check exactly how
//! each body ended. They cover clean ends, readers that stall, clients that vanish, heads that arrive byte by byte, and
//! signals. `wire::suite` takes a `ServeHarness`: the bed of step 2, with your `serve`:
//!
#![cfg_attr(feature = "wire", doc = "```")]
#![cfg_attr(not(feature = "wire"), doc = "```ignore")]
//! # use std::{panic::AssertUnwindSafe, time::Instant};
//! # use async_io::{Async, Timer};
//! # use futures::{FutureExt, executor::ThreadPool, stream};
//! # use mcp_session_core::BoxFuture;
//! # use mcp_session_hyper::{McpService, serve_app};
//! # use smol_hyper::rt::FuturesIo;
//! # #[derive(Debug, Clone)]
//! # struct PoolRuntime(ThreadPool);
//! # impl Runtime for PoolRuntime {
//! #     fn now(&self) -> Instant { Instant::now() }
//! #     fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
//! #         Timer::at(deadline).map(|_| ()).boxed()
//! #     }
//! #     fn spawn(&self, task: BoxFuture<'static, ()>) {
//! #         self.0.spawn_ok(AssertUnwindSafe(task).catch_unwind().map(|_| ()));
//! #     }
//! # }
//! # fn serve(listener: TcpListener, endpoint: Endpoint) -> std::io::Result<Serve> {
//! #     let accepted = stream::unfold(Async::new(listener)?, async |listener| {
//! #         let accepted = listener.accept().await;
//! #         Some((accepted.map(|(socket, _)| async_net::TcpStream::from(socket)), listener))
//! #     });
//! #     let app = McpService::new(endpoint.clone());
//! #     Ok(serve_app(accepted, FuturesIo::new, endpoint, app))
//! # }
//! # use std::sync::Arc;
//! # use mcp_session_core::Runtime;
//! # use mcp_session_testkit::TestBed;
//! # struct Bed(PoolRuntime);
//! # impl Bed {
//! #     fn new() -> Self { Self(PoolRuntime(ThreadPool::new().expect("threads"))) }
//! # }
//! # impl TestBed for Bed {
//! #     fn name(&self) -> &str { "pool" }
//! #     fn runtime(&self) -> Arc<dyn Runtime> { Arc::new(self.0.clone()) }
//! #     fn block_on<F: Future>(&self, future: F) -> F::Output { futures::executor::block_on(future) }
//! # }
//! use std::{net::TcpListener, process::ExitCode};
//! use mcp_session_core::{Endpoint, Serve};
//! use mcp_session_testkit::{suite, wire::{self, ServeHarness}};
//!
//! impl ServeHarness for Bed {
//!     fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
//!         serve(listener, endpoint).expect("a listener")
//!     }
//! }
//!
//! fn main() -> ExitCode {
//! #   let all = wire::scenarios();
//! #   for scenario in all.iter().filter(|scenario| scenario.name.starts_with("s_7_post_and_get")) {
//! #       scenario.run(&Bed::new());
//! #   }
//! #   if true { return ExitCode::SUCCESS } // the arguments of this process are not for it
//!     suite::run([wire::suite("my_server", Bed::new)]) // beside those of steps 2 and 3
//! }
//! ```
//!
//! ```text
//! test my_server::d_12_a_client_that_leaves_cancels_nothing_and_leaks_nothing ... ok
//! test my_server::s_11_an_unread_get_stream_delays_nobody ... ok
//! ...
//! test my_server::over_http2_the_same_bodies_get_408_and_413 ... ok
//! ```
//!
//! If your HTTP library lacks an ability, say so with [`Suite::without`](crate::suite::Suite::without), and why; its tests are
//! listed as ignored.
//! Once all tests pass, your runtime is on a par with ours: open a pull request with its adapter, or keep it to yourself.
