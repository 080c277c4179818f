//! [`Seals`]: the logs that this node has ended in place of owners that are gone.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use mcp_session_proto::{REWRITABLE, after};

use super::LogId;
use crate::sync::{Mutex, lock};

/// The logs that this node has sealed lately, and the last event of each: nobody else can write them again if the store turns
/// out to have lost their end.
#[derive(Debug, Default)]
pub(super) struct Seals(Mutex<VecDeque<Seal>>);

#[derive(Debug, Clone)]
pub(super) struct Seal {
    since: Instant,
    pub(super) log: LogId,
    pub(super) last: Option<Bytes>,
}

impl Seals {
    /// Remembers a seal that the store has.
    pub(super) fn add(&self, since: Instant, log: LogId, last: Option<Bytes>) {
        let mut seals = lock(&self.0);
        forget(&mut seals, since);
        seals.push_back(Seal { since, log, last });
    }

    /// Those that the store may have lost.
    pub(super) fn recent(&self, now: Instant) -> Vec<Seal> {
        let mut seals = lock(&self.0);
        forget(&mut seals, now);
        seals.iter().cloned().collect()
    }
}

/// Forgets those that no failover undoes any more.
fn forget(seals: &mut VecDeque<Seal>, now: Instant) {
    while seals.front().is_some_and(|seal| after(seal.since, REWRITABLE) <= now) {
        seals.pop_front();
    }
}
