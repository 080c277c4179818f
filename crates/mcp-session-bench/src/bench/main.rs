//! Run with `cargo xtask bench --short`.
//!
//! The load generator and its driver, which starts the servers, loads them in turn, and writes the results.

mod args;
mod build;
mod chart;
mod gate;
mod goals;
mod load;
mod machine;
mod peer;
mod process;
mod redis;
mod results;
mod scenarios;
mod server;
mod subject;
mod tables;
mod traced;
mod valgrind;

use std::{fs, process::ExitCode, sync::Arc, thread, time::Duration};

use anyhow::Result;
use clap::Parser;

use crate::{
    args::{Cli, Command, LoadArgs, RunArgs},
    load::Target,
    machine::Cores,
    results::{Results, short},
    scenarios::Plan,
};

/// The time limit of a whole run: the full one takes some thirty minutes.
const LIMIT: Duration = Duration::from_secs(60 * 60);

fn main() -> ExitCode {
    mcp_session_bench::raise_open_files();
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("error: not finished after {LIMIT:?}, giving up");
        std::process::exit(1); // the servers end with this process
    });
    let done = match Cli::parse().command {
        Command::Run(args) => run(&args).map(|()| ExitCode::SUCCESS),
        Command::Load(args) => load(&args).map(|()| ExitCode::SUCCESS),
        Command::Instructions { write } => gate::run(write),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RunArgs) -> Result<()> {
    let plan = Plan::new(args)?;
    let scenarios = Plan::scenarios(args);
    plan.build(&scenarios)?;
    let directory = plan.target.join("bench");
    fs::create_dir_all(&directory)?;
    let mut results = Results { machine: machine::describe(&plan.cores), ..Results::default() };
    for &scenario in &scenarios {
        plan.measure(scenario, &mut results)?;
        // After each scenario, so that a later failure loses no figures. Scenarios that only print do not write.
        if !results.records.is_empty() {
            results.write(&directory.join("results.json"))?;
        }
    }
    tables::print(&results, &scenarios);
    goals::print(&results, &plan);
    let charts = chart::draw_all(&results, &directory)?;
    if !results.records.is_empty() {
        println!("\n{} figures in {}", results.records.len(), directory.join("results.json").display());
    }
    for chart in charts {
        println!("{}", chart.display());
    }
    Ok(())
}

fn load(args: &LoadArgs) -> Result<()> {
    let cores = Cores::of_this_process()?;
    let mut target = Target::new(&args.url, &args.version, cores.client_threads())?;
    target.pid = args.pid;
    let time = Duration::from_secs_f64(args.seconds);
    match args.load {
        args::Load::Echo { connections, size, one_session, era } => {
            let sessions = if one_session {
                let (ids, _) = load::open_sessions(&target, 1)?;
                vec![ids[0].clone(); connections].into()
            } else {
                Arc::default()
            };
            let report = load::echo(&target, &load::Echo { connections, time, size, era, sessions })?;
            println!("{report:#?}");
        }
        args::Load::Churn { connections } => {
            let (per_second, server_cpu) = load::churn(&target, &load::Churn { connections, time })?;
            println!("{} sessions/s, {server_cpu:.1} us of the server each", short(per_second));
        }
        args::Load::Sessions { count } => {
            let (_, per_second) = load::open_sessions(&target, count)?;
            println!("{count} sessions open, {} per second", short(per_second));
        }
        args::Load::Streams { count } => {
            load::with_streams(&target, count, || Ok(()))?;
            println!("{count} streams were open");
        }
        args::Load::Listeners { count } => {
            load::with_listeners(&target, count, || Ok(()))?;
            println!("{count} listeners were open");
        }
        args::Load::Events { streams } => {
            let load = load::Events { streams, steps: 20, time };
            println!("{:#?}", load::events(&target, &load)?);
        }
        args::Load::Shutdown { streams, listeners, calls, era } => {
            let [call_time, patience] = [2_500, 22_000].map(Duration::from_millis);
            let calls = vec![(era, calls)];
            let load = load::Shutdown { streams, listeners, calls, call_time, patience };
            println!("{:#?}", load::shutdown(&target, &load)?);
        }
    }
    Ok(())
}
