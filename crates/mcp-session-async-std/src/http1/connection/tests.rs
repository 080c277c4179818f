use std::sync::Mutex;
use std::time::Instant;

use async_std::task::{block_on, spawn};
use futures::{channel::oneshot, stream};
use mcp_session_core::{Endpoint, Router, Serve, ServeConnection};

use super::*;
use crate::AsyncStdRuntime;

/// A clock that is late by this much at every deadline, as in a process that was stopped.
#[derive(Debug)]
struct Late {
    now: Arc<Mutex<Instant>>,
    by: Duration,
}

impl Runtime for Late {
    fn now(&self) -> Instant {
        *self.now.lock().expect("no panic")
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let (now, late) = (Arc::clone(&self.now), deadline + self.by);
        Box::pin(async move { *now.lock().expect("no panic") = late })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        AsyncStdRuntime.spawn(task);
    }
}

/// The `Closing` of a server that does not end.
async fn closing() -> Closing {
    let (sender, closing) = oneshot::channel();
    let connect: ServeConnection =
        Box::new(|context| Box::pin(async move { drop(sender.send(context.closing())) }));
    let endpoint = Endpoint::new(AsyncStdRuntime, Router::new("patience", "0"));
    spawn(Serve::new(endpoint, stream::iter([Ok(connect)])).into_future());
    closing.await.expect("a connection")
}

#[test]
fn a_deadline_missed_by_the_process_checks_the_input_again() {
    let waits = |late: u64, ready_at: u32| {
        block_on(async {
            let now = Arc::new(Mutex::new(Instant::now()));
            let runtime = Arc::new(Late { now, by: Duration::from_millis(late) });
            let mut patience = Patience { runtime, closing: closing().await };
            let mut polls = 0;
            let input = poll_fn(|_| {
                polls += 1;
                if polls >= ready_at { Poll::Ready(()) } else { Poll::Pending }
            });
            patience.wait(Duration::from_secs(30), input).await.is_some()
        })
    };
    assert!(waits(0, 1) && waits(0, 2), "input comes before a deadline");
    assert!(!waits(999, 3), "on time");
    assert!(waits(1000, 3), "the process was stopped meanwhile");
    assert!(!waits(1000, 4), "but not for ever");
}
