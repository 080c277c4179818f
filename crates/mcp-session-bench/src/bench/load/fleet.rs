//! Threads that prepare a load, wait for the start signal, and run it.

use std::{
    future::Future,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use tokio::{runtime::Builder, sync::watch, task::JoinSet, time::timeout};

use super::Target;
use crate::{machine::pin_thread, process};

/// The time window of a measurement. Everything warms up before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
}

impl Window {
    /// Connections and caches get a quarter of the time to warm up before the window begins, at least this time.
    pub(crate) fn of(time: Duration, warm_up: Duration) -> Self {
        let begin = Instant::now() + warm_up.max(time / 4);
        Self { begin, end: begin + time }
    }

    pub(super) fn contains(&self, time: Instant) -> bool {
        self.begin <= time && time <= self.end
    }

    pub(crate) fn seconds(&self) -> f64 {
        (self.end - self.begin).as_secs_f64()
    }
}

/// The share of one thread: the items out of `total` that it handles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    thread: usize,
    threads: usize,
}

impl Share {
    pub(crate) fn of(self, total: usize) -> impl Iterator<Item = usize> + Clone {
        (self.thread..total).step_by(self.threads)
    }
}

/// Starts the load once everything is prepared. If it is dropped without starting, the threads end.
#[derive(Debug)]
pub(crate) struct Go<G>(watch::Sender<Option<G>>);

impl<G> Go<G> {
    pub(crate) fn say(self, what: G) {
        self.0.send_replace(Some(what));
    }
}

/// Runs a load on the target's threads: each thread prepares, `conduct` starts them and measures from this thread, and
/// each thread runs to the end.
pub(crate) fn drive<G, S, T, M>(
    target: &Target,
    prepare: impl AsyncFn(Share) -> Result<S> + Sync,
    conduct: impl FnOnce(Go<G>) -> Result<M>,
    run: impl AsyncFn(S, G) -> Result<T> + Sync,
) -> Result<(Vec<T>, M)>
where
    G: Clone + Send + Sync,
    T: Send,
{
    let threads = target.threads.len();
    let (sender, receiver) = watch::channel(None);
    let (ready, prepared) = mpsc::channel::<Result<()>>();
    let (prepare, run) = (&prepare, &run);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (ready, mut receiver) = (ready.clone(), receiver.clone());
                scope.spawn(move || -> Result<Option<T>> {
                    pin_thread(target.threads[thread]);
                    let runtime = Builder::new_current_thread().enable_all().build()?;
                    runtime.block_on(async {
                        let share = Share { thread, threads };
                        let state = match limited(target.limit, prepare(share)).await {
                            Ok(state) => state,
                            Err(error) => {
                                let _ = ready.send(Err(error)); // fails only if the conductor has given up
                                return Ok(None);
                            }
                        };
                        let _ = ready.send(Ok(()));
                        let Ok(go) = receiver.wait_for(Option::is_some).await.map(|go| go.clone()) else {
                            return Ok(None);
                        };
                        let go = go.context("the start signal was awaited")?;
                        limited(target.limit, run(state, go)).await.map(Some)
                    })
                })
            })
            .collect();
        let all_prepared =
            (0..threads).try_for_each(|_| prepared.recv().context("a client thread has ended")?);
        let conducted = match all_prepared {
            Ok(()) => conduct(Go(sender)),
            Err(error) => {
                drop(sender);
                Err(error.context("the load could not be prepared"))
            }
        };
        let mut results = Vec::new();
        for worker in workers {
            let result = worker.join().map_err(|_| anyhow!("a client thread panicked"))?;
            results.extend(result.context("the load could not be run")?);
        }
        Ok((results, conducted?))
    })
}

/// Loads the server for `time`: `prepare` makes the clients of a thread, and `count` is what one of them did in the window.
/// Returns how many that were per second, and the server's microseconds for each.
pub(crate) fn rate<C, F>(
    target: &Target,
    time: Duration,
    prepare: impl AsyncFn(Share) -> Result<Vec<C>> + Sync,
    count: impl Fn(C, Window) -> F + Sync,
) -> Result<(f64, f64)>
where
    F: Future<Output = Result<u64>> + Send + 'static,
{
    let run = async |clients: Vec<C>, window| {
        let mut tasks: JoinSet<_> = clients.into_iter().map(|client| count(client, window)).collect();
        let mut total = 0;
        while let Some(ended) = tasks.join_next().await {
            total += ended??;
        }
        Ok(total)
    };
    let (counts, (window, usage)) = drive(target, prepare, measured(target, time), run)?;
    let total = counts.iter().sum::<u64>() as f64;
    Ok((total / window.seconds(), usage.server * 1e6 / total.max(1.0)))
}

/// Starts the threads and measures for this time.
pub(crate) fn measured(
    target: &Target,
    time: Duration,
) -> impl FnOnce(Go<Window>) -> Result<(Window, Usage)> {
    let usage = || -> Result<Usage> {
        let server = target.pid.map_or(Ok(0.0), process::cpu_seconds)?;
        Ok(Usage { server, client: process::cpu_seconds(std::process::id())? })
    };
    move |go| {
        let (window, [before, after]) = metered(time, Duration::ZERO, usage)(go)?;
        let usage = Usage { server: after.server - before.server, client: after.client - before.client };
        Ok((window, usage))
    }
}

/// Starts the threads, and reads a meter when the window begins and when it ends.
pub(super) fn metered<M>(
    time: Duration,
    warm_up: Duration,
    meter: impl Fn() -> Result<M>,
) -> impl FnOnce(Go<Window>) -> Result<(Window, [M; 2])> {
    move |go| {
        let window = Window::of(time, warm_up);
        go.say(window);
        sleep_until(window.begin);
        let before = meter()?;
        sleep_until(window.end);
        Ok((window, [before, meter()?]))
    }
}

/// Runs the work of a single client, on the first of the target's cores.
pub(super) fn alone<T: Send>(target: &Target, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            pin_thread(target.threads.first().copied().flatten());
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(limited(target.limit, work))
        });
        worker.join().map_err(|_| anyhow!("a client thread panicked"))?
    })
}

async fn limited<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(limit, work).await.with_context(|| format!("not finished after {limit:?}"))?
}

/// Processor seconds used during the measurement.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) server: f64,
    pub(crate) client: f64,
}

fn sleep_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}
