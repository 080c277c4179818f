//! Instructions for each request, counted by valgrind: the same on a busy machine as on a quiet one.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Plan;
use crate::build;

/// What is counted: the name that the executable knows it by, what to take off, and what it is.
const WORK: [(&str, Option<&str>, &str); 4] = [
    ("parse", None, "parse a call"),
    ("machine", None, "the machine: parse, admit, answer, encode"),
    ("echo", Some("request"), "`Endpoint::handle` of an `echo` call"),
    ("session", None, "a session: `initialize` and DELETE, requests built"),
];

/// The lengths of the two runs whose difference counts: starting up cancels out.
const RUNS: [u32; 2] = [1_000, 3_000];

/// Counts and prints a table.
pub(super) fn count(plan: &Plan) -> Result<()> {
    build::servers(&[])?;
    println!("\n| work | instructions |\n|---|---|");
    for (work, besides, what) in WORK {
        let besides = besides.map_or(Ok(0.0), |besides| each(plan, besides))?;
        println!("| {what} | {:.0} |", each(plan, work)? - besides);
    }
    Ok(())
}

fn each(plan: &Plan, work: &str) -> Result<f64> {
    let [short, long] = RUNS.map(|times| instructions(plan, work, times));
    Ok((long? - short?) as f64 / f64::from(RUNS[1] - RUNS[0]))
}

fn instructions(plan: &Plan, work: &str, times: u32) -> Result<u64> {
    let out = plan.target.join("bench").join(format!("callgrind.{work}.{times}"));
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(plan.target.join("release/in-process"))
        .args([work, &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .context("valgrind is needed to count instructions")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind failed: {said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, number) = collected.with_context(|| format!("no count in: {said}"))?;
    Ok(number.trim().parse()?)
}
