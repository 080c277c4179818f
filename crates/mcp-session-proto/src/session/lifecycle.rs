//! [`Lifecycle`]: how far a session has come, from `initialize` to its end. Each state owns its data.

use std::mem;

use crate::{
    ending::{Ending, Phase, TerminateReason},
    state::State,
};

/// How far the client has come with the handshake. It matters in every state: an `initialize` that runs when a shutdown
/// begins is still answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Handshake {
    /// The handler works on `initialize`.
    Initializing,
    /// `initialize` was answered with a result. The client has not used the session yet: it is half-open.
    Answered,
    /// The client has used the session, without `notifications/initialized` so far.
    Used,
    /// The client has sent `notifications/initialized`, at whichever node.
    Initialized,
}

#[derive(Debug)]
pub(super) enum Lifecycle {
    Live(Handshake),
    /// The endpoint shuts down: the id stays valid.
    Draining(Handshake, Box<Ending>),
    /// The id is dead.
    Terminated(Handshake, Box<Ending>),
}

impl Lifecycle {
    /// The state of the session, as its client sees it.
    pub(super) fn state(&self) -> State {
        match self {
            Self::Live(Handshake::Initializing) => State::Initializing,
            Self::Live(Handshake::Answered | Handshake::Used) => State::AwaitingInitialized,
            Self::Live(Handshake::Initialized) => State::Operating,
            Self::Draining(..) => State::Draining,
            Self::Terminated(..) => State::Terminated,
        }
    }

    pub(super) fn handshake(&self) -> Handshake {
        match self {
            Self::Live(handshake) | Self::Draining(handshake, _) | Self::Terminated(handshake, _) => {
                *handshake
            }
        }
    }

    /// The handshake has come as far as this, or farther.
    pub(super) fn reach(&mut self, reached: Handshake) {
        match self {
            Self::Live(handshake) | Self::Draining(handshake, _) | Self::Terminated(handshake, _) => {
                *handshake = reached.max(*handshake);
            }
        }
    }

    pub(super) fn ending(&self) -> Option<&Ending> {
        match self {
            Self::Live(_) => None,
            Self::Draining(_, ending) | Self::Terminated(_, ending) => Some(ending),
        }
    }

    pub(super) fn ending_mut(&mut self) -> Option<&mut Ending> {
        match self {
            Self::Live(_) => None,
            Self::Draining(_, ending) | Self::Terminated(_, ending) => Some(ending),
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending().is_some()
    }

    pub(super) fn phase(&self) -> Phase {
        self.ending().map_or(Phase::Running, |ending| ending.phase)
    }

    pub(super) fn reason(&self) -> Option<TerminateReason> {
        self.ending().map(|ending| ending.reason)
    }

    /// A live session begins to drain. Has no effect on an ending one.
    pub(super) fn drain(&mut self, ending: Ending) {
        if let Self::Live(handshake) = *self {
            *self = Self::Draining(handshake, Box::new(ending));
        }
    }

    /// The id dies. `ending` is for a live session: one that was draining keeps its own (S12).
    pub(super) fn die(&mut self, ending: impl FnOnce() -> Ending) {
        *self = match mem::replace(self, Self::Live(Handshake::Initializing)) {
            Self::Live(handshake) => Self::Terminated(handshake, Box::new(ending())),
            Self::Draining(handshake, ending) | Self::Terminated(handshake, ending) => {
                Self::Terminated(handshake, ending)
            }
        };
    }
}
