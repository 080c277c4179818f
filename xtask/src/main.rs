//! `cargo xtask`: the project's tasks, one file each.

mod arrows;
mod cargo_tasks;
mod commands;
mod conformance;
mod coverage;
mod fuzz;
mod gateway;
mod installed;
mod interop;
mod loom;
mod mutants;
mod patched;
mod process;
mod prometheus;
mod public_api;
mod release;
mod server;
mod source;
mod table;
mod test_all;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::{Record, Workspace};

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
    Bench(cargo_tasks::Bench),
    /// Counts the instructions of a request with valgrind, and compares them with the recorded counts
    Instructions(Record),
    /// Drives the examples with the real Python, TypeScript and Rust clients, of both eras at the same time
    Interop(interop::Args),
    /// Lists the tests of each requirement of the specification, and the requirements without a test
    Coverage(Record),
    /// Compares the public API of each published crate with its committed listing
    PublicApi(Record),
    /// Does everything of a release but the upload: order, metadata, changelog, packages
    Release(release::Args),
    /// Checks the shell commands in README, guides and docs, and runs those that are marked
    Commands,
    /// Runs the official conformance suite against `everything` or a server of rmcp, in strict mode, for each revision
    Conformance(conformance::Args),
    /// Measures `mcp-session-gateway` with real servers and clients, and beside other gateways
    Gateway(gateway::Args),
    /// Checks the alerts and what `everything --metrics` exposes with promtool, and has a real Prometheus scrape it
    Prometheus,
    /// Plants the bugs of `tests/mutants` one by one, and checks that the tests find each
    Mutants(mutants::Args),
    /// Runs random schedules of clients, stores, nodes and shutdowns in virtual time, and checks invariants
    Sim(cargo_tasks::Sim),
    /// Runs small models of core's concurrent code in every interleaving of their threads
    Loom(loom::Args),
    /// Searches for inputs that break a promise, with cargo-fuzz on nightly
    Fuzz(fuzz::Args),
    /// Runs many clients of every kind against two nodes with one store, in real time, and counts failures
    Soak(cargo_tasks::Soak),
    /// Stops real servers under mixed load with faults, many times, and counts what is lost
    Chaos(cargo_tasks::Chaos),
    /// Replaces, kills, pauses and cuts off nodes on one Redis under load, and counts what is lost
    Cluster(cargo_tasks::Cluster),
    /// Measures the memory of real servers after many sessions, exchanges and listeners; with `--bridge` as the first word,
    /// the heap of a server of rmcp after many sessions
    Leaks(cargo_tasks::Chaos),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Two per core: a server and a client, which spend most of their time waiting for each other and for timers.
    let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    let ended_well = Workspace::load().and_then(|workspace| match cli.task {
        Task::Arrows => arrows::run(&workspace),
        Task::TestAll(args) => test_all::run(&workspace, &args),
        Task::Bench(args) => cargo_tasks::bench(&workspace, &args),
        Task::Instructions(args) => cargo_tasks::instructions(&workspace, &args),
        Task::Interop(args) => Ok(interop::run(&workspace, &args, true)?.0),
        Task::Coverage(args) => coverage::run(&workspace, &args),
        Task::PublicApi(args) => public_api::run(&workspace, &args),
        Task::Release(args) => release::run(&workspace, &args),
        Task::Commands => commands::run(&workspace),
        Task::Conformance(args) => conformance::run(&workspace, &args),
        Task::Gateway(args) => gateway::run(&workspace, &args),
        Task::Prometheus => prometheus::run(&workspace),
        Task::Mutants(args) => mutants::run(&workspace, &args),
        Task::Sim(args) => cargo_tasks::sim(&workspace, &args),
        Task::Loom(args) => loom::run(&workspace, &args),
        Task::Fuzz(args) => fuzz::run(&workspace, &args),
        Task::Soak(args) => cargo_tasks::soak(&workspace, &args),
        Task::Chaos(args) => cargo_tasks::chaos(&workspace, &args),
        Task::Cluster(args) => cargo_tasks::cluster(&workspace, &args),
        Task::Leaks(args) => cargo_tasks::leaks(&workspace, &args),
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
