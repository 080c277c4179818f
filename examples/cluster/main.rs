//! Run with `cargo run --release --example cluster`.
//!
//! Three nodes with a common store serve 200 sessions, round robin, without sticky routing. A rolling deploy replaces one node
//! after the other while every session has a call running: the calls end where they are, and their clients read on at
//! another node. The clients check each step and each answer. Exit code 0 means that nothing was lost. The store is a
//! `redis-server` of its own if one is installed, otherwise memory; see `--help`.

mod args;
mod deploy;
mod load;
mod node;
mod redis;
mod rotation;
mod table;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use clap::Parser;
use mcp_session_examples::{
    client::Error,
    progress::{Gauge, show},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::timeout;

use crate::{
    args::Args, deploy::NODES, load::Seen, node::Shared, redis::Redis, rotation::Rotation, table::Table,
};

/// How long all may take: the calls of a session, one after the other, and the deploy.
fn limit(args: &Args) -> Duration {
    Duration::from_secs(60 + 10 * args.calls)
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    raise_limit();
    let ended = tokio::select! {
        ended = timeout(limit(&args), run(&args)) => ended,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("\ninterrupted");
            return ExitCode::from(130);
        }
    };
    match ended {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => complain(&error.to_string()),
        Err(_) => complain(&format!("not finished after {:?}", limit(&args))),
    }
}

fn complain(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::FAILURE
}

/// Runs the deploy under load. Returns `true` if nothing was lost.
async fn run(args: &Args) -> Result<bool, Error> {
    let mut own = None; // ends with this function
    let shared = match args.store.as_deref() {
        Some("memory") => Shared::memory(),
        Some(url) => Shared::Redis(url.to_owned()),
        None => match Redis::start()? {
            Some(redis) => {
                eprintln!("a redis-server of this run keeps the sessions: {}", redis.url());
                Shared::Redis(own.insert(redis).url())
            }
            None => {
                eprintln!("no redis-server is installed: the nodes share a store in this process");
                Shared::memory()
            }
        },
    };
    let (rotation, seen, at) = (Arc::<Rotation>::default(), Arc::<Seen>::default(), AtomicU64::new(0));
    let places = deploy::start(&shared, &rotation).await?;
    let running: Vec<_> = places.iter().map(|place| Arc::clone(&place.running)).collect();
    let labels = ["calls at node 1", "calls at node 2", "calls at node 3"];
    let (sessions, calls) = (args.sessions, args.sessions * args.calls);
    let mut gauges = vec![Gauge { label: "sessions", total: sessions, count: &seen.opened }];
    gauges.extend(labels.into_iter().zip(&running).map(|(label, count)| Gauge {
        label,
        total: sessions,
        count,
    }));
    gauges.push(Gauge { label: "answers", total: calls, count: &seen.answered });
    gauges.push(Gauge { label: "lost", total: calls, count: &seen.lost });
    let headline = || match at.load(Relaxed) as usize {
        0 => "three nodes".to_owned(),
        number if number <= NODES => format!("replacing node {number}"),
        _ => "three new nodes".to_owned(),
    };
    let all = async {
        let (deployed, ()) =
            tokio::join!(deploy::deploy(&shared, &rotation, places, &at), load::run(args, &rotation, &seen),);
        deployed
    };
    let (nodes, replaced) = show(headline, &gauges, all).await?;
    for node in nodes {
        node.stop().await?;
    }
    let table = Table { args, seen: &seen, replaced: &replaced };
    println!("\n{table}");
    Ok(table.is_clean())
}

/// Both ends of each connection are in this process: most systems allow 1,024 files.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
