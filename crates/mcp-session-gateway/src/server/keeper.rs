//! The tasks of a child: one reads what it says, one waits for its end and runs the ladder, one reads its stderr.

use std::{
    process::ExitStatus,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use mcp_session_core::TerminateReason;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    audience::Owner,
    config::{Mode, StderrTo},
    link::LinkInner,
};
use crate::child::{
    spawn::{Output, Process},
    stderr,
};

/// How long the last words of a child that has exited are waited for, and how a child has exited that has closed its stdout.
/// 30 ms: they are in the pipe already, but a process that it has left may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(30);

/// Starts the tasks of a child. `place` is given back when it has ended.
pub(super) fn start(
    link: &Arc<LinkInner>,
    process: Process,
    output: Output,
    errors: Output,
    place: OwnedSemaphorePermit,
) {
    let (silent, silence) = oneshot::channel();
    let reads = Arc::clone(link);
    tokio::spawn(async move {
        read(&reads, output).await;
        let _ = silent.send(());
    });
    tokio::spawn(log(Arc::clone(link), errors));
    tokio::spawn(keep(Arc::clone(link), process, silence, place));
}

async fn read(link: &Arc<LinkInner>, mut output: Output) {
    while let Some(line) = output.next_line().await {
        link.hear(line);
        // A child that never pauses must not keep a thread for itself.
        tokio::task::consume_budget().await;
    }
}

/// Waits for the end of the child, or until it is to be ended; then ends what is left of it.
async fn keep(
    link: Arc<LinkInner>,
    mut process: Process,
    mut silence: oneshot::Receiver<()>,
    place: OwnedSemaphorePermit,
) {
    let core = &link.core;
    let closing = link.until(|status| status.closing);
    let mut unexpected = true;
    tokio::select! {
        biased;
        () = closing => unexpected = false,
        _ = process.wait() => { let _ = tokio::time::timeout(LAST_WORDS, &mut silence).await; }
        // It may still speak, but cannot be told anything.
        () = link.input.closed() => {
            let _ = tokio::time::timeout(LAST_WORDS, process.wait()).await;
        }
        _ = &mut silence => { let _ = tokio::time::timeout(LAST_WORDS, process.wait()).await; }
    }
    let succeeded = process.exited().map(|status| status.success());
    link.status.send_modify(|status| status.exited = succeeded);
    let how = how(process.exited());
    let error = match unexpected {
        true => core.error(&how).with_data(json!({ "reason": "process_ended", "status": how })),
        false => core.error("its process is being ended"),
    };
    let lost = link.die(&error);
    core.counts.calls_lost.fetch_add(lost as u64, SeqCst);
    if unexpected {
        core.counts.died.fetch_add(1, SeqCst);
        tracing::warn!(server = core.config.name, child = link.label, lost, "{how}");
        if let Owner::Session(session) = link.owner() {
            drop(session.terminate(TerminateReason::Error));
        }
    }
    let hurry = async {
        let _ = core.hurry.subscribe().wait_for(|hurry| *hurry).await;
    };
    // Boxed: an idle child has no room for its end.
    let outcome = Box::pin(process.end(&link.input, core.config.budgets, hurry)).await;
    tracing::debug!(server = core.config.name, child = link.label, ?outcome, "ended");
    let succeeded = process.exited().is_some_and(|status| status.success());
    link.status.send_modify(|status| status.exited = Some(succeeded));
    link.set_owner(Owner::Nobody);
    drop(place);
    core.ended(link.number, outcome);
}

/// How a process has ended, for a reader.
fn how(exited: Option<ExitStatus>) -> String {
    match exited {
        Some(status) => format!("its process has ended: {status}"),
        None => "its process has closed its pipes".to_owned(),
    }
}

async fn log(link: Arc<LinkInner>, errors: Output) {
    let config = &link.core.config;
    let to_client = config.stderr == StderrTo::Client && config.mode == Mode::Session;
    stderr::read(errors, |line| match config.stderr {
        StderrTo::Discard => {}
        StderrTo::Client if to_client => {
            let params = json!({ "level": "info", "logger": "stderr", "data": line });
            link.hear_stderr(params.into());
        }
        StderrTo::Client | StderrTo::Log => {
            tracing::info!(target: "mcp_session_gateway::stderr", server = config.name, child = link.label, "{line}");
        }
    })
    .await;
}
