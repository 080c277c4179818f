//! `cargo xtask`: the project's chores, one file per task.

mod arrows;
mod bench;
mod conformance;
mod coverage;
mod examples;
mod instructions;
mod interop;
mod node;
mod parallel;
mod process;
mod runtimes;
mod server;
mod soak;
mod source;
mod test_all;
mod unavailable;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Checks which crate may use which, and what proto and the adapters must not hold
    Arrows,
    /// Runs every check there is and ends with a table and a count
    TestAll(test_all::Args),
    /// Measures the servers beside each other and draws the charts
    Bench(bench::Args),
    /// Counts the instructions of a request with valgrind, and compares them with what is written
    Instructions(instructions::Args),
    /// Drives the examples with the real Python and TypeScript clients, two lines of each
    Interop(interop::Args),
    /// Says which test shows which requirement of the specification, and what has none
    Coverage(coverage::Args),
    /// Runs the official conformance suite against `everything`, strictly, for each legacy revision
    Conformance(conformance::Args),
    /// Lets many clients of every kind use two nodes with one store, in real time, and counts what must not happen
    Soak(soak::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended_well = Workspace::load().and_then(|workspace| match cli.task {
        Task::Arrows => arrows::run(&workspace),
        Task::TestAll(args) => test_all::run(&workspace, &args),
        Task::Bench(args) => bench::run(&workspace, &args),
        Task::Instructions(args) => instructions::run(&workspace, &args),
        Task::Interop(args) => interop::run(&workspace, &args),
        Task::Coverage(args) => coverage::run(&workspace, &args),
        Task::Conformance(args) => conformance::run(&workspace, &args),
        Task::Soak(args) => soak::run(&workspace, &args),
    });
    match ended_well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
