//! [`terminate_signal`].

use async_signal::{Signal, Signals};
use futures::StreamExt;

/// Resolves on SIGTERM or Ctrl-C, including a signal that arrives before the first poll.
pub(crate) fn terminate_signal() -> impl Future<Output = ()> + Send {
    #[cfg(unix)]
    const SIGNALS: &[Signal] = &[Signal::Term, Signal::Int];
    #[cfg(not(unix))]
    const SIGNALS: &[Signal] = &[Signal::Int];
    let mut signals = Signals::new(SIGNALS).expect("the process can listen for signals");
    async move {
        signals.next().await;
    }
}
