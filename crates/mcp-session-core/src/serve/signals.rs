//! [`Signals`]: the signals that stop a server, which of them repeat the same stop, and whom a later one escalates.

use std::{
    future::pending,
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use mcp_session_proto::after;

use crate::{
    contain::{Contained, Panicked},
    runtime::Runtime,
    shutdown::Shutdown,
    trace,
};

/// How long after the first signal further signals count as the same stop. A wrapper, a cgroup and a process group
/// repeat a signal within milliseconds; a person who presses Ctrl-C again takes longer than a second.
const SIGNAL_WINDOW: Duration = Duration::from_secs(1);

/// The maximum number of repeated signals per stop. A future that is always ready must not keep the server busy.
const SAME_STOP: u32 = 16;

type Signal = Box<dyn FnMut() -> BoxFuture<'static, ()> + Send>;

/// The signals that stop the server.
pub(super) struct Signals {
    pub(super) next: Contained<BoxFuture<'static, ()>>,
    pub(super) again: Signal,
    pub(super) window: Duration,
    /// There was a signal.
    begun: bool,
    /// Until when further signals count as the same stop, and how many there were.
    same_stop: Option<(BoxFuture<'static, ()>, u32)>,
}

impl Signals {
    pub(super) fn none() -> Self {
        Self {
            next: Contained::new(|| pending().boxed()),
            again: Box::new(|| Box::pin(pending())),
            window: SIGNAL_WINDOW,
            begun: false,
            same_stop: None,
        }
    }

    /// Ready at the first signal, and at each later one that is not part of the same stop.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>, runtime: &Arc<dyn Runtime>) -> Poll<()> {
        loop {
            if self.same_stop.as_mut().is_some_and(|(over, _)| over.poll_unpin(cx).is_ready()) {
                self.same_stop = None;
            }
            match &mut self.same_stop {
                Some((_, count)) if *count >= SAME_STOP => return Poll::Pending,
                Some((_, count)) => {
                    ready!(poll_signal(&mut self.next, &mut self.again, cx));
                    *count += 1;
                    trace::signal_repeated();
                }
                None => {
                    ready!(poll_signal(&mut self.next, &mut self.again, cx));
                    if !mem::replace(&mut self.begun, true) && !self.window.is_zero() {
                        self.same_stop = Some((runtime.sleep_until(after(runtime.now(), self.window)), 0));
                    }
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// Ready at the next signal; then starts to wait for the one after it. If the wait panics, there are no further signals:
/// the server continues, and stops when its endpoint does.
fn poll_signal(
    next: &mut Contained<BoxFuture<'static, ()>>,
    again: &mut Signal,
    cx: &mut Context<'_>,
) -> Poll<()> {
    match ready!(next.poll_unpin(cx)) {
        Ok(()) => {
            *next = Contained::new(again);
            Poll::Ready(())
        }
        Err(Panicked) => {
            trace::panicked("the future of the shutdown signal");
            *next = Contained::new(|| pending().boxed());
            Poll::Pending
        }
    }
}

/// Ends the current phase of the endpoints that are furthest behind, so that all go through the phases together.
pub(super) fn escalate(shutdowns: &[Shutdown]) {
    let present = shutdowns.iter().map(Shutdown::phase).min();
    shutdowns.iter().filter(|shutdown| Some(shutdown.phase()) == present).for_each(Shutdown::escalate);
}
