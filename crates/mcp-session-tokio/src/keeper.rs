//! The keeper: a thread for what must not wait for the application.
//!
//! Handlers run on tokio's workers, and some block them. A worker that is blocked may be the one that waits for sockets, timers and
//! signals: then the others sleep, and nobody looks at those until it is through. So deadlines, the tasks that keep them
//! and signals have a runtime of one thread to themselves, one for all endpoints of the process. What it wakes on the
//! workers also makes one of them wait for sockets again.

use std::{future::pending, io, sync::OnceLock, thread};

use tokio::runtime::{Builder, Handle};

/// The keeper's runtime. Its thread starts with the first call and lives as long as the process. `None` where the system
/// has no thread left for it: then everything runs on the workers.
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
