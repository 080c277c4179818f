//! Events that nobody gets any more: freed when nobody waits for it.
//!
//! To free a million events takes a second, and a shutdown cuts that many at its ceiling when thousands of clients do not
//! read. The report must not wait for it, and a process that ends then should not do it at all.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;

use crate::{proto::after, runtime::Runtime, sync::lock};

/// What is to be freed, of all endpoints. A static is not dropped when the process ends, and neither is what it holds.
static DISCARDED: Mutex<Discarded> = Mutex::new(Discarded { logs: Vec::new(), freeing: false });

struct Discarded {
    logs: Vec<VecDeque<Bytes>>,
    /// A task frees them.
    freeing: bool,
}

/// Before the first of them is freed: what is urgent, a report above all, comes first, and a process that ends is gone.
const LATER: Duration = Duration::from_secs(1);

/// Between two pieces: others get their turn.
const PAUSE: Duration = Duration::from_millis(5);

/// Events that are freed at a time: about a millisecond.
const PIECE: usize = 4_096;

/// Frees these events later, in pieces.
pub(crate) fn discard(runtime: &Arc<dyn Runtime>, mut events: Vec<VecDeque<Bytes>>) {
    let begins = {
        let mut discarded = lock(&DISCARDED);
        discarded.logs.append(&mut events);
        !std::mem::replace(&mut discarded.freeing, true)
    };
    if begins {
        let freeing = Freeing(Arc::clone(runtime));
        runtime.spawn(Box::pin(freeing.run()));
    }
}

/// The task that frees. Dropped by its runtime, it leaves the rest to the next one.
struct Freeing(Arc<dyn Runtime>);

impl Freeing {
    async fn run(self) {
        let mut pause = LATER;
        loop {
            self.0.sleep_until(after(self.0.now(), pause)).await;
            pause = PAUSE;
            let (mut piece, mut events) = (Vec::new(), 0);
            {
                let mut discarded = lock(&DISCARDED);
                while let Some(log) = if events < PIECE { discarded.logs.pop() } else { None } {
                    events += log.len();
                    piece.push(log);
                }
                discarded.freeing = !piece.is_empty(); // under the lock: what comes now is for the next task
            }
            if piece.is_empty() {
                return;
            }
            drop(piece);
        }
    }
}

impl Drop for Freeing {
    fn drop(&mut self) {
        lock(&DISCARDED).freeing = false;
    }
}
