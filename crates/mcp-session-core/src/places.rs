//! [`Places`]: how many sessions there may be, in all and of one principal (E-15).

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use event_listener::Event;

use crate::{Config, Principal, hub::lock};

/// Sessions that exist: those alive, and those of which something is left.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: AtomicUsize,
    /// Of those that belong to somebody.
    by_principal: Mutex<HashMap<Principal, usize>>,
    /// A session has given up its place.
    pub(crate) freed: Event,
}

impl Places {
    /// Takes a place for a session of this principal. Returns whether there was one.
    pub(crate) fn take(&self, config: &Config, principal: Option<&Principal>) -> bool {
        if self.taken.fetch_add(1, Relaxed) >= config.max_sessions {
            self.taken.fetch_sub(1, Relaxed);
            return false;
        }
        let Some(principal) = principal else { return true };
        let mut by_principal = lock(&self.by_principal);
        let count = by_principal.entry(principal.clone()).or_default();
        if *count < config.max_sessions_per_principal {
            *count += 1;
            return true;
        }
        if *count == 0 {
            by_principal.remove(principal);
        }
        drop(by_principal);
        self.taken.fetch_sub(1, Relaxed);
        false
    }

    /// Gives a place back.
    pub(crate) fn give_back(&self, principal: Option<&Principal>) {
        if let Some(principal) = principal {
            let mut by_principal = lock(&self.by_principal);
            if let Some(count) = by_principal.get_mut(principal) {
                *count -= 1;
                if *count == 0 {
                    by_principal.remove(principal);
                }
            }
        }
        self.taken.fetch_sub(1, Relaxed);
        self.freed.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_15_one_principal_cannot_take_every_place_and_none_is_lost() {
        let mut config = Config::default();
        (config.max_sessions, config.max_sessions_per_principal) = (3, 2);
        let places = Places::default();
        let [alice, bob] = ["alice", "bob"].map(Principal::new);
        let take = |principal: Option<&Principal>| places.take(&config, principal);
        assert_eq!([take(Some(&alice)), take(Some(&alice)), take(Some(&alice))], [true, true, false]);
        assert_eq!([take(Some(&bob)), take(None), take(Some(&bob))], [true, false, false]);
        places.give_back(Some(&alice));
        assert!(take(Some(&alice)));
        for principal in [&alice, &alice, &bob] {
            places.give_back(Some(principal));
        }
        assert_eq!((places.taken.load(Relaxed), lock(&places.by_principal).len()), (0, 0));
        config.max_sessions_per_principal = 0;
        assert!(!places.take(&config, Some(&bob)) && places.take(&config, None));
        assert_eq!(lock(&places.by_principal).len(), 0);
    }
}
