//! The clock that all processes of a machine share.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine was started, the same in each process: what one process notes can be compared in another.
///
/// ```
/// let before = mcp_session_bench::monotonic_nanos();
/// assert!(mcp_session_bench::monotonic_nanos() >= before);
/// ```
pub fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
