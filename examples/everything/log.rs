//! The log, on stderr, written by its own thread: if the reader of stderr stops or exits, only log lines are lost.
//!
//! `tracing_subscriber::fmt` on its own writes in the thread that logs. There a full pipe blocks the server, and a pipe
//! without a reader makes it panic.

use std::{
    io::{self, IsTerminal, Write},
    panic,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// How many lines may wait to be written; further lines are dropped and counted. 4,096: some hundred kilobytes.
const LINES: usize = 4_096;

/// How long the process waits at exit for the last lines. Milliseconds are enough for a reader that reads, and one that does
/// not must not hold up an exit that has its ceiling.
const FLUSH: Duration = Duration::from_millis(50);

enum Message {
    Line(Vec<u8>),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

/// A handle to the log's thread.
#[derive(Clone)]
pub(crate) struct Log {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// Starts the log, at level `INFO` or as set in `RUST_LOG`. Panics are logged too.
pub(crate) fn start() -> Log {
    let log = Log::on(io::stderr());
    tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(io::stderr().is_terminal())
        .with_env_filter(
            EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy(),
        )
        .init();
    panic::set_hook(Box::new(|info| tracing::error!(panic = info.to_string())));
    log
}

impl Log {
    fn on(out: impl Write + Send + 'static) -> Self {
        let (lines, written) = sync_channel(LINES);
        let log = Self { lines, lost: Arc::default() };
        let lost = Arc::clone(&log.lost);
        thread::spawn(move || write_all(out, &written, &lost));
        log
    }

    /// Waits until everything is written, for at most [`FLUSH`].
    pub(crate) fn flush(&self) {
        let deadline = Instant::now() + FLUSH;
        let (flushed, done) = sync_channel(1);
        let mut message = Message::Flush(flushed);
        while let Err(TrySendError::Full(again)) = self.lines.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = again;
            thread::sleep(Duration::from_millis(10));
        }
        let _ = done.recv_timeout(deadline.saturating_duration_since(Instant::now())); // the rest is lost
    }
}

/// Writes until all senders are gone. A failed write does not stop the next one.
fn write_all(mut out: impl Write, lines: &Receiver<Message>, lost: &AtomicU64) {
    for message in lines {
        let _ = match message {
            Message::Line(line) => out.write_all(&line),
            Message::Flush(flushed) => {
                let _ = flushed.try_send(()); // the waiter may have given up
                Ok(())
            }
        };
        match lost.swap(0, Relaxed) {
            0 => {}
            lost => {
                _ = writeln!(out, "{lost} lines of the log were lost: they came faster than they were read");
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// An event arrives in one piece. It is queued or dropped; the caller never waits.
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// A writer that records its input, fails on lines that start with `fails`, and blocks while it is held.
    #[derive(Clone, Default)]
    struct Pipe(Arc<(Mutex<(bool, String)>, Condvar)>);

    impl Pipe {
        fn hold(&self, held: bool) {
            self.0.0.lock().unwrap().0 = held;
            self.0.1.notify_all();
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (state, freed) = &*self.0;
            let mut state = freed.wait_while(state.lock().unwrap(), |state| state.0).unwrap();
            state.1.push_str(std::str::from_utf8(bytes).unwrap());
            if bytes.starts_with(b"fails") { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_or_failing_writer_only_loses_log_lines() {
        let pipe = Pipe::default();
        let mut log = Log::on(pipe.clone());
        log.write_all(b"fails\n").unwrap();
        pipe.hold(true);
        for _ in 0..LINES + 10 {
            log.write_all(b"line\n").unwrap();
        }
        pipe.hold(false);
        log.flush();
        log.write_all(b"last\n").unwrap();
        Log::flush(&log);
        let written = pipe.0.0.lock().unwrap().1.clone();
        // The position of that line depends on how far the writer was when it was held.
        assert!(written.starts_with("fails\n") && written.contains("\nline\n"));
        assert!(written.contains("lines of the log were lost"));
        assert!(written.ends_with("last\n"), "{}", &written[written.len() - 200..]);
    }
}
