//! Helpers of the unit tests.

use std::time::Instant;

/// The start time of a test. All later times are computed from it.
#[allow(clippy::disallowed_methods, reason = "`Instant` has no other constructor")]
pub(crate) fn start() -> Instant {
    Instant::now()
}
