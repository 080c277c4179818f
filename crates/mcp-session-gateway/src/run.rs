//! [`gateway`]: the whole life of the gateway's process, apart from its supervisor.

use std::{future::pending, io};

use mcp_session_tokio::terminate_signal;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{
    config::GatewayConfig,
    drain::{self, policy},
    front::Front,
    log,
    report::Report,
    view::View,
};

/// Serves until SIGTERM, SIGHUP or Ctrl-C, and returns how it has stopped. Writes the URL of each server to stdout, a line each, and at
/// the end the report.
///
/// # Errors
///
/// If it cannot start.
pub fn gateway(config: &GatewayConfig) -> io::Result<Report> {
    let view = View::new(config);
    let log = log::start(config.log, &view);
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(serve(config, &view));
    runtime.shutdown_background(); // what blocks a thread is not waited for
    if let Ok(report) = &report {
        say(&view, &report.written(config.report));
    }
    view.clear(); // after the last line: each one draws it again
    drop(log); // and with it, what waits to be written is
    report
}

async fn serve(config: &GatewayConfig, view: &View) -> io::Result<Report> {
    let mut signal = Box::pin(stop_signal()); // from now on, none is lost
    let front = Front::bind(config)?;
    let started = tokio::select! {
        started = front.start() => started?,
        () = &mut signal => return Err(io::Error::new(io::ErrorKind::Interrupted, "stopped before it had started")),
    };
    for url in &started.urls {
        say(view, url); // last before it serves: a reader may connect or send a signal
    }
    let watch = view.watch(started.served.clone());
    let report = drain::run(started, policy(config), signal, stop_signal, view).await;
    watch.abort();
    report
}

/// Waits for the next SIGTERM, Ctrl-C or SIGHUP, which comes when the terminal is closed. From the call on, none is lost.
fn stop_signal() -> impl Future<Output = ()> + Send {
    let terminate = terminate_signal();
    let hangup = signal(SignalKind::hangup());
    async move {
        let hangup = async {
            match hangup {
                Ok(mut hangup) => drop(hangup.recv().await),
                Err(_) => pending().await,
            }
        };
        tokio::select! {
            () = terminate => {}
            () = hangup => {}
        }
    }
}

/// Writes lines to stdout. A closed stdout is ignored.
fn say(view: &View, lines: &str) {
    let _ = view.write(io::stdout().lock(), format!("{lines}\n").as_bytes());
}
