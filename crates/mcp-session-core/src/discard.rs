//! Frees discarded events in the background.
//!
//! Freeing a million events takes a second, and a shutdown cuts that many at its ceiling when thousands of clients do not
//! read. The report must not wait for that, and a process that ends should not do it at all.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use mcp_session_proto::after;

use crate::{runtime::Runtime, sync::lock};

/// The events to free, of all endpoints. A static is not dropped when the process ends, and neither are its contents.
static DISCARDED: Mutex<Discarded> = Mutex::new(Discarded { logs: Vec::new(), freeing: false });

struct Discarded {
    logs: Vec<VecDeque<Bytes>>,
    /// Whether a task is freeing them.
    freeing: bool,
}

/// The delay before the first piece is freed, so that urgent work such as a report comes first, and a process that ends
/// does not free anything.
const LATER: Duration = Duration::from_secs(1);

/// The pause between two pieces, for other tasks.
const PAUSE: Duration = Duration::from_millis(5);

/// The number of events freed at a time, which takes about a millisecond.
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

/// The task that frees events. If its runtime drops it, the next task frees the rest.
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
                discarded.freeing = !piece.is_empty(); // under the lock: later events start the next task
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
