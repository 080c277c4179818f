//! [`Runtime`]: the three things core needs from an async runtime.

use std::{fmt::Debug, sync::Arc, time::Instant};

pub use futures::future::BoxFuture;

/// What core needs from an async runtime: a clock, a timer and tasks.
///
/// An adapter crate implements it in a few lines; so can you, for a runtime of your own. An implementation
/// only translates: it decides nothing about the protocol. The chapter
/// [Bring your own runtime](https://docs.rs/mcp-session-testkit/latest/mcp_session_testkit/bring_your_own_runtime) leads
/// from these three methods to a server that passes every suite.
///
/// # The laws
///
/// 1. `now` never goes backwards and is the clock that `sleep_until` waits on. It is required, without a
///    default, because a default would break paused and simulated time.
/// 2. `sleep_until` is never early. A deadline in the past is ready at the first poll. Dropping the future
///    cancels the sleep and has no other effect. Deadlines may be far away: a limit of [`Duration::MAX`](std::time::Duration::MAX) arrives
///    here as some decades.
/// 3. `spawn` detaches: the task runs to its end although nobody awaits it. A panic stays inside the task.
/// 4. All three may be called from any thread, also from inside a task of another runtime.
///
/// `runtime_contract!` of `mcp-session-testkit` makes a test of each.
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
/// # What core does with it
///
/// An endpoint has one task that keeps the deadlines of all its sessions, one for each handler that is not ready
/// at its first poll, one for each `terminated` hook, and one for a shutdown; a server has one for each connection. `now` is
/// called with every request, under the lock of a session: it must be quick and call nobody back. The other two are called
/// without a lock.
///
/// *Entering it.* Core needs no `block_on` and does not care where its futures are polled: what `main` awaits, most
/// often a [`Serve`](crate::Serve), may run on another executor than the tasks. Once `main` returns, the process ends with
/// everything in it, so it has to await the report.
///
/// *Handlers that block.* A handler runs on the thread that carries its request, then as a task. While it blocks, whatever
/// else needs that thread waits: with a single thread, that is every deadline, the ceiling of a shutdown (S3) included.
/// Have several threads, and a thread that runs the two tasks of [`spawn_keeper`](Runtime::spawn_keeper) and the timers, which no
/// handler can block; and tell those who write handlers to take a pool for what blocks. A handler that holds its thread for
/// more than 100 ms is logged.
///
/// *Its end.* A runtime may end while its tasks live and drop them, and those that are spawned later. Core takes a dropped
/// task for the end of its work: a call that was running is answered with -32603, a connection is cut, and a
/// shutdown closes at once and still gives its report. Deadlines are no longer kept then, so shut the endpoint down before.
///
/// *Its last handle.* Sessions and tasks hold the `Runtime` too, so the last one may be dropped inside one of its own
/// tasks: its `Drop` must not block, nor join its threads.
///
/// # Thread-per-core runtimes
///
/// Tasks and sleeps are `Send`, because a session is reached from whichever thread its next request arrives on: a client
/// opens several connections, and the kernel spreads them. What a thread-per-core runtime (compio, monoio, glommio) spawns
/// need not be `Send`, which is no obstacle, but its timers and sockets are not, so `sleep_until` cannot return such a timer
/// and a handler cannot hold such a socket across an `.await`.
///
/// An endpoint for each thread is no way out. A request that arrives on another thread than its session's would find
/// no session there and get 404, and there would be as many shutdowns, ceilings and reports as threads. Instead:
///
/// - Share one endpoint among all threads. [`Endpoint::handle`](crate::Endpoint::handle) is a call, not a message: a
///   connection awaits it on its own thread, and need not be `Send` for it. The `Runtime` under the endpoint is a small
///   executor beside them with threads and timers of its own, such as the `custom_runtime` of our examples.
/// - Or give one thread of such a runtime a channel: `spawn` sends it the task, and `sleep_until` sends it a deadline and
///   awaits the answer. On compio this keeps the laws and passes the behaviour suite, on one thread for all tasks.
pub trait Runtime: Debug + Send + Sync + 'static {
    /// The current time. Monotonic, and the clock of [`sleep_until`](Runtime::sleep_until).
    fn now(&self) -> Instant;

    /// Waits until `deadline`: never shorter, and cancelled by dropping it.
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()>;

    /// Runs `task` to its end in the background.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs a task that keeps deadlines: [`spawn`](Runtime::spawn), unless the runtime has a thread for it that no handler can
    /// block. Such a task is always short of work and polls no code of the application.
    fn spawn_keeper(&self, task: BoxFuture<'static, ()>) {
        self.spawn(task);
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
}
