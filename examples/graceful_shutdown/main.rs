//! Run with `cargo run --release --example graceful_shutdown`.
//!
//! A server under load gets a real SIGTERM and loses nothing: 1,000 sessions with an open stream each and 500 running
//! tool calls, all over real sockets. The clients count what they receive, and the table at the end compares that with
//! the server's report. Exit code 0 means that nothing was lost. Append `-- --grace 500ms --call-time 5s` to see the
//! effect of a grace that is too short.

mod args;
mod limits;
mod load;
mod reader;
mod server;
mod table;

use std::{process::ExitCode, sync::Arc, thread, time::Duration};

use mcp_session_examples::{
    client::Error,
    progress::{Gauge, show},
};
use rustix::process::{Signal, getpid, kill_process};
use tokio::time::timeout;

use crate::{
    args::Args,
    load::Load,
    reader::Seen,
    server::{STEPS, Server},
    table::Table,
};

/// How long opening the load may take. Normally less than a second; longer in a debug build on a busy machine.
const OPENING: Duration = Duration::from_secs(30);

/// How long clients may keep reading after the server has ended: everything was sent by then.
const READING: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::read();
    if let Err(why) = limits::raise(&args) {
        eprintln!("error: {why}");
        return ExitCode::from(2);
    }
    watch_over(OPENING + args.policy().ceiling() + READING * 2);
    match run(&args).await {
        Ok(table) => {
            println!("\n{table}");
            if table.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<Table, Error> {
    let server = Server::start(args.policy()).await?;
    let (seen, sessions, calls) = (Arc::new(Seen::default()), args.sessions, args.calls);

    let opening = [
        Gauge { label: "streams open", total: sessions, count: &seen.opened },
        Gauge { label: "calls running", total: calls, count: &seen.running },
    ];
    let open = timeout(OPENING, Load::open(server.address, args, &seen));
    let Ok(load) = show(|| "opening".into(), &opening, open).await else {
        return Err(format!("the load was not open after {OPENING:?}").into());
    };
    let load = load.map_err(|error| format!("cannot open the load: {error}"))?;

    // Every stream is open and every call is running: now the operator, or Kubernetes, stops the server.
    let pid = getpid();
    eprintln!("SIGTERM to process {}", pid.as_raw_nonzero());
    kill_process(pid, Signal::TERM)?;

    let draining = [
        Gauge { label: "streams ended", total: sessions, count: &seen.ended },
        Gauge { label: "calls answered", total: calls, count: &seen.answered },
        Gauge { label: "progress events", total: calls * STEPS, count: &seen.progress },
    ];
    let endpoint = server.endpoint.clone();
    let end = async {
        let report = server.ended().await?;
        Ok::<_, Error>((report, load.finish(READING).await))
    };
    let (report, losses) = show(|| endpoint.stats().phase.to_string(), &draining, end).await?;
    Ok(Table::new(args, &seen, report, losses))
}

/// Ends the process after `limit`, on a separate thread, so that it also works if the runtime hangs.
fn watch_over(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        eprintln!("error: not finished after {limit:?}, giving up");
        std::process::exit(1);
    });
}
