//! [`Budget`]: bounds the bytes on their way to Redis.

use std::sync::{Mutex, MutexGuard, PoisonError};

use event_listener::Event;

/// So many bytes may be underway. Whoever would exceed it waits; what is larger than the whole budget waits until it is alone.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: Mutex<usize>,
    freed: Event,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: Mutex::new(0), freed: Event::new() }
    }

    /// Waits for room. The bytes are free again when the result is dropped.
    pub(crate) async fn take(&self, bytes: usize) -> Taken<'_> {
        loop {
            let freed = self.freed.listen();
            {
                let mut used = self.lock();
                if *used == 0 || used.saturating_add(bytes) <= self.limit {
                    *used += bytes;
                    return Taken { budget: self, bytes };
                }
            }
            freed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes underway.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.budget.lock() -= self.bytes;
        self.budget.freed.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn bytes_beyond_the_budget_wait_and_large_ones_wait_until_they_are_alone() {
        let budget = Budget::new(10);
        let take = |bytes| budget.take(bytes).now_or_never();
        let first = take(6).expect("there is room");
        assert!(take(5).is_none());
        let second = take(4).expect("there is room");
        drop(first);
        assert!(take(100).is_none());
        drop(second);
        let large = take(100).expect("it is alone");
        assert!(take(1).is_none());
        drop(large);
        assert!(take(10).is_some());
    }
}
