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

use crate::{
    build, goals,
    traced::{self, KINDS, Traced, Writes},
    valgrind::WORK,
};

const WRITTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");

/// The tolerated increase: the C library, which differs between machines, contributes to the counts.
const TOLERANCE: f64 = 1.05;

/// Exit code if the recorded counts are from another compiler. 1 means a failure and 2 a bad argument.
const CANNOT_COMPARE: u8 = 77;

#[derive(Debug, Deserialize, Serialize)]
struct Written {
    rustc: String,
    instructions: BTreeMap<String, f64>,
    /// What requests write that other cores see.
    shared: BTreeMap<String, Writes>,
}

/// Counts, and compares with the recorded counts or records new ones.
pub(crate) fn run(write: bool) -> Result<ExitCode> {
    let target = build::target_directory()?;
    fs::create_dir_all(target.join("bench"))?;
    let rustc = rustc()?;
    let written: Written = match write {
        true => Written { rustc: rustc.clone(), instructions: BTreeMap::new(), shared: BTreeMap::new() },
        false => serde_json::from_str(&fs::read_to_string(WRITTEN)?).context(WRITTEN)?,
    };
    if written.rustc != rustc {
        println!("the recorded instructions are from {}, but this is {rustc}", written.rustc);
        return Ok(ExitCode::from(CANNOT_COMPARE));
    }
    build::in_process()?;
    let counts = count(&target)?;
    let traced: Vec<_> = KINDS.iter().map(|(name, _)| traced::trace(&target, name)).collect::<Result<_>>()?;
    if write {
        let shared = KINDS.iter().zip(&traced).map(|((name, _), traced)| ((*name).to_owned(), traced.writes));
        let written = Written { rustc, instructions: counts, shared: shared.collect() };
        fs::write(WRITTEN, serde_json::to_string_pretty(&written)? + "\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    goals::print_instructions(&counts);
    let met = [is_met(&written.instructions, &counts), shares_as_written(&written.shared, &traced)];
    Ok(if met == [true; 2] { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints tables; returns `true` if no request writes more that other cores see than recorded.
fn shares_as_written(written: &BTreeMap<String, Writes>, traced: &[Traced]) -> bool {
    println!("\n| what a request writes that others see | writes | recorded | cache lines | recorded | |");
    println!("|---|---|---|---|---|---|");
    let mut all = true;
    for ((name, what), Traced { writes: now, .. }) in KINDS.iter().zip(traced) {
        let Some(may) = written.get(*name) else {
            all = false;
            println!("| {what} | {} | - | {} | - | record it with `--write` |", now.writes, now.lines);
            continue;
        };
        let more = now.writes > may.writes || now.lines > may.lines;
        let verdict = match more {
            true => "more",
            false if now == may => "",
            false => "less: record it with `cargo xtask instructions --write`",
        };
        all &= !more;
        println!("| {what} | {} | {} | {} | {} | {verdict} |", now.writes, may.writes, now.lines, may.lines);
    }
    for ((_, what), Traced { places, .. }) in KINDS.iter().zip(traced) {
        println!("\n{what}, by the lines of the source:");
        places.iter().for_each(|(place, count)| println!("  {count:>5}  {place}"));
    }
    all
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

    #[test]
    fn one_more_shared_write_or_cache_line_fails() {
        let writes = |writes, lines| Writes { writes, lines };
        let written: BTreeMap<_, _> =
            KINDS.iter().map(|(name, _)| ((*name).to_owned(), writes(8, 5))).collect();
        let traced = |of: Writes| KINDS.map(|_| Traced { writes: of, places: BTreeMap::new() });
        assert!(shares_as_written(&written, &traced(writes(8, 5))));
        assert!(shares_as_written(&written, &traced(writes(7, 5))));
        assert!(!shares_as_written(&written, &traced(writes(9, 5))));
        assert!(!shares_as_written(&written, &traced(writes(8, 6))));
        assert!(!shares_as_written(&BTreeMap::new(), &traced(writes(8, 5))), "a missing record is not met");
    }
}
