//! Requests without a session: of 2026-07-28, and of clients of older revisions that name no session.
//!
//! Each is a [`Call`] with a machine of its own. It is in the [`Registry`] while it runs, so that a shutdown finds it, and
//! leaves nothing behind.

pub(crate) mod call;
pub(crate) mod registry;
pub(crate) mod server;
mod shares;
pub(crate) mod subscription;
