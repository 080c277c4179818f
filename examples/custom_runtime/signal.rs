//! [`terminate_signal`].

use async_signal::{Signal, Signals};
use futures::StreamExt;

/// SIGTERM or Ctrl-C, also one that comes before the first poll.
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
