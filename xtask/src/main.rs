//! `cargo xtask`: the project's tasks, one file each.

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
#[command(name = "cargo xtask", about = "The project's tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Checks which crate may depend on which, and what proto and the adapters must not contain
    Arrows,
    /// Runs every check and ends with a table and a count
    TestAll(test_all::Args),
    /// Measures the servers side by side and draws the charts
    Bench(bench::Args),
    /// Counts the instructions of a request with valgrind, and compares them with the recorded counts
    Instructions(instructions::Args),
    /// Drives the examples with the real Python and TypeScript clients, two release lines of each
    Interop(interop::Args),
    /// Lists the tests of each requirement of the specification, and the requirements without a test
    Coverage(coverage::Args),
    /// Runs the official conformance suite against `everything`, in strict mode, for each legacy revision
    Conformance(conformance::Args),
    /// Runs many clients of every kind against two nodes with one store, in real time, and counts failures
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
