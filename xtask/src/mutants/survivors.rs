//! cargo-mutants on the machine and on core's `shutdown`: small changes that no test may survive, except those that are listed
//! with a reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::patch::DIRECTORY;
use crate::process;
use crate::workspace::{CORE, PROTO, TESTKIT, Workspace};

/// Beside the patches.
const LISTED: &str = "survivors.toml";

/// Hours on two cores.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// These two walk through thousands of steps, and take longer than all other tests of the machine: they run only on what
/// the others let live.
const SLOW: [&str; 3] = ["s_5_whatever_happens", "s_5_s_13_in_any_order", "a_walk_replays"];

/// What no test may survive without a reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    #[serde(default)]
    survivor: Vec<Survivor>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Survivor {
    file: String,
    /// As cargo-mutants names it, without its place in the file.
    mutation: String,
    /// How often the file has it.
    #[serde(default = "once")]
    times: usize,
    /// Why no test can see it.
    reason: String,
}

fn once() -> usize {
    1
}

/// Each mutation that survived, and how often.
type Counts = BTreeMap<(String, String), usize>;

/// Runs cargo-mutants; returns `true` if what survived is what is listed.
pub(super) fn run(workspace: &Workspace) -> Result<bool> {
    process::version(Command::new("cargo").arg("mutants"))?;
    let out = workspace.target_directory().join("mutants");
    let machine = out.join("machine");
    let skips: Vec<&str> = SLOW.iter().flat_map(|slow| ["--skip", slow]).collect();
    test(workspace, &machine, &["--package", PROTO], &[&["--lib", "--"], &skips[..]].concat())?;
    // Once more, with all tests, for those that were missed.
    test(workspace, &machine, &["--package", PROTO, "--iterate"], &["--lib"])?;
    let shutdown = out.join("shutdown");
    let tests = format!("{CORE},{TESTKIT}");
    let files =
        ["--package", CORE, "--file", "crates/mcp-session-core/src/shutdown/**", "--test-package", &tests];
    test(workspace, &shutdown, &files, &["--lib", "--test", "behaviour"])?;

    let mut found = Counts::new();
    for directory in [machine, shutdown] {
        let path = directory.join("mutants.out").join("missed.txt");
        count(&fs::read_to_string(&path).with_context(|| path.display().to_string())?, &mut found);
    }
    let path = workspace.root().join(DIRECTORY).join(LISTED);
    let Listed { survivor } = toml::from_str(&fs::read_to_string(&path)?).context(LISTED)?;
    let differences = compare(&found, &survivor);
    differences.iter().for_each(|difference| println!("{difference}"));
    println!(
        "{} mutations survived, {} of them not as listed",
        found.values().sum::<usize>(),
        differences.len()
    );
    Ok(differences.is_empty())
}

fn test(workspace: &Workspace, out: &PathBuf, options: &[&str], tests: &[&str]) -> Result<()> {
    let mut command = process::cargo(workspace, ["mutants", "--colors", "never", "--output"]);
    fs::create_dir_all(out)?;
    command.arg(out).args(options).arg("--").args(tests);
    command.env("CARGO_PROFILE_TEST_DEBUG", "none").env("CARGO_PROFILE_DEV_DEBUG", "none");
    command.env("CARGO_INCREMENTAL", "1");
    let status = process::run(&command, LIMIT)?;
    // 2: some were missed; 3: some did not end in time.
    ensure!(matches!(status.code(), Some(0 | 2 | 3)), "cargo-mutants ended with {status}");
    Ok(())
}

/// Counts the lines `file:line:column: mutation`.
fn count(missed: &str, found: &mut Counts) {
    for line in missed.lines() {
        let mut parts = line.splitn(4, ':');
        if let (Some(file), Some(_), Some(_), Some(mutation)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        {
            *found.entry((file.to_owned(), mutation.trim().to_owned())).or_default() += 1;
        }
    }
}

fn compare(found: &Counts, listed: &[Survivor]) -> Vec<String> {
    let mut differences = Vec::new();
    let mut known = Counts::new();
    for Survivor { file, mutation, times, reason } in listed {
        if reason.trim().is_empty() {
            differences.push(format!("{file}: {mutation}: it is listed without a reason"));
        }
        if !Path::new(file).is_relative() {
            differences.push(format!("{file}: it has to be relative to the root"));
        }
        *known.entry((file.clone(), mutation.clone())).or_default() += times;
    }
    for (key, times) in found {
        let expected = known.get(key).copied().unwrap_or_default();
        if *times > expected {
            differences.push(format!("{}: {}: survived {times} times, listed {expected}", key.0, key.1));
        }
    }
    for (key, times) in &known {
        let seen = found.get(key).copied().unwrap_or_default();
        if seen < *times {
            differences.push(format!("{}: {}: listed {times} times, survived {seen}", key.0, key.1));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(times: usize, reason: &str) -> Survivor {
        let (file, mutation) = ("src/x.rs".to_owned(), "replace f with ()".to_owned());
        Survivor { file, mutation, times, reason: reason.to_owned() }
    }

    #[test]
    fn what_survived_has_to_be_what_is_listed_with_a_reason() {
        let mut found = Counts::new();
        count("src/x.rs:1:2: replace f with ()\nsrc/x.rs:9:9: replace f with ()\n", &mut found);
        assert_eq!(compare(&found, &[listed(2, "equal")]), Vec::<String>::new());
        for wrong in [listed(1, "equal"), listed(3, "equal"), listed(2, " ")] {
            assert_eq!(compare(&found, &[wrong]).len(), 1);
        }
        assert_eq!(compare(&found, &[]).len(), 1);
    }
}
