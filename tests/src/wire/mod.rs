//! What a wire test needs: a server on a loopback socket, and clients that see every byte.
#![allow(clippy::missing_panics_doc, reason = "a helper that panics fails its test")]

mod http1;
mod http2;
mod process;
mod server;

use std::{future::Future, time::Duration};

pub use http1::{Client, Connection, End, Head, Reply, call, initialize, initialized};
pub use http2::{Frame, Http2, Sent};
pub use process::Process;
pub use server::{Server, Setup, large};
use tokio::time;

/// How long a test waits for something that has to happen. No test passes by waiting for it.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A budget that a test waits out.
pub const SHORT: Duration = Duration::from_millis(200);

/// A budget that no test waits out: twice the time it has.
pub const LONG: Duration = Duration::from_secs(60);

/// Waits for `future`, for [`LIMIT`] at the most.
#[track_caller]
pub fn within<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match time::timeout(LIMIT, future).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: {what} took more than {LIMIT:?}"),
        }
    }
}

/// Waits until `state` is true.
#[track_caller]
pub fn until(what: &str, mut state: impl FnMut() -> bool) -> impl Future<Output = ()> {
    within(what, async move {
        while !state() {
            time::sleep(Duration::from_millis(2)).await;
        }
    })
}
