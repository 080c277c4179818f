//! What is logged, if the feature `tracing` is on: that Redis is there, and what is wrong with it. No ids, no data.

use crate::error::Trouble;

#[cfg(feature = "tracing")]
pub(crate) fn connected(address: &str) {
    tracing::info!(address, "connected to Redis");
}

#[cfg(feature = "tracing")]
pub(crate) fn trouble(address: &str, trouble: &Trouble) {
    tracing::warn!(address, "{trouble}");
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn connected(_: &str) {}

#[cfg(not(feature = "tracing"))]
pub(crate) fn trouble(_: &str, _: &Trouble) {}
