//! [`Watchdog`]: a bed that makes a hanging test fail.

use std::{
    pin::pin,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use futures::{
    channel::oneshot,
    future::{Either, select},
};
use mcp_session_core::{Config, Runtime};

use crate::TestBed;

/// A law or a scenario takes well below a second. If it takes this long, it is stuck, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A [`TestBed`] whose `block_on` panics, instead of hanging, if its future does not end within two minutes of real
/// time: a wake, a timer or a task was lost.
///
/// The suites of the laws and of behaviour put it around your bed, so that a test fails if the runtime loses something. The only requirement is that `block_on` can be woken from
/// another thread.
///
/// ```should_panic
/// use std::{future::pending, time::Duration};
/// use mcp_session_testkit::{TestBed, Watchdog};
/// # use std::sync::Arc;
/// # use mcp_session_core::Runtime;
/// # struct Bed;
/// # impl TestBed for Bed {
/// #     fn name(&self) -> &str { "mine" }
/// #     fn runtime(&self) -> Arc<dyn Runtime> { Arc::new(mcp_session_testkit::SimRuntime::new(0)) }
/// #     fn block_on<F: Future>(&self, future: F) -> F::Output { futures::executor::block_on(future) }
/// # }
///
/// let bed = Watchdog::new(Bed).with_patience(Duration::from_millis(10));
/// assert_eq!(bed.block_on(async { 6 * 7 }), 42);
/// bed.block_on(pending::<()>()); // panics with "mine: no result after 10ms: ..."
/// ```
#[derive(Debug, Clone)]
pub struct Watchdog<B> {
    bed: B,
    patience: Duration,
}

impl<B: TestBed> Watchdog<B> {
    /// Creates a watchdog around this bed.
    pub fn new(bed: B) -> Self {
        Self { bed, patience: PATIENCE }
    }

    /// Sets how long `block_on` waits, in real time. The default is two minutes.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
}

impl<B: TestBed> TestBed for Watchdog<B> {
    fn name(&self) -> &str {
        self.bed.name()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.bed.runtime()
    }

    fn configure(&self, config: &mut Config) {
        self.bed.configure(config);
    }

    #[track_caller]
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        let patience = self.patience;
        let (_ended, watch) = mpsc::channel::<()>();
        let (alarm, stuck) = oneshot::channel::<()>();
        thread::spawn(move || {
            if watch.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                let _ = alarm.send(()); // fails if the future has just ended
            }
        });
        let output = self.bed.block_on(async {
            match select(pin!(future), stuck).await {
                Either::Left((output, _)) => Some(output),
                Either::Right(_) => None,
            }
        });
        output.unwrap_or_else(|| {
            let name = self.name();
            panic!("{name}: no result after {patience:?}: a wake, a timer or a task was lost")
        })
    }
}
