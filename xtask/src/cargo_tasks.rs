//! The tasks that build and run another package: `bench`, `sim`, `soak`, `chaos`, `cluster`, `leaks`, `instructions`, and the
//! build of the examples.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::process::{self, BUILD, Unavailable};
use crate::workspace::{BENCH, EXAMPLES, GATEWAY, RMCP, Record, TESTS, Workspace};

/// The exit code of the counter of instructions if the recorded counts are from another compiler.
const CANNOT_COMPARE: i32 = 77;

/// The number of trials of each adapter in `test-all`: less than a minute in all.
const CHAOS_TRIALS: &str = "10";

/// The arguments of the short form of `cluster`: each node is replaced once, and one is killed.
const SHORT_CLUSTER: [&str; 8] = ["--sessions", "60", "--rounds", "1", "--play", "rolling", "--play", "kill"];

/// The exit code of `cluster` if there is no `redis-server`.
const NO_REDIS: i32 = 77;

/// How long these may take. Each trial has limits of its own.
const CHAOS_LIMIT: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Bench {
    /// Arguments of the benchmark: see `cargo xtask bench --help`
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    args: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Sim {
    /// Arguments of the simulation: see `cargo xtask sim --help`
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    args: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Chaos {
    /// Arguments of the trials: see `cargo xtask chaos --help`
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    args: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Cluster {
    /// Arguments of the plays: see `cargo xtask cluster --help`
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    args: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Soak {
    /// Duration in seconds
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Number of sessions at a time
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    sessions: u64,
}

/// `cargo xtask bench`: runs `mcp-session-bench` with the given arguments, without a time limit.
pub(crate) fn bench(workspace: &Workspace, args: &Bench) -> Result<bool> {
    let mut command =
        process::cargo(workspace, ["run", "--release", "--quiet", "--package", BENCH, "--", "run"]);
    Ok(command.args(&args.args).status()?.success())
}

/// `cargo xtask sim`: runs the simulation of the testkit with the given arguments, without a time limit.
pub(crate) fn sim(workspace: &Workspace, args: &Sim) -> Result<bool> {
    Ok(simulate(workspace).args(&args.args).status()?.success())
}

/// The same as a step of `test-all`: as many schedules as must reach everything on the list.
pub(crate) fn sim_gate(workspace: &Workspace) -> Result<bool> {
    let mut command = simulate(workspace);
    command.args(["--schedules", "20000"]);
    Ok(process::run(&command, BUILD + Duration::from_secs(600))?.success())
}

/// Optimized, because the number of schedules is what counts.
fn simulate(workspace: &Workspace) -> Command {
    let run =
        ["run", "--release", "--quiet", "--package", "mcp-session-testkit", "--example", "simulate", "--"];
    process::cargo(workspace, run)
}

/// `cargo xtask soak`: two nodes with one store, round robin without affinity, for some time on the real clock.
pub(crate) fn soak(workspace: &Workspace, args: &Soak) -> Result<bool> {
    let mut command = process::cargo(workspace, ["run", "--package", TESTS, "--example", "soak", "--"]);
    command.args([args.seconds.to_string(), args.sessions.to_string()]);
    let status = process::run(&command, BUILD + Duration::from_secs(args.seconds))?;
    ensure!(matches!(status.code(), Some(0 | 1)), "the soak did not end by itself: {status}");
    Ok(status.success())
}

/// `cargo xtask chaos`: trials of `everything` as a real process, with optimizations and without a time limit.
pub(crate) fn chaos(workspace: &Workspace, args: &Chaos) -> Result<bool> {
    Ok(on_everything(workspace, "chaos", true).args(&args.args).status()?.success())
}

/// A few trials, as a step of `test-all`, on what its other steps have built. What came of each request is judged, not the
/// time of the exit: the machine may be busy.
pub(crate) fn chaos_gate(workspace: &Workspace) -> Result<bool> {
    let mut command = on_everything(workspace, "chaos", false);
    command.args(["--patient", "--trials", CHAOS_TRIALS]);
    Ok(process::run(&command, BUILD + CHAOS_LIMIT)?.success())
}

/// `cargo xtask leaks`: its memory after many sessions, exchanges and listeners; or the heap of a server of the bridge.
pub(crate) fn leaks(workspace: &Workspace, args: &Chaos) -> Result<bool> {
    if let Some((_, rest)) = args.args.split_first().filter(|(first, _)| *first == "--bridge") {
        let run = ["run", "--release", "--quiet", "--package", RMCP, "--example", "leaks", "--"];
        return Ok(process::cargo(workspace, run).args(rest).status()?.success());
    }
    Ok(on_everything(workspace, "chaos", true).arg("leaks").args(&args.args).status()?.success())
}

/// `cargo xtask cluster`: three nodes on one Redis, with optimizations and without a time limit.
pub(crate) fn cluster(workspace: &Workspace, args: &Cluster) -> Result<bool> {
    let status = on_everything(workspace, "cluster_plays", true).args(&args.args).status()?;
    ensure!(status.code() != Some(NO_REDIS), "install a redis-server, such as with apt-get");
    Ok(status.success())
}

/// Its short form, as a step of `test-all`, on what its other steps have built.
pub(crate) fn cluster_gate(workspace: &Workspace) -> Result<bool> {
    let mut command = on_everything(workspace, "cluster_plays", false);
    let status = process::run(command.args(SHORT_CLUSTER), BUILD + CHAOS_LIMIT)?;
    let why = "no redis-server (apt-get install redis-server)";
    ensure!(status.code() != Some(NO_REDIS), Unavailable(why.to_owned()));
    Ok(status.success())
}

/// An example of the tests, which starts `everything`.
fn on_everything(workspace: &Workspace, example: &str, release: bool) -> Command {
    let mut command = process::cargo(workspace, ["run", "--quiet", "--package", TESTS, "--all-features"]);
    command.args(release.then_some("--release")).args(["--example", example, "--"]);
    command
}

/// `cargo xtask instructions`: compares the instructions of a request, counted by valgrind, with the recorded counts.
pub(crate) fn instructions(workspace: &Workspace, args: &Record) -> Result<bool> {
    Ok(count(workspace, args.write)?.success())
}

/// The same as a step of `test-all`.
pub(crate) fn instructions_gate(workspace: &Workspace) -> Result<bool> {
    process::version(&mut Command::new("valgrind"))?;
    let status = count(workspace, false)?;
    ensure!(status.code() != Some(CANNOT_COMPARE), Unavailable("recorded with another rustc".to_owned()));
    Ok(status.success())
}

fn count(workspace: &Workspace, write: bool) -> Result<ExitStatus> {
    let mut command = process::cargo(workspace, ["run", "--release", "--quiet", "--package", BENCH, "--"]);
    process::run(command.arg("instructions").args(write.then_some("--write")), BUILD)
}

/// Builds the plays of `cargo xtask cluster`.
pub(crate) fn build_cluster(workspace: &Workspace, release: bool) -> Result<()> {
    build_of_tests(workspace, "cluster_plays", release)
}

/// Builds the issuer that allows everything.
pub(crate) fn build_issuer(workspace: &Workspace, release: bool) -> Result<()> {
    build_of_tests(workspace, "issuer", release)
}

fn build_of_tests(workspace: &Workspace, example: &str, release: bool) -> Result<()> {
    let mut command =
        process::cargo(workspace, ["build", "--package", TESTS, "--all-features", "--example", example]);
    process::succeed(command.args(release.then_some("--release")), BUILD)
}

/// Builds one example, with the features of [`build_examples`].
pub(crate) fn build_example(workspace: &Workspace, name: &str) -> Result<()> {
    let flags = ["build", "--package", EXAMPLES, "--all-features", "--example", name];
    process::succeed(&process::cargo(workspace, flags), BUILD)
}

/// Builds the gateway.
pub(crate) fn build_gateway(workspace: &Workspace) -> Result<()> {
    let words = ["build", "--package", GATEWAY, "--all-features"];
    process::succeed(&process::cargo(workspace, words), BUILD)
}

/// Builds all examples, always with the same selection and features, so that nothing is built twice.
pub(crate) fn build_examples(workspace: &Workspace, release: bool) -> Result<()> {
    let mut command =
        process::cargo(workspace, ["build", "--package", EXAMPLES, "--examples", "--all-features"]);
    process::succeed(command.args(release.then_some("--release")), BUILD)
}
