//! [`Notified`]: the notifications that a client has received and its test has not looked at.

use std::sync::{Mutex, PoisonError};

use event_listener::Event;
use serde_json::Value;

/// The notifications, in the order in which they came, with their methods.
#[derive(Debug, Default)]
pub(super) struct Notified {
    received: Mutex<Vec<(String, Value)>>,
    changed: Event,
}

impl Notified {
    pub(super) fn add(&self, method: String, params: Value) {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).push((method, params));
        self.changed.notify(usize::MAX);
    }

    /// Removes the first of this method, when there is one.
    pub(super) async fn next(&self, method: &str) -> Value {
        loop {
            let changed = self.changed.listen();
            if let Some(params) = self.first(method) {
                return params;
            }
            changed.await;
        }
    }

    fn first(&self, method: &str) -> Option<Value> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let at = received.iter().position(|(of, _)| of == method)?;
        Some(received.remove(at).1)
    }

    /// Removes all of this method.
    pub(super) fn take(&self, method: &str) -> Vec<Value> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, left) = std::mem::take(&mut *received).into_iter().partition(|(of, _)| of == method);
        *received = left;
        Vec::into_iter(taken).map(|(_, params)| params).collect()
    }
}
