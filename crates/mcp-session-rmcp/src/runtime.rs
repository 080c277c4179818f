//! The tokio context that rmcp needs: its loops are tokio tasks, and tools may spawn and sleep.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{Mutex, PoisonError},
};

use futures::future::poll_fn;
use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime for hosts without tokio: one thread, made at the first use, for the whole process.
static BACKGROUND: Mutex<Option<Runtime>> = Mutex::new(None);

/// The context: the one that was set, or the current one, or that of the background.
///
/// # Errors
///
/// If the thread of the background cannot be started.
pub(crate) fn context(set: Option<&Handle>) -> io::Result<Handle> {
    if let Some(set) = set {
        return Ok(set.clone());
    }
    if let Ok(current) = Handle::try_current() {
        return Ok(current);
    }
    let mut background = BACKGROUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*background {
        return Ok(runtime.handle().clone());
    }
    let runtime =
        Builder::new_multi_thread().worker_threads(1).thread_name("mcp-session-rmcp").enable_all().build()?;
    let handle = runtime.handle().clone();
    *background = Some(runtime);
    Ok(handle)
}

/// Polls the future within the context. Whose executor polls it does not matter.
pub(crate) async fn within<F: Future>(tokio: &Handle, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _entered = tokio.enter();
        future.as_mut().poll(cx)
    })
    .await
}
