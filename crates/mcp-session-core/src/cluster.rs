//! What several nodes do with one session: take it up, carry its streams, pass messages on. Without a store, nothing of
//! this runs.

pub(crate) mod adopt;
pub(crate) mod attach;
pub(crate) mod forward;
pub(crate) mod inbox;
pub(crate) mod keys;
pub(crate) mod relay;
