//! [`View`]: a live view at a terminal, plain lines in the log elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use mcp_session_core::{ShutdownPhase, ShutdownPolicy};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{config::GatewayConfig, front::Served};

/// How often the view is drawn: fast enough for a reader, and a fraction of a percent of a core.
const DRAW: Duration = Duration::from_millis(250);

/// How often the log has a summary, while something has changed.
const SUMMARY: Duration = Duration::from_secs(60);

/// How often the log says how a stop goes on.
const PROGRESS: Duration = Duration::from_secs(1);

/// A live view on stderr, if that is a terminal. Cheap to clone.
#[derive(Debug, Clone)]
pub struct View {
    bars: Option<MultiProgress>,
    /// Since when it stops, and by which policy.
    drain: watch::Sender<Option<(Instant, ShutdownPolicy)>>,
}

impl View {
    /// The view that this configuration asks for.
    pub fn new(config: &GatewayConfig) -> Self {
        let live = config.view && io::stderr().is_terminal();
        Self { bars: live.then(MultiProgress::new), drain: watch::Sender::default() }
    }

    /// No view: nothing is drawn or logged.
    pub fn none() -> Self {
        Self { bars: None, drain: watch::Sender::default() }
    }

    /// Whether it is drawn at a terminal.
    pub(crate) fn is_live(&self) -> bool {
        self.bars.is_some()
    }

    /// Writes to this stream, above the view if there is one.
    pub(crate) fn write(&self, mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
        let mut write = || to.write_all(bytes).and_then(|()| to.flush());
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Shows these servers until the task is aborted.
    pub fn watch(&self, served: Arc<[Served]>) -> JoinHandle<()> {
        let view = self.clone();
        match &self.bars {
            Some(bars) => {
                let bars = bars.clone();
                tokio::spawn(async move { view.draw(&bars, &served).await })
            }
            None => tokio::spawn(async move { view.log(&served).await }),
        }
    }

    /// A stop has begun.
    pub(crate) fn draining(&self, policy: ShutdownPolicy) {
        self.drain.send_replace(Some((Instant::now(), policy)));
    }

    /// Removes it from the terminal.
    pub fn clear(&self) {
        if let Some(bars) = &self.bars {
            let _ = bars.clear(); // a terminal that is gone shows nothing
        }
    }

    async fn draw(&self, bars: &MultiProgress, served: &[Served]) {
        let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("a template");
        let lines: Vec<_> =
            served.iter().map(|_| bars.add(ProgressBar::no_length().with_style(style.clone()))).collect();
        let stop = bars.add(ProgressBar::no_length().with_style(style));
        loop {
            for (line, one) in lines.iter().zip(served) {
                line.set_message(line_of(one));
                line.tick();
            }
            let drain = *self.drain.borrow();
            if let Some((begun, policy)) = drain {
                stop.set_message(progress(served, begun.elapsed(), &policy));
                stop.tick();
            }
            sleep(DRAW).await;
        }
    }

    async fn log(&self, served: &[Served]) {
        let (mut last, mut drain) = (None, self.drain.subscribe());
        let (begun, policy) = loop {
            let stops = timeout(SUMMARY, drain.wait_for(Option::is_some)).await;
            if let Ok(Ok(stop)) = stops {
                match *stop {
                    Some(stop) => break stop,
                    None => continue,
                }
            }
            let counts: Vec<_> =
                served.iter().map(|one| (one.endpoint.stats(), one.server.stats())).collect();
            if last.as_ref() != Some(&counts) {
                served.iter().for_each(|one| tracing::info!("{}", line_of(one)));
                last = Some(counts);
            }
        };
        loop {
            tracing::info!("{}", progress(served, begun.elapsed(), &policy));
            sleep(PROGRESS).await;
        }
    }
}

/// What a server does at the moment.
fn line_of(one: &Served) -> String {
    let (stats, children) = (one.endpoint.stats(), one.server.stats());
    format!(
        "{}: {}; sessions {}, children {}, calls {} running, {} answered, {} lost",
        one.name(),
        one.condition(),
        stats.sessions,
        children.children,
        stats.exchanges,
        stats.exchanges_answered,
        children.calls_lost,
    )
}

/// How a stop goes on.
fn progress(served: &[Served], since: Duration, policy: &ShutdownPolicy) -> String {
    let calls: u64 = served.iter().map(|one| one.endpoint.stats().exchanges).sum();
    let children: usize = served.iter().map(|one| one.server.stats().children).sum();
    let phase = served.iter().map(|one| one.endpoint.stats().phase).min();
    let seconds = since.as_secs_f64();
    match phase.unwrap_or(ShutdownPhase::Closed) {
        ShutdownPhase::Running | ShutdownPhase::LameDuck => {
            let all = policy.lame_duck.as_secs_f64();
            format!("stopping: everything is served for {seconds:.1} of {all:.1} s; calls {calls}")
        }
        ShutdownPhase::Draining | ShutdownPhase::Cancelling => {
            let all = (policy.lame_duck + policy.drain).as_secs_f64();
            format!("stopping: calls {calls}, which have {seconds:.1} of {all:.1} s; children {children}")
        }
        _ => format!("stopping: all calls are answered; children {children} are ending, {seconds:.1} s"),
    }
}
