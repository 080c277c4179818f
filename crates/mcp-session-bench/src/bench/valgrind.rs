//! Instructions in user mode, counted by valgrind: the same on a busy machine as on a quiet one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// A piece of work without a socket, by its name in the executable `in-process`.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Work that is included in the run and subtracted from the count.
    besides: Option<&'static str>,
    runs: [usize; 2],
}

/// The work that is counted without a socket.
pub(crate) const WORK: [Work; 11] = [
    Work { name: "parse", what: "parse a call", besides: None, runs: MANY },
    Work {
        name: "envelope",
        what: "the envelope of 2026-07-28: its text, its members, three headers; the floor",
        besides: Some("parse"),
        runs: MANY,
    },
    Work { name: "machine", what: "the machine: parse, admit, answer, encode", besides: None, runs: MANY },
    Work { name: "echo", what: "`Endpoint::handle` of an `echo` call", besides: Some("request"), runs: MANY },
    Work {
        name: "handle-stateless",
        what: "`Endpoint::handle` of an `echo` call without a session",
        besides: Some("request-stateless"),
        runs: MANY,
    },
    Work {
        name: "handle-modern",
        what: "`Endpoint::handle` of an `echo` call of 2026-07-28",
        besides: Some("request-modern"),
        runs: MANY,
    },
    Work {
        name: "handle-100k",
        what: "`Endpoint::handle` of an `echo` call of 100,000 bytes",
        besides: Some("request-100k"),
        runs: FEW,
    },
    Work {
        name: "handle-modern-100k",
        what: "the same of 2026-07-28",
        besides: Some("request-modern-100k"),
        runs: FEW,
    },
    Work {
        name: "events-100k",
        what: "the same in a session, answered as an event with an id, and read",
        besides: Some("request-100k"),
        runs: FEW,
    },
    Work { name: "replay", what: "a GET that replays 1,000 kept events", besides: None, runs: FEW },
    Work {
        name: "session",
        what: "a session: `initialize` and DELETE, with the requests",
        besides: None,
        runs: MANY,
    },
];

/// The numbers of repetitions in the two runs whose difference counts: the cost of starting up cancels out.
const MANY: [usize; 2] = [1_000, 3_000];

/// Those of long work.
const FEW: [usize; 2] = [20, 60];

impl Work {
    /// Instructions per repetition.
    pub(crate) fn count(&self, target: &Path) -> Result<f64> {
        let of = |name| difference(self.runs, |times| in_process(target, name, times));
        Ok(of(self.name)? - self.besides.map_or(Ok(0.0), of)?)
    }
}

/// The count per repetition, if `count` counts several.
pub(crate) fn each(count: impl Fn(usize) -> Result<f64>) -> Result<f64> {
    difference(MANY, count)
}

fn difference([few, many]: [usize; 2], count: impl Fn(usize) -> Result<f64>) -> Result<f64> {
    Ok((count(many)? - count(few)?) / (many - few) as f64)
}

fn in_process(target: &Path, name: &str, times: usize) -> Result<f64> {
    let mut command = command(target, name, times);
    command.arg(target.join("release/in-process")).args([name, &times.to_string()]);
    let status = command.stdin(Stdio::null()).status().context("cannot start valgrind")?;
    ensure!(status.success(), "valgrind failed with {status}");
    collected(target, name, times)
}

/// Counts the instructions of the command in its arguments.
pub(crate) fn command(target: &Path, name: &str, times: usize) -> Command {
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind");
    // For callgrind_annotate.
    command.arg(format!("--callgrind-out-file={}", file(target, name, times, "out").display()));
    command.arg(format!("--log-file={}", file(target, name, times, "log").display()));
    command
}

/// Parses the count in valgrind's final output.
pub(crate) fn collected(target: &Path, name: &str, times: usize) -> Result<f64> {
    let path = file(target, name, times, "log");
    let said = fs::read_to_string(&path)?;
    let (_, number) = said.split_once("Collected : ").with_context(|| format!("no count in: {said}"))?;
    let number = number.lines().next().unwrap_or_default();
    Ok(number.trim().parse()?)
}

fn file(target: &Path, name: &str, times: usize, extension: &str) -> PathBuf {
    target.join("bench").join(format!("callgrind.{name}.{times}.{extension}"))
}
