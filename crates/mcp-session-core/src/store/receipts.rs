//! [`Receipts`]: the messages of this node that other nodes have not taken yet.

use std::{collections::BTreeMap, sync::Arc};

use async_channel::{Receiver, Sender};

use crate::sync::{Mutex, lock};

/// The messages of this node that other nodes have not taken yet, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Receipts(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    /// Each is closed when the message was taken.
    untaken: BTreeMap<u64, Sender<()>>,
}

/// A message that another node has to take. Nobody waits for it any more when this is dropped.
#[derive(Debug)]
pub(super) struct Expected {
    receipts: Arc<Receipts>,
    pub(super) number: u64,
    taken: Receiver<()>,
}

impl Receipts {
    pub(super) fn expect(self: &Arc<Self>) -> Expected {
        let (sender, taken) = async_channel::bounded(1);
        let mut waiting = lock(&self.0);
        waiting.last += 1;
        let number = waiting.last;
        waiting.untaken.insert(number, sender);
        Expected { receipts: Arc::clone(self), number, taken }
    }

    /// Another node has taken the message with this number, perhaps not for the first time.
    pub(super) fn taken(&self, number: u64) {
        let taken = lock(&self.0).untaken.remove(&number);
        drop(taken); // wakes whoever waits
    }
}

impl Expected {
    /// Waits until the message was taken.
    pub(super) async fn taken(&self) {
        let _ = self.taken.recv().await; // nothing is ever sent: it is closed
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.receipts.taken(self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_message_waits_until_it_is_taken_and_no_other() {
        let receipts = Arc::new(Receipts::default());
        let [first, second] = [(); 2].map(|()| receipts.expect());
        receipts.taken(first.number + 7);
        assert_eq!(first.taken().now_or_never(), None);
        for _ in 0..2 {
            receipts.taken(first.number);
            assert_eq!(first.taken().now_or_never(), Some(()));
        }
        assert_eq!(second.taken().now_or_never(), None);
        drop((first, second));
        assert!(lock(&receipts.0).untaken.is_empty());
    }
}
