//! [`Runtime`]: the three things core needs from an async runtime, its source of random bytes, and its wall clock.

use std::{
    fmt::Debug,
    io,
    sync::Arc,
    time::{Instant, SystemTime},
};

pub use futures::future::BoxFuture;

/// What core needs from an async runtime: a clock, a timer and tasks.
///
/// An adapter crate implements it in a few lines; so can you, for a runtime of your own. An implementation
/// only translates: it decides nothing about the protocol. The chapter
/// [Bring your own runtime](https://docs.rs/mcp-session-testkit/latest/mcp_session_testkit/bring_your_own_runtime) shows
/// the way from these three methods to a server that passes every suite.
///
/// # The laws
///
/// 1. `now` never goes backwards and is the clock of `sleep_until`. It has no default, because a default would
///    break paused and simulated time.
/// 2. `sleep_until` is never early. A deadline in the past is ready at the first poll. Dropping the future
///    cancels the sleep and has no other effect. Deadlines may be far in the future: a limit of
///    [`Duration::MAX`](std::time::Duration::MAX) arrives here as some decades.
/// 3. `spawn` detaches: the task runs to its end without being awaited. A panic stays inside the task.
/// 4. All three may be called from any thread, even from inside a task of another runtime.
/// 5. `random`, if overridden, never returns the same bytes twice, and nobody can guess them. The only exception is a
///    simulation.
///
/// `contract::suite` of `mcp-session-testkit` tests each law.
///
/// ```
/// use std::{panic::AssertUnwindSafe, time::Instant};
/// use futures::{executor::ThreadPool, FutureExt};
/// use mcp_session_core::{BoxFuture, Runtime};
///
/// #[derive(Debug)]
/// struct Pool(ThreadPool);
///
/// impl Runtime for Pool {
///     fn now(&self) -> Instant {
///         Instant::now()
///     }
///     fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
///         // A real one waits on its reactor; this one occupies a thread.
///         async move { std::thread::sleep(deadline.saturating_duration_since(Instant::now())) }.boxed()
///     }
///     fn spawn(&self, task: BoxFuture<'static, ()>) {
///         // This pool would lose a thread to a panic.
///         self.0.spawn_ok(AssertUnwindSafe(task).catch_unwind().map(|_| ()));
///     }
/// }
///
/// let runtime = Pool(ThreadPool::new()?);
/// let start = runtime.now();
/// futures::executor::block_on(runtime.sleep_until(start)); // already past: ready at once
/// assert!(runtime.now() >= start);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # How core uses it
///
/// An endpoint has one task that keeps the deadlines of all its sessions, one for each handler that is not ready
/// at its first poll, one for each `terminated` hook, and one for a shutdown. A server has one for each connection. `now`
/// is called with every request, under the lock of a session: it must be fast, and must not call back into core. The other
/// two are called without a lock.
///
/// *Entering the runtime.* Core needs no `block_on`, and its futures may be polled anywhere: the future that `main` awaits,
/// usually a [`Serve`](crate::Serve), may run on a different executor than the tasks. `main` must await the report, because
/// the process ends when `main` returns.
///
/// *Blocking handlers.* A handler runs on the thread of its request, then as a task. While it blocks, everything else on
/// that thread waits: with a single thread, that includes every deadline, even the ceiling of a shutdown (S3). Use several
/// threads, and a separate thread, which no handler can block, for timers and the two tasks of
/// [`spawn_keeper`](Runtime::spawn_keeper). Tell authors of handlers to run blocking work in a thread pool. A handler that
/// holds its thread for more than 100 ms is logged.
///
/// *Ending the runtime.* A runtime may end and drop its tasks, and tasks that are spawned later. Core treats a dropped task
/// as the end of its work: a running call is answered with -32603, a connection is cut, and a shutdown closes at once and
/// still returns its report. Deadlines are no longer kept, so shut the endpoint down first.
///
/// *Dropping the last handle.* Sessions and tasks hold the `Runtime` too, so the last handle may be dropped inside one of
/// its own tasks: its `Drop` must not block or join its threads.
///
/// # Thread-per-core runtimes
///
/// Tasks and sleeps are `Send`, because the next request of a session may arrive on any thread: a client opens several
/// connections, and the kernel distributes them. The tasks of a thread-per-core runtime (compio, monoio, glommio) need not
/// be `Send`, which is no obstacle. But its timers and sockets are not `Send`, so `sleep_until` cannot return such a timer,
/// and a handler cannot hold such a socket across an `.await`.
///
/// One endpoint per thread does not work: a request that arrives on another thread than its session's would get 404, and
/// there would be as many shutdowns, ceilings and reports as threads. Instead:
///
/// - Share one endpoint among all threads. [`Endpoint::handle`](crate::Endpoint::handle) is a call, not a message: a
///   connection awaits it on its own thread, and need not be `Send` for it. The `Runtime` of the endpoint is a small
///   separate executor with its own threads and timers, such as the `custom_runtime` of our examples.
/// - Or give one thread of such a runtime a channel: `spawn` sends it the task, and `sleep_until` sends it a deadline and
///   awaits the answer. On compio this keeps the laws and passes the behaviour suite, with one thread for all tasks.
///
/// # WebAssembly
///
/// The crate builds for `wasm32-wasip2` and `wasm32-unknown-unknown`, with all features (`cargo xtask test-all`, step `wasm`): it has
/// no threads, sockets or files, its mutexes are never waited on by a single thread, and time is [`now`](Runtime::now). No
/// adapter is for these targets, and no test runs there. What a runtime of your own meets:
///
/// - On `wasm32-unknown-unknown` std has no clock: `Instant::now()` panics, and there is no other way to make the `Instant` that `now`
///   returns. So an endpoint cannot run there; `mcp-session-proto` can be used as far as it needs no time: its messages, versions and
///   event ids. `getrandom` does not build without a backend that the application chooses (`--cfg getrandom_backend="wasm_js"` or
///   `"custom"`).
/// - On `wasm32-wasip2` there are clocks, random bytes, and sockets, but one thread: a handler that blocks it stops every deadline, and
///   tasks and sleeps must be `Send` all the same.
/// - A host of `wasi:http` may start an instance for each request, which keeps no session, and may end it with the response:
///   [`Sessions::Stateless`](crate::Sessions::Stateless), or a store.
pub trait Runtime: Debug + Send + Sync + 'static {
    /// The current time: monotonic, by the same clock as [`sleep_until`](Runtime::sleep_until).
    fn now(&self) -> Instant;

    /// Waits until `deadline`, never shorter. Dropping the future cancels the sleep.
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()>;

    /// Runs `task` to its end in the background.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Spawns a task that keeps deadlines. Defaults to [`spawn`](Runtime::spawn); override it if the runtime has a thread
    /// that no handler can block. Such a task has little work per poll, and polls no code of the application.
    fn spawn_keeper(&self, task: BoxFuture<'static, ()>) {
        self.spawn(task);
    }

    /// Returns 16 random bytes: the id of a session, or of a node that shares a store, or half of a key or a nonce that
    /// seals a `requestState`. The default is the operating system's source. Called for each new session and twice for each
    /// sealed state, without a lock; it should not block.
    ///
    /// A session id is a secret, and without authentication it is the only one: whoever guesses it has the session. So the
    /// bytes must come from a cryptographic source. Only a simulation, which nobody attacks, takes them from a seed, so that
    /// a run can be replayed. A runtime that wraps another one passes the call on (E-03).
    ///
    /// # Errors
    ///
    /// If the source has no bytes. Then `initialize` gets 500, and
    /// [`Endpoint::with_config`](crate::Endpoint::with_config) refuses a store.
    fn random(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The wall-clock time, by which a sealed `requestState` expires: several nodes and processes share such a time, and
    /// no [`Instant`] means anything to two of them. The default is the operating system's clock.
    ///
    /// The law: all nodes that open each other's states have about the same time; by as much as two clocks differ, a state
    /// lives shorter or longer. It may jump in both directions, as the clock of a machine does when it is set: so no
    /// deadline within a process goes by it, they all go by [`now`](Runtime::now). Nobody outside may be able to set it
    /// back: that would revive expired states.
    ///
    /// A runtime whose time is simulated overrides it, so that the expiry of a state is simulated too. A runtime that wraps
    /// another one passes the call on. It must be fast (G-38).
    fn system_time(&self) -> SystemTime {
        #[expect(clippy::disallowed_methods, reason = "the default of the method that everything else calls")]
        SystemTime::now()
    }
}

impl<R: Runtime + ?Sized> Runtime for Arc<R> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        (**self).sleep_until(deadline)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        (**self).spawn(task);
    }

    fn spawn_keeper(&self, task: BoxFuture<'static, ()>) {
        (**self).spawn_keeper(task);
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        (**self).random()
    }

    fn system_time(&self) -> SystemTime {
        (**self).system_time()
    }
}
