//! What the machine's tests share.

use std::time::Instant;

/// Some point in time, for a test to begin at: everything after it is an argument.
#[allow(clippy::disallowed_methods, reason = "`Instant` has no other constructor")]
pub(crate) fn start() -> Instant {
    Instant::now()
}
