//! [`terminate_signal`].

use async_signal::{Signal, Signals};
use futures::StreamExt;

#[cfg(unix)]
const SIGNALS: &[Signal] = &[Signal::Term, Signal::Int];
#[cfg(not(unix))]
const SIGNALS: &[Signal] = &[Signal::Int];

/// Waits for the next SIGTERM or Ctrl-C. Pass it to
/// [`Serve::with_graceful_shutdown`](mcp_session_core::Serve::with_graceful_shutdown). The process listens from the call on,
/// so a signal before the first poll is not lost.
///
/// # Panics
///
/// If the process cannot listen for signals.
pub fn terminate_signal() -> impl Future<Output = ()> + Send + 'static {
    let mut signals = Signals::new(SIGNALS).expect("the process can listen for signals");
    async move {
        signals.next().await;
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_signal_before_the_first_poll_is_not_lost() {
        let [first, second] = [terminate_signal(), terminate_signal()];
        let kill = Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status();
        assert!(kill.expect("kill is there").success());
        smol::block_on(first);
        smol::block_on(second);
    }
}
