//! [`Discarded`]: frees discarded events in the background.
//!
//! Freeing a million events takes a second, and a shutdown cuts that many at its ceiling when thousands of clients do not
//! read. The report must not wait for that, and a process that ends should not do it at all.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use mcp_session_proto::after;

use crate::{
    runtime::Runtime,
    sync::{Mutex, global, lock},
};

/// The events that an endpoint frees.
#[derive(Debug, Default)]
pub(crate) struct Discarded(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    logs: Vec<VecDeque<Bytes>>,
    /// Whether a task is freeing them.
    freeing: bool,
}

global! {
    /// What a task has not freed when its runtime dropped it, of all endpoints. A static is not dropped when the process ends,
    /// and neither are its contents.
    LEFT: Mutex<Vec<VecDeque<Bytes>>> = Mutex::new(Vec::new())
}

/// The delay before the first piece is freed, so that urgent work such as a report comes first, and a process that ends
/// does not free anything.
const LATER: Duration = Duration::from_secs(1);

/// The pause between two pieces, for other tasks.
const PAUSE: Duration = Duration::from_millis(5);

/// The number of events freed at a time, which takes about a millisecond.
const PIECE: usize = 4_096;

impl Discarded {
    /// Frees these events later, in pieces.
    pub(crate) fn add(&self, runtime: &Arc<dyn Runtime>, mut events: Vec<VecDeque<Bytes>>) {
        let begins = {
            let mut queue = lock(&self.0);
            queue.logs.append(&mut events);
            !mem::replace(&mut queue.freeing, true)
        };
        if begins {
            let freeing = Freeing { queue: Arc::clone(&self.0), runtime: Arc::clone(runtime), ended: false };
            runtime.spawn(Box::pin(freeing.run()));
        }
    }
}

/// The task that frees the events of an endpoint. If its runtime drops it, tasks of other endpoints free the rest.
struct Freeing {
    queue: Arc<Mutex<Queue>>,
    runtime: Arc<dyn Runtime>,
    ended: bool,
}

impl Freeing {
    async fn run(mut self) {
        let mut pause = LATER;
        loop {
            self.runtime.sleep_until(after(self.runtime.now(), pause)).await;
            pause = PAUSE;
            let piece = {
                let mut queue = lock(&self.queue);
                let piece = take_piece(&mut queue.logs);
                queue.freeing = !piece.is_empty(); // under the lock: later events start the next task
                piece
            };
            if piece.is_empty() {
                self.ended = true;
                return;
            }
            drop(piece);
            // No further pauses: how a run in a simulation goes does not depend on other runs in its process.
            let left = take_piece(&mut lock(&LEFT));
            drop(left);
        }
    }
}

impl Drop for Freeing {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let rest = {
            let mut queue = lock(&self.queue);
            queue.freeing = false;
            mem::take(&mut queue.logs)
        };
        lock(&LEFT).extend(rest);
    }
}

/// Removes logs with about [`PIECE`] events together.
fn take_piece(logs: &mut Vec<VecDeque<Bytes>>) -> Vec<VecDeque<Bytes>> {
    let (mut piece, mut events) = (Vec::new(), 0);
    while let Some(log) = if events < PIECE { logs.pop() } else { None } {
        events += log.len();
        piece.push(log);
    }
    piece
}
