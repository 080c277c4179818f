//! Run with `cargo xtask chaos`.
//!
//! Trials of the example `everything` as a real process on each adapter: a mixed load of clients of every kind, faults, and
//! SIGTERM at a random moment. Each trial is drawn from its seed. What each client saw is held against the log and the
//! report of the server (see [`judge`]). A failure prints the trial and the command that repeats it.

mod args;
mod clients;
mod control;
mod draw;
mod judge;
mod leaks;
mod seen;
mod server;
mod table;
mod trial;

use std::{process::ExitCode, sync::Arc, time::Instant};

use anyhow::Result;
use clap::{Parser as _, ValueEnum};
use futures::{StreamExt as _, stream};
use mcp_session_tests::{choose_executable, executable, exit_code};

use crate::{
    args::{Args, Other},
    clients::Clients,
    draw::{Adapter, Draw},
    table::Table,
};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let (None | Some(Other::Leaks { .. }), server) = (&args.other, &args.server) {
        if let Some(server) = server {
            choose_executable(server.clone());
        }
        executable(); // built before it is needed
    }
    let ended = match &args.other {
        Some(Other::Clients { seed, address }) => apart(*seed, *address).await.map(|()| true),
        Some(Other::Leaks { adapters, loads, count }) => {
            leaks::run(all_unless(adapters), all_unless(loads), *count).await
        }
        None => campaign(&args).await,
    };
    exit_code(ended)
}

fn all_unless<T: ValueEnum>(given: &[T]) -> &[T] {
    if given.is_empty() { T::value_variants() } else { given }
}

/// Runs the trials, several at once. Returns `true` if all are well.
async fn campaign(args: &Args) -> Result<bool> {
    let directory = std::env::temp_dir().join(format!("mcp-session-chaos-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let (begun, mut table) = (Instant::now(), Table::default());
    for &adapter in all_unless(&args.adapters) {
        let draws = (args.seed..).take(args.trials as usize).map(|seed| {
            let draw = Draw::new(seed, adapter);
            Arc::new(if args.patient { draw.patient() } else { draw })
        });
        let trials = draws.map(|draw| tokio::spawn(trial::run(draw, directory.clone())));
        let mut trials = stream::iter(trials).buffer_unordered(args.jobs.into());
        while let Some(verdict) = trials.next().await {
            let verdict = verdict?;
            if args.verbose || !verdict.failures.is_empty() {
                println!("{verdict}");
            }
            table.add(&verdict);
        }
    }
    println!("\n{table}\n{:.0} s", begun.elapsed().as_secs_f64());
    if table.is_well() {
        std::fs::remove_dir_all(&directory)?;
    } else {
        println!("the logs of failed trials are in {}", directory.display());
    }
    Ok(table.is_well())
}

/// The clients of a trial in this process: prints what they have seen.
async fn apart(seed: u64, address: std::net::SocketAddr) -> Result<()> {
    let draw = Draw::new(seed, Adapter::Tokio); // the clients are the same for all
    let mut clients = Clients::start_apart(&draw, address);
    clients.end(trial::PATIENCE).await.map_err(anyhow::Error::msg)?;
    println!("{}", serde_json::to_string(&clients.seen())?);
    Ok(())
}
