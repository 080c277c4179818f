//! The log, on stderr. It is written by a thread of its own: if the reader of stderr stops, only lines of the log are lost.

use std::{
    io::{self, IsTerminal, Write},
    panic,
};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt, fmt::MakeWriter};

use crate::{config::LogFormat, view::View};

/// How many lines may wait to be written; more are dropped. 4,096: some hundred kilobytes.
const LINES: usize = 4_096;

/// Starts the log, at level `INFO` or as set in `RUST_LOG`. Panics are logged too. What waits is written when the guard is
/// dropped.
pub fn start(format: LogFormat, view: &View) -> Option<WorkerGuard> {
    let guard = if view.is_live() {
        begin(format, Above(view.clone()));
        None
    } else {
        let writer = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES);
        let (writer, guard) = writer.thread_name("log").finish(io::stderr());
        begin(format, writer);
        Some(guard)
    };
    panic::set_hook(Box::new(|info| tracing::error!(panic = info.to_string())));
    guard
}

fn begin(format: LogFormat, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let log = fmt().with_writer(writer).with_env_filter(filter);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Writes above the live view.
#[derive(Debug, Clone)]
struct Above(View);

impl<'w> MakeWriter<'w> for Above {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// An event arrives in one piece.
impl Write for Above {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(io::stderr().lock(), line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
