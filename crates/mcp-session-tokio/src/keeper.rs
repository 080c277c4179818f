//! The keeper: a thread for tasks that must not wait for the application.
//!
//! Handlers run on tokio's workers, and some block them. The blocked worker may be the one that waits for sockets, timers
//! and signals; then the others sleep, and none of these is noticed until it continues. So deadlines, the tasks that
//! enforce them, and signals have their own single-threaded runtime, one for all endpoints of the process. Tasks that it
//! wakes on the workers also make one of the workers wait for sockets again.

use std::{future::pending, io, sync::OnceLock, thread};

use tokio::runtime::{Builder, Handle};

/// Returns the keeper's runtime. Its thread starts with the first call and lives as long as the process. Returns `None` if
/// the thread cannot be started: then everything runs on the workers.
pub(crate) fn keeper() -> Option<&'static Handle> {
    static KEEPER: OnceLock<Option<Handle>> = OnceLock::new();
    KEEPER.get_or_init(|| start().ok()).as_ref()
}

fn start() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("mcp-session-keeper".into())
        .spawn(move || runtime.block_on(pending::<()>()))?;
    Ok(handle)
}
