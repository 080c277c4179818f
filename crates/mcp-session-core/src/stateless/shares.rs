//! [`Shares`]: how many requests without a session each principal has running (B-42).

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::{
    principal::Principal,
    sync::{Mutex, lock, shards},
};

/// As many as the registry has: every request of a principal passes here twice.
const SHARDS: usize = shards(16);

/// Aligned to its own cache lines, so that threads that use different shards do not share a line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<HashMap<Principal, usize>>);

/// The running requests of each principal. A principal without any is not in it.
#[derive(Debug)]
pub(super) struct Shares([Shard; SHARDS]);

impl Default for Shares {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Shard::default()))
    }
}

impl Shares {
    /// Counts one more request of this principal, if there is a `place` among those of all. Returns `false` if there is none, or the
    /// principal has `most`: then nothing was taken, not even for a moment.
    pub(super) fn acquire(&self, principal: &Principal, most: usize, place: impl FnOnce() -> bool) -> bool {
        let mut counts = lock(self.shard(principal));
        let count = counts.get_mut(principal);
        let acquired = count.as_ref().map_or(0, |count| **count) < most && place();
        match count {
            _ if !acquired => {}
            Some(count) => *count += 1,
            None => _ = counts.insert(principal.clone(), 1),
        }
        acquired
    }

    /// Counts one request less.
    pub(super) fn release(&self, principal: &Principal) {
        let mut counts = lock(self.shard(principal));
        if let Some(count) = counts.get_mut(principal) {
            *count -= 1;
            if *count == 0 {
                counts.remove(principal);
            }
        }
    }

    fn shard(&self, principal: &Principal) -> &Mutex<HashMap<Principal, usize>> {
        // With fixed keys: who finds names of one shard has gained nothing but a lock that others use too.
        let mut hasher = DefaultHasher::new();
        principal.hash(&mut hasher);
        &self.0[(hasher.finish() % SHARDS as u64) as usize].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_42_each_principal_has_its_own_share_and_nothing_is_kept() {
        let shares = Shares::default();
        let names: Vec<_> = (0..100).map(|n| Principal::new(format!("user {n}"))).collect();
        for name in &names {
            assert!(!shares.acquire(name, 2, || false));
            let taken = [1, 2, 3].map(|_| shares.acquire(name, 2, || true));
            assert_eq!(taken, [true, true, false]);
        }
        shares.release(&names[7]);
        assert_eq!([7, 7, 8].map(|n| shares.acquire(&names[n], 2, || true)), [true, false, false]);
        assert!(!shares.acquire(&Principal::new("nobody"), 0, || panic!("it takes none")));
        for name in &names {
            shares.release(name);
            shares.release(name);
        }
        assert!(shares.0.iter().all(|shard| lock(&shard.0).is_empty()));
    }
}
