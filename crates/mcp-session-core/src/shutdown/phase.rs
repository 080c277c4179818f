//! [`Phases`]: the current phase of an endpoint's shutdown.

use event_listener::{Event, EventListener};

use crate::{
    shutdown::policy::ShutdownPhase,
    sync::atomic::{AtomicU8, Ordering::SeqCst},
};

/// The current phase of an endpoint's shutdown, and an event for its changes.
#[derive(Debug, Default)]
pub(crate) struct Phases {
    /// A [`ShutdownPhase`].
    now: AtomicU8,
    changed: Event,
}

impl Phases {
    pub(crate) fn get(&self) -> ShutdownPhase {
        ShutdownPhase::from_u8(self.now.load(SeqCst))
    }

    /// Enters a phase. Only [`Progress`](super::Progress) does, and calls [`Phases::notify`] then.
    pub(super) fn enter(&self, phase: ShutdownPhase) {
        self.now.store(phase as u8, SeqCst);
    }

    /// Wakes all listeners.
    pub(super) fn notify(&self) {
        self.changed.notify(usize::MAX);
    }

    /// A listener for the next change after this call. Read the phase after calling it.
    pub(crate) fn changed(&self) -> EventListener {
        self.changed.listen()
    }
}
