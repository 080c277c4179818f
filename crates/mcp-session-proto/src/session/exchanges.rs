//! [`Exchanges`]: the exchanges of a session.

use super::ExchangeKey;
use crate::{exchange::Exchange, id::RequestId};

/// The exchanges of a session, ordered by key, which is the order of admission. So they are notified and woken in the
/// same order each time, and a seed replays.
///
/// Most sessions have none or one, so a table exists only while there are more.
#[derive(Debug)]
pub(super) enum Exchanges<T> {
    One(Option<Entry<T>>),
    Many(Vec<Entry<T>>),
}

type Entry<T> = (ExchangeKey, Box<Exchange<T>>);

impl<T> Default for Exchanges<T> {
    fn default() -> Self {
        Self::One(None)
    }
}

impl<T> Exchanges<T> {
    /// Adds an exchange. Its key must be greater than all others.
    pub(super) fn push(&mut self, key: ExchangeKey, exchange: Exchange<T>) {
        let entry = (key, Box::new(exchange));
        match self {
            Self::One(only) => match only.take() {
                None => *only = Some(entry),
                Some(first) => *self = Self::Many(vec![first, entry]),
            },
            Self::Many(all) => all.push(entry),
        }
    }

    pub(super) fn remove(&mut self, key: ExchangeKey) -> Option<Box<Exchange<T>>> {
        let at = self.position(key)?;
        match self {
            Self::One(only) => only.take(),
            Self::Many(all) => {
                let removed = all.remove(at);
                if all.len() <= 1 {
                    *self = Self::One(all.pop());
                }
                Some(removed)
            }
        }
        .map(|(_, exchange)| exchange)
    }

    pub(super) fn get(&self, key: ExchangeKey) -> Option<&Exchange<T>> {
        self.position(key).map(|at| &*self.entries()[at].1)
    }

    pub(super) fn get_mut(&mut self, key: ExchangeKey) -> Option<&mut Exchange<T>> {
        self.position(key).map(|at| &mut *self.entries_mut()[at].1)
    }

    pub(super) fn len(&self) -> usize {
        self.entries().len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ExchangeKey, &Exchange<T>)> {
        self.entries().iter().map(|(key, exchange)| (*key, &**exchange))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Exchange<T>> {
        self.entries().iter().map(|(_, exchange)| &**exchange)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Exchange<T>> {
        self.entries_mut().iter_mut().map(|(_, exchange)| &mut **exchange)
    }

    fn position(&self, key: ExchangeKey) -> Option<usize> {
        self.entries().binary_search_by_key(&key, |(key, _)| *key).ok()
    }

    fn entries(&self) -> &[Entry<T>] {
        match self {
            Self::One(only) => only.as_slice(),
            Self::Many(all) => all,
        }
    }

    fn entries_mut(&mut self) -> &mut [Entry<T>] {
        match self {
            Self::One(only) => only.as_mut_slice(),
            Self::Many(all) => all,
        }
    }
}

impl<T: Clone> Exchanges<T> {
    /// The exchange that owes an answer to the request with this id; there is at most one.
    pub(super) fn running(&self, id: &RequestId) -> Option<ExchangeKey> {
        // A linear search: an index would cost every session more than this costs the few with many exchanges.
        let running = |exchange: &Exchange<T>| exchange.is_running() && exchange.id() == id;
        self.iter().find(|(_, exchange)| running(exchange)).map(|(key, _)| key)
    }
}
