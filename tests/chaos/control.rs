//! [`Control`]: how late this machine is, so that a late exit can be told from a busy machine.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// The time between two readings.
const BEAT: Duration = Duration::from_millis(20);

/// The work of a reading, in time of a processor: a tenth of what a beat has.
const WORK: Duration = Duration::from_millis(2);

/// How long readings are kept: longer than any trial.
const KEPT: Duration = Duration::from_secs(60);

/// A thread of its own that sleeps and works in turn, as a server does when it stops, and notes how long both take.
#[derive(Debug, Clone)]
pub(crate) struct Control(Arc<Mutex<VecDeque<(Instant, Duration)>>>);

impl Control {
    pub(crate) fn start() -> Self {
        let control = Self(Arc::default());
        let readings = Arc::clone(&control.0);
        thread::spawn(move || {
            loop {
                let begun = Instant::now();
                thread::sleep(BEAT);
                let worked = processor_time() + WORK;
                while processor_time() < worked {
                    std::hint::spin_loop();
                }
                let mut readings = readings.lock().unwrap_or_else(PoisonError::into_inner);
                readings.push_back((begun, begun.elapsed()));
                while readings.front().is_some_and(|(at, _)| at.elapsed() > KEPT) {
                    readings.pop_front();
                }
            }
        });
        control
    }

    /// How much longer a beat took since then than it takes on an idle machine, at worst: 1 or more.
    pub(crate) fn stretch_since(&self, begin: Instant) -> f64 {
        let readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = readings.iter().filter(|(at, took)| *at + *took >= begin).map(|(_, took)| *took);
        since.max().map_or(1.0, |took| (took.as_secs_f64() / (BEAT + WORK).as_secs_f64()).max(1.0))
    }
}

/// The processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
