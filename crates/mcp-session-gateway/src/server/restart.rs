//! [`Health`]: how often children have failed in a row, when the next may start, and when that is a crash loop.

use std::time::{Duration, Instant};

use super::config::RestartPolicy;

/// The failures in a row of one server's children. Time is an argument.
#[derive(Debug)]
pub(crate) struct Health {
    policy: RestartPolicy,
    failures: u32,
    /// When the next child may start.
    next: Option<Instant>,
}

impl Health {
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        Self { policy, failures: 0, next: None }
    }

    /// A child has failed: it did not start, or died early. Returns the delay until the next may start.
    pub(crate) fn failed(&mut self, now: Instant) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures);
        let delay = self.policy.first_delay.saturating_mul(doubled).min(self.policy.max_delay);
        self.failures = self.failures.saturating_add(1);
        self.next = now.checked_add(delay);
        delay
    }

    /// A child has started, or lived long enough.
    pub(crate) fn succeeded(&mut self) {
        (self.failures, self.next) = (0, None);
    }

    /// A shared child has died after it lived this long. Returns the delay until the next starts.
    pub(crate) fn died(&mut self, now: Instant, lived: Duration) -> Duration {
        if lived >= self.policy.settled_after {
            self.succeeded();
        }
        self.failed(now)
    }

    /// The delay until the next may start.
    pub(crate) fn delay(&self, now: Instant) -> Duration {
        self.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Until the next child may start, if there were so many failures in a row that it is a crash loop. Zero if it is due.
    pub(crate) fn crash_loop(&self, now: Instant) -> Option<Duration> {
        let wait = self.next?.saturating_duration_since(now);
        (self.failures >= self.policy.crash_loop_after).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_a_success_ends_the_row() {
        let (now, policy) = (Instant::now(), RestartPolicy::default());
        let mut health = Health::new(policy);
        let delays: Vec<_> = (0..9).map(|_| health.failed(now).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(health.crash_loop(now), Some(policy.max_delay));
        assert_eq!(health.crash_loop(now + policy.max_delay), Some(Duration::ZERO));
        health.succeeded();
        assert_eq!((health.crash_loop(now), health.failures()), (None, 0));
        assert_eq!(health.failed(now), policy.first_delay);
    }

    #[test]
    fn a_crash_loop_begins_with_the_configured_failure() {
        let now = Instant::now();
        let mut health = Health::new(RestartPolicy { crash_loop_after: 3, ..RestartPolicy::default() });
        for _ in 0..2 {
            health.failed(now);
            assert_eq!(health.crash_loop(now), None);
        }
        health.failed(now);
        assert!(health.crash_loop(now).is_some());
    }

    #[test]
    fn a_child_that_lived_long_was_no_failure_in_a_row() {
        let (now, policy) = (Instant::now(), RestartPolicy::default());
        let mut health = Health::new(policy);
        for _ in 0..100 {
            assert_eq!(health.died(now, policy.settled_after), policy.first_delay);
        }
        assert_eq!(health.crash_loop(now), None);
        health.died(now, Duration::ZERO);
        assert_eq!(health.failures(), 2);
    }
}
