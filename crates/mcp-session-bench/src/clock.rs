//! The clock that all processes of a machine share, and the processor time of a thread.

use std::time::Duration;

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

/// The processor time that this thread has used, in user mode and in the kernel. It does not run while the thread waits.
///
/// ```
/// let before = mcp_session_bench::thread_cpu();
/// assert!(mcp_session_bench::thread_cpu() >= before);
/// ```
pub fn thread_cpu() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec.cast_unsigned(), u32::try_from(used.tv_nsec).unwrap_or_default())
}
