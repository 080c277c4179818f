//! [`Limits`]: the limits of connections, and their defaults.

use std::time::Duration;

use crate::config::{
    ConfigError,
    check::{bytes, deadline},
};

/// The limits of connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) head_limit: usize,
    pub(super) max_streams: u32,
    pub(super) stall_timeout: Duration,
    pub(super) send_backlog: usize,
    pub(super) linger: (Duration, u64),
    pub(super) send_buffer: usize,
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        const AT_ONCE: &str = "every connection would be closed at once";
        deadline("Serve::with_header_timeout", self.header_timeout, AT_ONCE)?;
        deadline("Serve::with_idle_timeout", self.idle_timeout, AT_ONCE)?;
        deadline("Serve::with_stall_timeout", self.stall_timeout, "no response could be written in time")?;
        bytes("Serve::with_send_backlog", self.send_backlog, 1, "no request would ever be read")
    }

    pub(super) const DEFAULT: Self = Self {
        header_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(75),
        head_limit: 64 * 1024,
        max_streams: 200,
        stall_timeout: Duration::from_secs(60),
        send_backlog: 16 * 1024 * 1024,
        linger: (Duration::from_secs(30), 64 * 1024 * 1024),
        send_buffer: 256 * 1024,
    };
}
