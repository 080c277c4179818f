//! Runs many schedules of the simulation, or one of them again: `cargo xtask sim` calls this.

use std::{num::NonZeroUsize, process::ExitCode, time::Instant};

use clap::Parser;
use mcp_session_testkit::simulation::{Replay, Simulation, replay};

/// From so many schedules on, each thing on the list must have been reached.
const COVERS: u64 = 20_000;

#[derive(Parser)]
struct Args {
    /// How many schedules.
    #[arg(long, default_value_t = 1_000)]
    schedules: u64,
    /// The seed of the first one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many run at the same time. As many as the machine has processors, if it is not given.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Prints how often each input met each phase.
    #[arg(long)]
    coverage: bool,
    /// Prints no progress.
    #[arg(long)]
    quiet: bool,
    /// Runs this schedule again, and prints it: `7`, or what a failure said.
    #[arg(long, conflicts_with_all = ["schedules", "seed"])]
    replay: Option<Replay>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(one) = args.replay {
        let replayed = replay(&one);
        println!("{}\n{}", replayed.plan, replayed.trace);
        return match replayed.violation {
            Some((invariant, text)) => {
                eprintln!("violation: {invariant}: {text}");
                ExitCode::FAILURE
            }
            None => ExitCode::SUCCESS,
        };
    }
    let mut simulation = Simulation::new(args.seed);
    simulation.schedules = args.schedules;
    simulation.threads = args.threads.unwrap_or(simulation.threads);
    let begun = Instant::now();
    let report = simulation.run(|over| {
        if !args.quiet && over % 10_000 == 0 {
            eprintln!("{over} schedules, {:.0} per second", over as f64 / begun.elapsed().as_secs_f64());
        }
    });
    if args.coverage {
        print!("{}", report.coverage);
    }
    if let Some(failure) = report.failure {
        eprintln!("{failure}");
        return ExitCode::FAILURE;
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{} schedules without a violation, {:.0} per second",
        report.schedules,
        report.schedules as f64 / took
    );
    if args.schedules >= COVERS && !report.missing.is_empty() {
        eprintln!("never reached:\n  {}", report.missing.join("\n  "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
