//! [`SessionData`]: the handler's own data of a session.

use std::{any::Any, collections::HashMap, fmt, sync::Arc};

use crate::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
    lock, shards,
};

type Data = Arc<dyn Any + Send + Sync>;

/// The handler's own data of a session, of any type: see [`Handler::session_data`](crate::Handler::session_data).
#[derive(Clone, Default)]
pub struct SessionData(Option<Data>);

impl SessionData {
    /// Wraps a value.
    pub fn new<T: Send + Sync + 'static>(value: T) -> Self {
        Self(Some(Arc::new(value)))
    }

    /// No data: the default.
    pub fn none() -> Self {
        Self(None)
    }
}

impl fmt::Debug for SessionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionData").field(&self.0.is_some()).finish()
    }
}

/// The number of shards. About as many threads can use the data of different sessions without contention.
const SHARDS: usize = shards(16);

/// The data of an endpoint's sessions, by session number. It is not part of the session, because most sessions have none
/// and should not reserve space for it.
#[derive(Default)]
pub(crate) struct AllData {
    /// Whether there has ever been any data; until then `remove` takes no lock.
    used: AtomicBool,
    shards: [Mutex<HashMap<u64, Data>>; SHARDS],
}

impl AllData {
    fn shard(&self, number: u64) -> &Mutex<HashMap<u64, Data>> {
        &self.shards[(number % SHARDS as u64) as usize]
    }

    /// Inserts the data, if there is any, and returns what it replaces, to be dropped by the caller.
    pub(crate) fn insert(&self, number: u64, data: SessionData) -> SessionData {
        let SessionData(Some(data)) = data else { return SessionData(None) };
        self.used.store(true, Relaxed);
        SessionData(lock(self.shard(number)).insert(number, data))
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self, number: u64) -> Option<Arc<T>> {
        let data = lock(self.shard(number)).get(&number).cloned();
        data?.downcast().ok()
    }

    /// Removes the data and returns it, to be dropped by the caller.
    pub(crate) fn remove(&self, number: u64) -> SessionData {
        // Relaxed is enough: a caller that has the session also sees what was inserted for it.
        if !self.used.load(Relaxed) {
            return SessionData(None);
        }
        let mut shard = lock(self.shard(number));
        let removed = shard.remove(&number);
        if shard.capacity() > 64 && shard.len() < shard.capacity() / 4 {
            shard.shrink_to_fit(); // after a peak
        }
        SessionData(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_found_by_number_and_type_until_it_is_removed() {
        let all = AllData::default();
        let (first, last) = (Arc::new(()), 1_000);
        assert!(all.remove(0).0.is_none());
        for number in 0..last {
            all.insert(number, SessionData::new((number, Arc::clone(&first))));
        }
        all.insert(last, SessionData::none());
        assert_eq!(all.get::<(u64, Arc<()>)>(7).map(|data| data.0), Some(7));
        assert!(all.get::<u64>(7).is_none() && all.get::<(u64, Arc<()>)>(last).is_none());
        for number in 0..last {
            assert!(all.remove(number).0.is_some() && all.remove(number).0.is_none());
        }
        assert_eq!(Arc::strong_count(&first), 1);
        assert!(all.shards.iter().all(|shard| lock(shard).capacity() <= 64));
    }
}
