//! The log of a run, which may panic.

use std::sync::Mutex;

use fastrand::Rng;
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

use crate::behaviour::fixture::planted;

/// Runs `f` with a log that panics at so many of 100 entries. There is a log also if it never panics: nodes sum up what they do
/// only if somebody listens, and whether anybody does is the same for all threads.
pub(super) fn with_log<R>(percent: u8, seed: u64, f: impl FnOnce() -> R) -> R {
    tracing::subscriber::with_default(Log { percent, rng: Mutex::new(Rng::with_seed(seed)) }, f)
}

struct Log {
    percent: u8,
    rng: Mutex<Rng>,
}

impl Log {
    fn entry(&self) {
        let chance = self.rng.lock().map_or(0, |mut rng| rng.u8(..100));
        if chance < self.percent {
            planted("the log panics");
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.entry();
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
