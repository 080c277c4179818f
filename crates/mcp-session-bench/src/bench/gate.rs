//! The gate: the instructions that a request may cost, as recorded in `instructions.json`.
//!
//! Times differ between machines and between runs; instruction counts of the same compiler hardly do. A change that makes
//! the hot path more expensive therefore fails on every machine; an intended increase is recorded with `--write`.

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{build, goals, valgrind::WORK};

const WRITTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");

/// The tolerated increase: the C library, which differs between machines, contributes to the counts.
const TOLERANCE: f64 = 1.05;

/// Exit code if the recorded counts are from another compiler. 1 means a failure and 2 a bad argument.
const CANNOT_COMPARE: u8 = 77;

#[derive(Debug, Deserialize, Serialize)]
struct Written {
    rustc: String,
    instructions: BTreeMap<String, f64>,
}

/// Counts, and compares with the recorded counts or records new ones.
pub(crate) fn run(write: bool) -> Result<ExitCode> {
    let target = build::target_directory()?;
    fs::create_dir_all(target.join("bench"))?;
    let rustc = rustc()?;
    let written: Written = match write {
        true => Written { rustc: rustc.clone(), instructions: BTreeMap::new() },
        false => serde_json::from_str(&fs::read_to_string(WRITTEN)?).context(WRITTEN)?,
    };
    if written.rustc != rustc {
        println!("the recorded instructions are from {}, but this is {rustc}", written.rustc);
        return Ok(ExitCode::from(CANNOT_COMPARE));
    }
    build::in_process()?;
    let counts = count(&target)?;
    if write {
        let text = serde_json::to_string_pretty(&Written { rustc, instructions: counts })?;
        fs::write(WRITTEN, text + "\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    goals::print_instructions(&counts);
    Ok(if is_met(&written.instructions, &counts) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn count(target: &Path) -> Result<BTreeMap<String, f64>> {
    WORK.iter().map(|work| Ok((work.name.to_owned(), work.count(target)?.round()))).collect()
}

/// Prints a table; returns `true` if nothing costs more than allowed.
fn is_met(written: &BTreeMap<String, f64>, counts: &BTreeMap<String, f64>) -> bool {
    println!("\n| work | instructions | recorded | |\n|---|---|---|---|");
    let mut all = true;
    for work in &WORK {
        let now = counts.get(work.name).copied().unwrap_or_default();
        let Some(may) = written.get(work.name) else {
            all = false;
            println!("| {} | {now:.0} | - | record it with `cargo xtask instructions --write` |", work.what);
            continue;
        };
        let verdict = match now {
            now if now > may * TOLERANCE => "dearer",
            now if now * TOLERANCE < *may => "cheaper: record it with `cargo xtask instructions --write`",
            _ => "",
        };
        all &= verdict != "dearer";
        println!("| {} | {now:.0} | {may:.0} | {verdict} |", work.what);
    }
    all
}

fn rustc() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output().context("cannot start rustc")?;
    Ok(String::from_utf8_lossy(&said.stdout).split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_counts_fail_and_lower_counts_do_not() {
        let all =
            |count: f64| WORK.iter().map(|work| (work.name.to_owned(), count)).collect::<BTreeMap<_, _>>();
        assert!(is_met(&all(1_000.0), &all(1_040.0)));
        assert!(is_met(&all(1_000.0), &all(500.0)));
        assert!(!is_met(&all(1_000.0), &all(1_060.0)));
        let mut one = all(1_000.0);
        one.insert("echo".to_owned(), 2_000.0);
        assert!(!is_met(&all(1_000.0), &one));
        one.remove("echo");
        assert!(!is_met(&one, &all(1_000.0)), "a missing record is not met");
    }
}
