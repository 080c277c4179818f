//! Waiting for a deadline, and for what a disconnect does.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::Request;

use super::{PREEMPTIONS, Server, Woken, check, join, spawn};
use crate::{
    runtime::Runtime,
    session::timers::{Timed, Timers},
    transport::{self, DisconnectCancels},
};

/// Closes its timers when it fires.
struct Alarm {
    timers: OnceLock<Arc<Timers<Alarm>>>,
    fired: AtomicUsize,
}

impl Timed for Alarm {
    fn number(&self) -> u64 {
        1
    }

    fn fire(due: &[Arc<Self>]) {
        for alarm in due {
            alarm.fired.fetch_add(1, Relaxed);
            alarm.timers.get().expect("it is set").close();
        }
    }
}

/// The driver looks for deadlines; another thread sets one that is far away, and moves it to now. It fires once, and the
/// driver ends when the timers are closed. Two threads, [`PREEMPTIONS`].
#[test]
fn e_14_the_driver_misses_no_deadline() {
    check("deadline-driver", Some(PREEMPTIONS), || {
        let server = Server::new(|_| {});
        let runtime = Arc::clone(&server.runtime);
        let (now, later): (Instant, Instant) = (runtime.now(), runtime.now() + Duration::from_secs(60));
        let timers = Arc::new(Timers::new(now));
        let alarm = Arc::new(Alarm { timers: OnceLock::new(), fired: AtomicUsize::new(0) });
        assert!(alarm.timers.set(Arc::clone(&timers)).is_ok());
        let other = spawn({
            let (timers, alarm) = (Arc::clone(&timers), Arc::clone(&alarm));
            move || {
                for (old, new) in [(None, later), (Some(later), now)] {
                    if timers.set(&alarm, old, Some(new)) {
                        timers.notify();
                    }
                }
            }
        });
        loom::future::block_on(timers.drive(&*runtime));
        join(other);
        assert_eq!(alarm.fired.load(Relaxed), 1);
        drop(runtime);
        server.end();
    });
}

/// An HTTP server asks whether a disconnect cancels the request, which is being admitted: it learns of it now, or is woken.
/// Two threads, no bound.
#[test]
fn g_30_the_server_learns_that_a_disconnect_cancels() {
    check("disconnect-cancels", None, || {
        let cancels = DisconnectCancels::default();
        let endpoint = spawn({
            let (parts, ()) = Request::new(()).into_parts();
            let (mut parts, cancels) = (parts, cancels.clone());
            move || {
                parts.extensions.insert(cancels);
                transport::ends_with_client(&parts);
            }
        });
        let woken = Arc::new(Woken::default());
        let is_set = cancels.is_set(&Arc::clone(&woken).into());
        join(endpoint);
        assert!(is_set || woken.count() > 0);
    });
}
