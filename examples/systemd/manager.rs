//! [`Manager`]: what systemd is told.

use std::{sync::Once, thread, time::Duration};

use mcp_session_core::Endpoint;
use mcp_session_tokio::terminate_signal;
use sd_notify::NotifyState;

/// How often systemd hears that the stop goes on.
const EVERY: Duration = Duration::from_secs(1);

/// How long each message is good for: systemd kills a process that is silent for longer.
const GOOD_FOR: Duration = Duration::from_secs(10);

static STOPPING: Once = Once::new();

/// The service manager, if `NOTIFY_SOCKET` names one; otherwise it is told nothing.
#[derive(Clone)]
pub(crate) struct Manager(Endpoint);

impl Manager {
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self(endpoint.clone())
    }

    /// The service has started.
    pub(crate) fn ready() {
        say(&[NotifyState::Ready, NotifyState::Status("serving")]);
    }

    /// Waits for SIGTERM or Ctrl-C. From the first one on, systemd hears that the service stops, and that it needs time.
    pub(crate) fn terminate_signal(&self) -> impl Future<Output = ()> + Send + use<> {
        let (signal, manager) = (terminate_signal(), self.clone());
        async move {
            signal.await;
            STOPPING.call_once(|| {
                say(&[NotifyState::Stopping, extended()]);
                // A thread of its own: a handler that blocks tokio's threads must not end it. It ends with the process.
                thread::spawn(move || {
                    loop {
                        say(&[extended(), NotifyState::Status(&manager.status())]);
                        thread::sleep(EVERY);
                    }
                });
            });
        }
    }

    fn status(&self) -> String {
        let stats = self.0.stats();
        format!("{:?}: {} calls, {} streams", stats.phase, stats.exchanges, stats.streams)
    }
}

fn extended() -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(GOOD_FOR.as_micros() as u32)
}

/// A manager that does not listen is no reason to stop.
fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        eprintln!("systemd was not notified: {error}");
    }
}
