//! [`Quota`]: limits the sessions, in total and per principal, and finds one that can make room (E-15).

use std::{
    collections::{HashMap, VecDeque},
    mem,
};

use event_listener::Event;
use mcp_session_proto::SessionId;

use crate::{
    config::Config,
    principal::Principal,
    sync::{
        Mutex, acquire,
        atomic::{AtomicUsize, Ordering::Relaxed},
        lock,
    },
};

/// Counts the sessions that exist: live ones, and those of which something is left.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    taken: AtomicUsize,
    half_open: Mutex<HalfOpen>,
    /// The sessions that have a principal.
    by_principal: Mutex<HashMap<Principal, Owned>>,
    /// Notified when a place is freed.
    pub(crate) freed: Event,
}

/// The sessions of one principal.
#[derive(Debug, Default)]
struct Owned {
    taken: usize,
    half_open: HalfOpen,
}

/// Sessions that were half-open when they were added, the oldest first. Many have been used or have ended since: check
/// each one that is taken.
#[derive(Debug, Default)]
struct HalfOpen {
    sessions: VecDeque<SessionId>,
    /// The length at which all are checked: twice the number of half-open sessions at the last check.
    full: usize,
}

/// Fewer sessions are never checked.
const FEW: usize = 64;

impl Quota {
    /// Acquires a place for a session of this principal. Returns `false` if there is none.
    pub(crate) fn acquire(&self, config: &Config, principal: Option<&Principal>) -> bool {
        let place = || acquire(&self.taken, 1, config.max_sessions);
        let Some(principal) = principal else { return place() };
        let mut by_principal = lock(&self.by_principal);
        let owned = by_principal.entry(principal.clone()).or_default();
        let acquired = owned.taken < config.max_sessions_per_principal && place();
        if acquired {
            owned.taken += 1;
        } else if owned.taken == 0 {
            by_principal.remove(principal);
        }
        acquired
    }

    /// Gives a place back.
    pub(crate) fn release(&self, principal: Option<&Principal>) {
        if let Some(principal) = principal {
            let mut by_principal = lock(&self.by_principal);
            if let Some(owned) = by_principal.get_mut(principal) {
                owned.taken -= 1;
                if owned.taken == 0 {
                    by_principal.remove(principal);
                }
            }
        }
        self.taken.fetch_sub(1, Relaxed);
        self.freed.notify(usize::MAX);
    }

    /// Returns `true` if this principal is at its cap.
    pub(crate) fn is_full_for(&self, config: &Config, principal: &Principal) -> bool {
        let by_principal = lock(&self.by_principal);
        by_principal.get(principal).is_some_and(|owned| owned.taken >= config.max_sessions_per_principal)
    }

    /// Adds a half-open session. When it is time to check them, returns all of them; the caller puts those that are still
    /// half-open back with [`put_back_half_open`](Self::put_back_half_open).
    pub(crate) fn push_half_open(
        &self,
        owner: Option<&Principal>,
        session: SessionId,
    ) -> Option<VecDeque<SessionId>> {
        self.with_half_open(owner, |half_open| {
            half_open.sessions.push_back(session);
            let full = half_open.sessions.len() >= half_open.full.max(FEW);
            full.then(|| mem::take(&mut half_open.sessions))
        })
        .flatten()
    }

    /// Puts sessions back that are still half-open.
    pub(crate) fn put_back_half_open(&self, owner: Option<&Principal>, mut still: VecDeque<SessionId>) {
        self.with_half_open(owner, |half_open| {
            still.append(&mut half_open.sessions); // added meanwhile
            half_open.full = still.len().saturating_mul(2);
            still.shrink_to(half_open.full);
            half_open.sessions = still;
        });
    }

    /// Removes the oldest session, of this principal or of all, that may be half-open.
    pub(crate) fn pop_half_open(&self, owner: Option<&Principal>) -> Option<SessionId> {
        self.with_half_open(owner, |half_open| half_open.sessions.pop_front()).flatten()
    }

    fn with_half_open<R>(
        &self,
        owner: Option<&Principal>,
        act: impl FnOnce(&mut HalfOpen) -> R,
    ) -> Option<R> {
        match owner {
            None => Some(act(&mut lock(&self.half_open))),
            Some(owner) => {
                let mut by_principal = lock(&self.by_principal);
                by_principal.get_mut(owner).map(|owned| act(&mut owned.half_open))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_15_one_principal_cannot_take_every_place_and_no_place_leaks() {
        let mut config = Config::default();
        (config.max_sessions, config.max_sessions_per_principal) = (3, 2);
        let quota = Quota::default();
        let [alice, bob] = ["alice", "bob"].map(Principal::new);
        let take = |principal: Option<&Principal>| quota.acquire(&config, principal);
        assert_eq!([take(Some(&alice)), take(Some(&alice)), take(Some(&alice))], [true, true, false]);
        assert_eq!([take(Some(&bob)), take(None), take(Some(&bob))], [true, false, false]);
        quota.release(Some(&alice));
        assert!(take(Some(&alice)));
        for principal in [&alice, &alice, &bob] {
            quota.release(Some(principal));
        }
        assert_eq!((quota.taken.load(Relaxed), lock(&quota.by_principal).len()), (0, 0));
        config.max_sessions_per_principal = 0;
        assert!(!quota.acquire(&config, Some(&bob)) && quota.acquire(&config, None));
        assert_eq!(lock(&quota.by_principal).len(), 0);
    }

    #[test]
    fn e_15_used_sessions_are_dropped_and_the_oldest_half_open_one_comes_first() {
        let quota = Quota::default();
        let ids: Vec<_> = (0..1_000).map(SessionId::from_bits).collect();
        let (mut looks, mut most) = (0, 0);
        for (number, id) in ids.iter().enumerate() {
            if let Some(mut kept) = quota.push_half_open(None, *id) {
                looks += kept.len();
                kept.retain(|kept| ids[..10].contains(kept) || ids[number] == *kept);
                quota.put_back_half_open(None, kept);
            }
            most = most.max(lock(&quota.half_open).sessions.len());
        }
        assert!(looks <= 2 * ids.len() && most < FEW, "{looks} looks, {most} kept");
        let first: Vec<_> = (0..10).map_while(|_| quota.pop_half_open(None)).collect();
        assert_eq!(first, ids[..10]);
        assert_eq!(quota.push_half_open(Some(&Principal::new("nobody")), ids[0]), None);
    }
}
