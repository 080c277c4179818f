//! The adapters' table of the README: the cost of each, from one run, on the three small examples, which are alike.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{Plan, echo::load, scale::bytes_of_a_stream};
use crate::{
    build,
    load::{Era, echo},
    results::{Spread, short},
    server::Server,
};

/// The examples, each the same server.
const EXAMPLES: [(&str, &str); 3] = [
    ("mcp-session-tokio", "tokio_hyper"),
    ("mcp-session-smol", "smol_hyper"),
    ("mcp-session-async-std", "tide_app"),
];

const STREAMS: usize = 1_000;

/// Measures and prints the table.
pub(super) fn table(plan: &Plan) -> Result<()> {
    build::examples(&EXAMPLES.map(|(_, example)| example))?;
    let mut rates = vec![Vec::new(); EXAMPLES.len()];
    let mut bytes = vec![Vec::new(); EXAMPLES.len()];
    for round in 0..plan.rounds {
        eprintln!("adapters, round {} of {}", round + 1, plan.rounds);
        for (index, (_, example)) in EXAMPLES.iter().enumerate() {
            let executable = plan.target.join("release/examples").join(example);
            let start = || Server::start(Command::new(&executable), &plan.version, &plan.cores);
            let load = load(plan, Era::Session, 64, 64);
            rates[index].push(echo(start()?.target(), &load)?.per_second);
            bytes[index].push(bytes_of_a_stream(&start()?, STREAMS)?);
        }
    }
    println!("\n| adapter | executable | stripped | `echo` requests/s | bytes of an open GET stream |");
    println!("|---|---|---|---|---|");
    for (index, (adapter, example)) in EXAMPLES.iter().enumerate() {
        let executable = plan.target.join("release/examples").join(example);
        let size = fs::metadata(&executable)?.len();
        let stripped = stripped_size(&executable, &plan.target)?;
        let spread = |values: &[f64]| Spread::of(values.iter().copied()).context("there was a round");
        println!(
            "| `{adapter}` | {}B | {}B | {} | {} |",
            short(size as f64),
            short(stripped as f64),
            spread(&rates[index])?,
            spread(&bytes[index])?,
        );
    }
    Ok(())
}

/// The size without symbols and line tables.
fn stripped_size(executable: &Path, target: &Path) -> Result<u64> {
    let copy = target.join("bench/stripped");
    let status = Command::new("strip").arg("-o").arg(&copy).arg(executable).status()?;
    ensure!(status.success(), "strip {} failed", executable.display());
    let size = fs::metadata(&copy)?.len();
    fs::remove_file(&copy)?;
    Ok(size)
}
