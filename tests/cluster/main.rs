//! Run with `cargo xtask cluster`.
//!
//! Three processes of the example `everything` on one Redis, behind a round-robin balancer, and a load of real clients: what a
//! rolling deploy, a lost node, a bad link or a lost Redis does to them (see [`args::Play`]). Each client checks what it reads,
//! and the logs in Redis are compared with what clients saw (see [`judge`]). Starts its own `redis-server`.

mod args;
mod balancer;
mod clients;
mod figures;
mod judge;
mod logs;
mod nodes;
mod plays;
mod seen;
mod serve;
mod table;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser as _, ValueEnum as _};
use mcp_session_tests::{choose_executable, end_redis_servers, executable, exit_code, has_redis_server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::block_in_place,
    time,
};

use crate::{
    args::{Args, Play},
    clients::Clients,
    judge::Judged,
    logs::Fault,
    nodes::Nodes,
    plays::Happened,
    table::Table,
};

/// How long clients may take to end: the longest call, and all that may delay it.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many things that went wrong are printed for a run.
const SHOWN: usize = 8;

/// The exit code if there is no `redis-server`.
const CANNOT: u8 = 77;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if !has_redis_server() {
        println!("skipped: no redis-server in the path");
        return ExitCode::from(CANNOT);
    }
    let ended = if let Err(error) = set_up(&args) {
        Err(error)
    } else if args.serve {
        serve::serve(&args, stopped()).await
    } else {
        tokio::select! {
            ended = all(Arc::new(args)) => ended,
            () = stopped() => Err(anyhow::anyhow!("interrupted")),
        }
    };
    end_redis_servers(); // nodes end with the runtime
    exit_code(ended)
}

/// Waits for Ctrl-C or SIGTERM.
async fn stopped() {
    let Ok(mut term) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

/// Raises the limit of descriptors, and builds `everything` before it is needed.
fn set_up(args: &Args) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    if let Some(server) = &args.server {
        choose_executable(server.clone());
    }
    executable();
    Ok(())
}

/// Where the logs of the nodes are.
fn directory() -> PathBuf {
    std::env::temp_dir().join(format!("mcp-session-cluster-{}", std::process::id()))
}

/// Runs the plays, one after the other. Returns `true` if all are well.
async fn all(args: Arc<Args>) -> Result<bool> {
    let directory = directory();
    let (begun, mut table) = (Instant::now(), Table::default());
    let plays = if args.plays.is_empty() { Play::value_variants() } else { &args.plays };
    for &play in plays {
        for seed in (args.seed..).take(args.runs as usize) {
            let directory = directory.join(format!("{}-{seed}", play.name()));
            let (given, at) = (Arc::clone(&args), directory.clone());
            // A task of its own: if it panics, that is a run that failed.
            let ran = tokio::spawn(async move { run(play, &given, seed, &at).await }).await;
            match ran.context("the run panicked").and_then(|ran| ran) {
                Ok((judged, happened)) => {
                    table.add(play, Some((&judged, &happened)));
                    report(play, seed, &args, &judged, &directory)?;
                }
                Err(error) => {
                    println!("{} {seed} FAILED: {error:#}; logs in {}", play.name(), directory.display());
                    table.add(play, None);
                }
            }
        }
    }
    println!("\n{table}\n{:.0} s", begun.elapsed().as_secs_f64());
    Ok(table.is_well())
}

/// One run: starts everything, loads it, lets the play happen, and judges what came of it.
async fn run(play: Play, args: &Args, seed: u64, directory: &PathBuf) -> Result<(Judged, Happened)> {
    std::fs::create_dir_all(directory)?;
    let mut nodes = Nodes::start(play, args.bind, directory).await?;
    let mut clients = Clients::start(nodes.balancer.address, args.sessions, seed);
    let begun = Instant::now();
    while clients.opened() < args.sessions as usize {
        ensure!(begun.elapsed() < PATIENCE, "{} sessions are open", clients.opened());
        time::sleep(Duration::from_millis(20)).await;
    }
    let before = block_in_place(|| figures::counters(&nodes.redis.url(), clients.events()))?;
    let happened = plays::perform(play, args, &mut nodes, &clients).await?;
    let url = match &nodes.replica {
        Some((replica, _)) => replica.url(),
        None => nodes.redis.url(),
    };
    let after = block_in_place(|| figures::counters(&url, clients.events()))?;
    let seen = clients.rest(PATIENCE).await?;
    let fault = Fault { at: happened.at, lost_data: play.loses_data() };
    let different = block_in_place(|| logs::compare(&url, &seen, fault))?;
    if args.verbose && !matches!(play, Play::RestartAof | Play::RestartEmpty | Play::Failover) {
        let figures = block_in_place(|| figures::Figures::new(&url, &seen, before, after))?;
        println!("{} {seed}: {figures}", play.name());
    }
    Ok((judge::judge(play, &seen, different, &happened), happened))
}

fn report(play: Play, seed: u64, args: &Args, judged: &Judged, directory: &Path) -> Result<()> {
    if judged.is_well() {
        std::fs::remove_dir_all(directory)?;
        return Ok(());
    }
    println!("{} {seed} FAILED; the logs of its nodes are in {}", play.name(), directory.display());
    let lists = [
        ("lost", &judged.lost),
        ("doubled", &judged.doubled),
        ("other log", &judged.different),
        ("wrong", &judged.wrong),
    ];
    for (name, list) in lists {
        for what in list.iter().take(SHOWN) {
            println!("  {name}: {what}");
        }
        if list.len() > SHOWN {
            println!("  {name}: {} more", list.len() - SHOWN);
        }
    }
    let sessions = args.sessions;
    println!("  again: cargo xtask cluster --play {} --seed {seed} --sessions {sessions}", play.name());
    Ok(())
}
