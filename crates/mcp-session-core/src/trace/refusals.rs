//! [`Refusals`]: refused requests in the log, not each of them.

use std::{
    borrow::Cow,
    mem,
    net::SocketAddr,
    time::{Duration, Instant},
};

#[cfg(feature = "tracing")]
use super::{contain, event, is_enabled, told};
use crate::sync::{Mutex, lock};

/// The reasons for which requests were refused recently. An overloaded or scanned server refuses thousands of requests per
/// second: an operator wants to see that and why, but not each refusal.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Vec<Reason>>);

#[derive(Debug)]
struct Reason {
    name: &'static str,
    told_at: Instant,
    untold: u64,
}

/// After a refusal is logged, how long further ones for the same reason are logged only at `DEBUG`.
const QUIET: Duration = Duration::from_secs(1);

impl Refusals {
    /// Returns `Some` if a refusal for this reason should be logged, with the number of unlogged ones before it.
    fn tell(&self, name: &'static str, now: Instant) -> Option<u64> {
        let mut all = lock(&self.0);
        match all.iter_mut().find(|reason| reason.name == name) {
            None => all.push(Reason { name, told_at: now, untold: 0 }),
            Some(reason) if now.saturating_duration_since(reason.told_at) < QUIET => {
                reason.untold += 1;
                return None;
            }
            Some(reason) => {
                reason.told_at = now;
                return Some(mem::take(&mut reason.untold));
            }
        }
        Some(0)
    }
}

/// A refused request, for the log.
pub(crate) struct RefusedRequest {
    /// One of a fixed set.
    pub(crate) reason: &'static str,
    pub(crate) status: u16,
    pub(crate) error: Cow<'static, str>,
    /// The setting that would admit it.
    pub(crate) setting: Option<&'static str>,
}

/// Logs a refused request: as a warning with the setting if an operator can allow it, as information otherwise. Each reason
/// once a second, with the number of refusals since that were logged at `DEBUG` only.
pub(crate) fn rejected(
    refused: impl FnOnce() -> RefusedRequest,
    peer: Option<SocketAddr>,
    refusals: &Refusals,
    now: impl FnOnce() -> Instant,
) {
    #[cfg(feature = "tracing")]
    {
        if !is_enabled(tracing::Level::ERROR) {
            return;
        }
        let RefusedRequest { reason, status, error, setting } = refused();
        let (error, peer) = (told(&error), peer.map(tracing::field::display));
        if status == 500 {
            event!(ERROR, status, reason, peer, %error, "request rejected");
            return;
        }
        let Some(unreported) = refusals.tell(reason, now()) else {
            event!(DEBUG, status, reason, peer, %error, "request rejected");
            return;
        };
        match setting {
            Some(setting) => {
                event!(WARN, status, reason, peer, %error, setting, unreported, "request rejected");
            }
            None => event!(INFO, status, reason, peer, %error, unreported, "request rejected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_for_one_reason_are_logged_once_a_second() {
        let (refusals, now) = (Refusals::default(), crate::testing::start());
        let tell = |name, after| refusals.tell(name, now + Duration::from_millis(after));
        assert_eq!(
            [tell("a", 0), tell("a", 0), tell("b", 1), tell("a", 999)],
            [Some(0), None, Some(0), None]
        );
        assert_eq!([tell("a", 1_000), tell("a", 1_500), tell("a", 2_000)], [Some(2), None, Some(1)]);
    }
}
