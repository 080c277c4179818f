//! [`Control`]: how late this machine is, so that a late exit can be told from a busy machine.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

/// The work after each sleep, in time of a processor: about what a server needs from its last deadline to its exit.
const WORK: Duration = Duration::from_millis(3);

/// How long connections have to flush at the ceiling.
const FLUSH: Duration = Duration::from_millis(100);

/// A thread of its own that does what a server does whose client reads nothing: sleeps until the same instant, works a little,
/// sleeps while connections flush, and works again.
#[derive(Debug)]
pub(crate) struct Control {
    late: oneshot::Receiver<Duration>,
}

impl Control {
    pub(crate) fn start(instant: Instant) -> Self {
        let (done, late) = oneshot::channel();
        thread::spawn(move || {
            for sleep in [instant.saturating_duration_since(Instant::now()), FLUSH] {
                thread::sleep(sleep);
                let worked = processor_time() + WORK;
                while processor_time() < worked {
                    std::hint::spin_loop();
                }
            }
            let late = instant.elapsed().saturating_sub(FLUSH + 2 * WORK);
            let _ = done.send(late); // fails if nobody wants to know
        });
        Self { late }
    }

    /// How late it was done: almost zero on an idle machine. Waits until then.
    pub(crate) async fn late(self) -> Duration {
        self.late.await.unwrap_or(Duration::ZERO)
    }
}

/// The processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
