//! [`terminate_signal`].

#[cfg(unix)]
use tokio::runtime::Handle;

#[cfg(unix)]
use crate::keeper::keeper;

/// Waits for the next SIGTERM or Ctrl-C. Pass it to
/// [`Serve::with_graceful_shutdown`](mcp_session_core::Serve::with_graceful_shutdown). On Unix the process listens from the
/// call on, so a signal before the first poll is not lost. A separate thread listens, so a handler that blocks a worker
/// does not delay it.
///
/// # Panics
///
/// If the process cannot listen for signals.
pub fn terminate_signal() -> impl Future<Output = ()> + Send + 'static {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let _context = keeper().map(Handle::enter);
        let [mut terminate, mut interrupt] = [SignalKind::terminate(), SignalKind::interrupt()]
            .map(|kind| signal(kind).expect("the process can listen for signals"));
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
    }
    #[cfg(not(unix))]
    async {
        tokio::signal::ctrl_c().await.expect("the process can listen for Ctrl-C");
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_signal_before_the_first_poll_is_not_lost() {
        let [first, second] = [terminate_signal(), terminate_signal()];
        let kill = Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status();
        assert!(kill.expect("kill is there").success());
        first.await;
        second.await;
    }
}
