//! [`run`]: serves until a signal, then stops: calls first, children after them.

use std::{
    io,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures::future::{Either, FutureExt, join, join_all, select};
use mcp_session_core::{Shutdown, ShutdownPhase, ShutdownPolicy};
use tokio::time::sleep;

use crate::{
    config::GatewayConfig,
    front::{Served, Started},
    report::{Report, ServerReport},
    view::View,
};

/// How long a child may take to answer a call that it was told to cancel. 100 ms: those that answer at all do so at once, and
/// for the others the client's error waits for it.
const CANCEL: Duration = Duration::from_millis(100);

/// How long clients may take to read what is queued for them: core's default. Children end meanwhile.
const FINISH: Duration = Duration::from_secs(2);

/// How often to look whether a server has answered all its calls. An exit is late by no more.
const LOOK: Duration = Duration::from_millis(10);

/// After the first signal, further ones within this time are the same stop: a terminal sends Ctrl-C to the supervisor and to the
/// gateway, and the supervisor passes it on. As core's.
const SAME_STOP: Duration = Duration::from_secs(1);

/// What a second signal leaves to the phases that are not over: time to write errors.
const HURRY: ShutdownPolicy = ShutdownPolicy {
    lame_duck: Duration::ZERO,
    drain: Duration::ZERO,
    cancel: Duration::ZERO,
    finish: CANCEL,
};

/// How long the phases of a stop may take.
pub(crate) fn policy(config: &GatewayConfig) -> ShutdownPolicy {
    ShutdownPolicy { lame_duck: config.lame_duck, drain: config.grace, cancel: CANCEL, finish: FINISH }
}

/// Serves until `first` is ready, and then stops. A later signal, by a future of `again`, a second or more after the first, ends
/// everything at once.
///
/// # Errors
///
/// If the HTTP server fails.
pub async fn run<F: Future<Output = ()> + Send>(
    started: Started,
    policy: ShutdownPolicy,
    first: impl Future<Output = ()>,
    mut again: impl FnMut() -> F,
    view: &View,
) -> io::Result<Report> {
    let Started { served, serve, file, .. } = started;
    let mut serving = serve.with_policy(policy).into_future();
    if let Either::Left((ended, _)) = select(&mut serving, pin!(first)).await {
        // Nobody else shuts the endpoints down.
        return Err(ended.err().unwrap_or_else(|| io::Error::other("the HTTP server has ended")));
    }
    let begun = Instant::now();
    served.iter().for_each(|one| one.server.drain());
    let shutdowns: Vec<_> = served.iter().map(|one| one.endpoint.shutdown(policy)).collect();
    view.draining(policy);

    let hurried = AtomicBool::new(false);
    let hurry = async {
        loop {
            again().await;
            if begun.elapsed() >= SAME_STOP {
                break;
            }
        }
        tracing::warn!("a second signal: everything ends now");
        hurried.store(true, Relaxed);
        served.iter().for_each(|one| one.server.hurry());
        shutdowns.iter().for_each(|shutdown| shutdown.tighten(HURRY));
    };
    let children = join_all(served.iter().zip(&shutdowns).map(|(one, shutdown)| children(one, shutdown)));
    let ended = join(&mut serving, children);
    let (ended, hurry) = (pin!(ended), pin!(hurry));
    let (report, servers) = match select(ended, hurry).await {
        Either::Left((ended, _)) => ended,
        Either::Right(((), ended)) => ended.await,
    };
    drop(file);
    Ok(Report::new(report?, servers, begun.elapsed(), hurried.load(Relaxed)))
}

/// Ends the children of a server once its calls are answered: while clients read what is queued for them.
async fn children(one: &Served, shutdown: &Shutdown) -> ServerReport {
    let mut closed = pin!(shutdown.wait().fuse());
    while shutdown.phase() < ShutdownPhase::Finishing {
        let look = pin!(sleep(LOOK));
        if let Either::Left(_) = select(&mut closed, look).await {
            break;
        }
    }
    ServerReport { name: one.name().to_owned(), children: one.server.close().await }
}
