//! The models of `cargo xtask loom`: small programs of two or three threads that call this crate's own code. loom runs each
//! of them in every order in which the operations of its threads can be interleaved.
//!
//! Time stands still in a model and no timer fires, so whoever waits is woken by another thread or waits forever, which loom
//! reports as a deadlock. Each model says what its threads do and what holds in each of their orders. The bound is the
//! number of preemptions: how often a thread is interrupted while it could go on. Where it is `None`, there is none.

mod quota;
mod registry;
mod requests;
mod shutdown;
mod streams;
mod subscriptions;
mod waits;

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, Wake},
    time::{Duration, Instant},
};

use futures::FutureExt;
use mcp_session_proto::{Input, Json, RpcError};

use super::AtomicWaker;
use crate::{
    config::Config,
    endpoint::Endpoint,
    handler::{Handler, InitializeResult, context::RequestContext},
    metrics::Stats,
    runtime::{BoxFuture, Runtime},
    session::{Session, env::Env, registry::Registry},
    shutdown::{ShutdownPolicy, ShutdownReport},
    stateless,
    testing::start,
};

/// The stack of a thread in a model, in words. loom's own default is too small for a debug build of this crate.
const STACK: usize = 64 * 1024;

/// The bound of most models. A race needs one preemption of each of its threads, seldom two; without a bound, models of so
/// much code do not end.
const PREEMPTIONS: usize = 3;

/// More than any of these models needs; a thread that never ends reaches it.
const MAX_BRANCHES: usize = 20_000;

/// Runs `model` in every interleaving with at most `preemptions`, and prints how many there were.
fn check(name: &str, preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    // Set by `cargo xtask loom --only`.
    let only = std::env::var("LOOM_ONLY").unwrap_or_default();
    if !only.is_empty() && !only.split(' ').any(|it| is_of(name, it)) {
        return;
    }
    let (explored, model) = (Arc::new(AtomicUsize::new(0)), Arc::new(model));
    let mut builder = loom::model::Builder::new();
    // The shorter form of `test-all` sets LOOM_MAX_PREEMPTIONS.
    let bound = builder.preemption_bound.into_iter().chain(preemptions).min();
    (builder.preemption_bound, builder.max_branches) = (bound, MAX_BRANCHES);
    let (counted, begun) = (Arc::clone(&explored), start());
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        let model = Arc::clone(&model);
        join(spawn(move || model()));
    });
    let took = start().saturating_duration_since(begun);
    let bound = bound.map_or_else(|| "none".to_owned(), |bound| bound.to_string());
    println!(
        "\nloom: {name}; preemptions {bound}; interleavings {}; ms {}",
        explored.load(Relaxed),
        took.as_millis()
    );
}

/// Whether a model is the one that is asked for, or a variant of it: `answer/json` of `answer`.
fn is_of(name: &str, asked: &str) -> bool {
    name.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn spawn<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> loom::thread::JoinHandle<R> {
    loom::thread::Builder::new().stack_size(STACK).spawn(act).expect("there are few threads")
}

fn join<R>(thread: loom::thread::JoinHandle<R>) -> R {
    thread.join().expect("the thread ends well")
}

/// A runtime whose time stands still. Its tasks wait until [`Tasks::run`] polls them.
#[derive(Debug)]
struct Tasks {
    start: Instant,
    spawned: std::sync::Mutex<Spawned>,
    executor: AtomicWaker,
}

#[derive(Default)]
struct Spawned {
    tasks: Vec<BoxFuture<'static, ()>>,
    random: u8,
}

impl std::fmt::Debug for Spawned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Spawned").field(&self.tasks.len()).finish()
    }
}

impl Tasks {
    fn take(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut self.spawned.lock().expect("it is not held for long").tasks)
    }

    /// Polls `future`, and all tasks that are spawned meanwhile, until `future` is ready.
    fn run<R>(&self, future: impl Future<Output = R>) -> R {
        let (mut future, mut running) = (pin!(future), Vec::new());
        loom::future::block_on(poll_fn(|cx| {
            loop {
                self.executor.register(cx.waker());
                running.extend(self.take());
                running.retain_mut(|task: &mut BoxFuture<'static, ()>| task.poll_unpin(cx).is_pending());
                if let Poll::Ready(result) = future.as_mut().poll(cx) {
                    return Poll::Ready(result);
                }
                if self.spawned.lock().expect("it is not held for long").tasks.is_empty() {
                    return Poll::Pending;
                }
            }
        }))
    }
}

impl Runtime for Tasks {
    fn now(&self) -> Instant {
        self.start
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        if deadline <= self.start {
            Box::pin(std::future::ready(()))
        } else {
            Box::pin(std::future::pending())
        }
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.spawned.lock().expect("it is not held for long").tasks.push(task);
        self.executor.wake();
    }

    fn random(&self) -> std::io::Result<[u8; 16]> {
        let mut spawned = self.spawned.lock().expect("it is not held for long");
        spawned.random += 1;
        Ok([spawned.random; 16])
    }
}

/// A handler that is never asked: the models answer by themselves.
struct Silent;

impl Handler for Silent {
    fn info(&self) -> InitializeResult {
        InitializeResult::new("silent", "1.0.0")
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        Err(RpcError::method_not_found(cx.method()))
    }
}

/// An endpoint in a model.
struct Server {
    runtime: Arc<Tasks>,
    endpoint: Endpoint,
}

impl Server {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        // All interleavings have the same times.
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let start = *START.get_or_init(start);
        let runtime =
            Arc::new(Tasks { start, spawned: Default::default(), executor: AtomicWaker::default() });
        let mut config = Config::default();
        config.session.linger = Duration::ZERO; // no timer would end it
        change(&mut config);
        let endpoint =
            Endpoint::with_config(Arc::clone(&runtime), Silent, config).expect("the config is valid");
        drop(runtime.take()); // those who keep deadlines: none is due
        Self { runtime, endpoint }
    }

    fn registry(&self) -> &Arc<Registry> {
        self.endpoint.registries().0
    }

    fn stateless(&self) -> Arc<stateless::registry::Registry> {
        Arc::clone(self.endpoint.registries().1)
    }

    fn env(&self) -> &Arc<Env> {
        &self.registry().env
    }

    fn stats(&self) -> Stats {
        self.endpoint.stats()
    }

    /// Opens a session that its client uses.
    fn open(&self) -> Session {
        let (session, key) = create(self.registry()).expect("there is room");
        establish(&session, key);
        session.with(|machine, now| machine.handle_input(now, Input::Initialized)).expect("it is the first");
        session
    }

    /// Shuts down, and waits for the report.
    fn shut_down(&self, policy: ShutdownPolicy) -> ShutdownReport {
        let shutdown = self.endpoint.shutdown(policy);
        self.runtime.run(shutdown.wait())
    }

    /// Drops everything, and shows that nothing of it is left: no session, request, task or waker keeps it.
    fn end(self) {
        let env: Weak<Env> = Arc::downgrade(self.env());
        let Self { runtime, endpoint } = self;
        drop(endpoint);
        while let Some(task) = runtime.take().pop() {
            drop(task);
        }
        assert_eq!(env.strong_count(), 0, "something still holds the endpoint");
    }
}

/// Opens a session whose client does not know it yet.
fn create(
    registry: &Arc<Registry>,
) -> Result<(Session, mcp_session_proto::ExchangeKey), crate::transport::Rejection> {
    let version = mcp_session_proto::ProtocolVersion::LATEST_WITH_HANDSHAKE;
    registry.create(1.into(), version, Default::default(), None, &nothing())
}

/// Answers `initialize`.
fn establish(session: &Session, key: mcp_session_proto::ExchangeKey) {
    session.with(|machine, now| machine.answer(now, key, &Ok(nothing())));
    session.with(|machine, now| machine.poll_reply(now, key));
}

fn nothing() -> Json {
    serde_json::json!({}).into()
}

/// Each phase has a time that never ends, except the first, which has none.
fn patient() -> ShutdownPolicy {
    ShutdownPolicy::default()
}

/// No phase has any time.
fn at_once() -> ShutdownPolicy {
    let zero = Duration::ZERO;
    ShutdownPolicy { lame_duck: zero, drain: zero, cancel: zero, finish: zero }
}

/// Nothing is open any more, and every request that was admitted has had exactly one end.
fn assert_balanced(stats: &Stats) {
    assert_eq!(
        (stats.sessions, stats.exchanges, stats.streams, stats.subscriptions),
        (0, 0, 0, 0),
        "{stats:?}"
    );
    let ended = stats.exchanges_answered
        + stats.exchanges_synthesized
        + stats.exchanges_cancelled
        + stats.exchanges_forced;
    assert_eq!(stats.exchanges_admitted, ended, "{stats:?}");
}

/// The totals of a report add up.
fn assert_adds_up(report: &ShutdownReport) {
    let exchanges = &report.exchanges;
    let ended = exchanges.answered + exchanges.synthesized + exchanges.cancelled + exchanges.forced;
    assert_eq!(exchanges.total, ended, "{report:?}");
    assert_eq!(report.streams.total, report.streams.ended + report.streams.cut, "{report:?}");
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Woken {
    fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}
