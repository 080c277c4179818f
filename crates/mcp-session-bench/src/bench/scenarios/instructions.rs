//! Instructions for each request, counted by valgrind: the same on a busy machine as on a quiet one.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::Plan;
use crate::{build, load::echo_times, peer, server::Server};

/// What is counted in the process: the name that the executable knows it by, what to take off, and what it is.
const WORK: [(&str, Option<&str>, &str); 4] = [
    ("parse", None, "parse a call"),
    ("machine", None, "the machine: parse, admit, answer, encode"),
    ("echo", Some("request"), "`Endpoint::handle` of an `echo` call"),
    ("session", None, "a session: `initialize` and DELETE, with the requests"),
];

/// The lengths of the two runs whose difference counts: starting up cancels out.
const RUNS: [usize; 2] = [1_000, 3_000];

/// Under valgrind, a server is some fifty times slower.
const END: Duration = Duration::from_secs(60);

/// Counts and prints a table.
pub(super) fn count(plan: &Plan) -> Result<()> {
    build::servers(&[])?;
    peer::build(&plan.quick_peers(), &plan.target)?;
    println!("\n| work | instructions in user mode |\n|---|---|");
    for (work, besides, what) in WORK {
        let besides = besides.map_or(Ok(0.0), |besides| each(|times| in_process(plan, besides, times)))?;
        println!("| {what} | {:.0} |", each(|times| in_process(plan, work, times))? - besides);
    }
    for peer in plan.quick_peers() {
        let (executable, flags) = peer.command(&plan.target);
        let instructions = each(|times| {
            let mut command = valgrind(plan, peer.name(), times);
            command.arg(&executable).args(flags).arg("--with-parent");
            let mut server = Server::start(command, &plan.version, &plan.cores)?;
            echo_times(server.target(), times)?;
            server.terminate()?;
            server.wait(END)?;
            collected(plan, peer.name(), times)
        })?;
        println!("| an `echo` call over a connection, {} | {instructions:.0} |", peer.name());
    }
    Ok(())
}

/// What one time takes.
fn each(count: impl Fn(usize) -> Result<f64>) -> Result<f64> {
    let [few, many] = RUNS;
    Ok((count(many)? - count(few)?) / (many - few) as f64)
}

fn in_process(plan: &Plan, work: &str, times: usize) -> Result<f64> {
    let mut command = valgrind(plan, work, times);
    command.arg(plan.target.join("release/in-process")).args([work, &times.to_string()]);
    let status = command.stdin(Stdio::null()).status().context("cannot start valgrind")?;
    ensure!(status.success(), "valgrind failed with {status}");
    collected(plan, work, times)
}

fn valgrind(plan: &Plan, name: &str, times: usize) -> Command {
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind");
    // To look at with callgrind_annotate.
    command.arg(format!("--callgrind-out-file={}", file(plan, name, times, "out").display()));
    command.arg(format!("--log-file={}", file(plan, name, times, "log").display()));
    command
}

/// What valgrind says at its end.
fn collected(plan: &Plan, name: &str, times: usize) -> Result<f64> {
    let path = file(plan, name, times, "log");
    let said = fs::read_to_string(&path)?;
    let (_, number) = said.split_once("Collected : ").with_context(|| format!("no count in: {said}"))?;
    let number = number.lines().next().unwrap_or_default();
    Ok(number.trim().parse()?)
}

fn file(plan: &Plan, name: &str, times: usize, extension: &str) -> PathBuf {
    plan.target.join("bench").join(format!("callgrind.{name}.{times}.{extension}"))
}
