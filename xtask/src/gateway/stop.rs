//! SIGTERM while 20 sessions have 20 calls running: what becomes of the calls, when the gateway has ended, and what is left.

use std::process::ExitStatus;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::client::{Outcome, Reply, call};
use super::programs::{Gateway, Programs};
use super::tree;
use crate::table;

/// Sessions, with a call each.
const SESSIONS: u64 = 20;

/// What the calls need, and the grace of ours. The others have no such option.
const CALLS: [(Duration, &str); 3] =
    [(Duration::from_secs(1), "15s"), (Duration::from_secs(5), "15s"), (Duration::from_secs(40), "5s")];

/// From the last call's request to the signal: the children have begun, and none has ended.
const BEGUN: Duration = Duration::from_millis(400);

/// How long a gateway may take to end. Then it is killed.
const LIMIT: Duration = Duration::from_secs(20);

/// How long what is left has to go away by itself.
const LEFT: Duration = Duration::from_secs(2);

/// What was seen of one gateway.
#[derive(Debug)]
struct Seen {
    results: usize,
    errors: usize,
    took: Duration,
    status: Option<ExitStatus>,
    left: usize,
}

pub(super) fn run(programs: &Programs) -> Result<bool> {
    let head = ["calls", "gateway", "results", "errors", "no answer", "exit after", "exit code", "left"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut all_ok = true;
    for (takes, grace) in CALLS {
        let ours = ["session", "shared", "request"].map(|mode| programs.ours(mode, &["--grace", grace]));
        for (is_ours, gateway) in
            ours.iter().map(|it| (true, it)).chain(programs.others().iter().map(|it| (false, it)))
        {
            let mut row = vec![format!("{} s", takes.as_secs()), gateway.name.clone()];
            match stop(programs, gateway, takes) {
                Ok(seen) => {
                    all_ok &= !is_ours || seen.is_right(takes);
                    row.extend(seen.cells());
                }
                Err(error) => {
                    all_ok &= !is_ours;
                    row.push(format!("{error:#}").replace('\n', " "));
                }
            }
            println!("{}", row.join("  "));
            rows.push(row);
        }
    }
    println!("\n{}", table::render(&rows));
    Ok(all_ok)
}

/// Starts a gateway, opens the sessions, lets the calls begin, and stops it.
fn stop(programs: &Programs, gateway: &Gateway, takes: Duration) -> Result<Seen> {
    let pids = tempfile::NamedTempFile::new()?;
    let file = pids.path().display().to_string();
    let server = [&programs.child.display().to_string(), "--pids", &file].map(ToString::to_string);
    let started = gateway.start(&server)?;
    let (outcomes, ended) = mpsc::channel();
    // All sessions first, so that the calls begin together.
    let clients = (1..=SESSIONS).map(|id| Ok((id, started.client()?))).collect::<Result<Vec<_>>>()?;
    for (id, mut client) in clients {
        client.send(&call(id, "sleep", &json!({ "ms": takes.as_millis() })))?;
        let outcomes = outcomes.clone();
        thread::spawn(move || {
            let mut reply = Reply::default();
            // However it ends, what has come counts.
            let _ = client.read(&mut reply);
            let _ = outcomes.send(reply.outcome(id));
        });
    }
    drop(outcomes);
    thread::sleep(BEGUN);
    let begun = Instant::now();
    started.process.terminate()?;
    let status = started.process.ended_within(LIMIT)?;
    let took = begun.elapsed();
    drop(started); // killed, if it has not ended
    let outcomes: Vec<Outcome> = ended.iter().collect();
    let count = |wanted| outcomes.iter().filter(|&&outcome| outcome == wanted).count();
    let text = std::fs::read_to_string(pids.path()).context("the children's process ids")?;
    let children: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let deadline = Instant::now() + LEFT;
    let mut left = tree::left(&children, &programs.child);
    while !left.is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
        left = tree::left(&children, &programs.child);
    }
    tree::kill(&left);
    let (results, errors) = (count(Outcome::Result), count(Outcome::Error));
    Ok(Seen { results, errors, took, status, left: left.len() })
}

impl Seen {
    /// What ours has to do: results, or after the grace errors, one each; then the end, with nothing left.
    fn is_right(&self, takes: Duration) -> bool {
        let wanted = SESSIONS as usize;
        let late = takes > LIMIT;
        let answered = if late { self.errors == wanted } else { self.results == wanted };
        answered && self.left == 0 && self.status.is_some_and(|status| status.success())
    }

    fn cells(&self) -> [String; 6] {
        let nothing = SESSIONS as usize - self.results - self.errors;
        let (took, code) = match self.status {
            None => (format!("not in {} s", LIMIT.as_secs()), "-".to_owned()),
            Some(status) => (
                format!("{:.2} s", self.took.as_secs_f64()),
                status.code().map_or_else(|| status.to_string(), |code| code.to_string()),
            ),
        };
        [
            self.results.to_string(),
            self.errors.to_string(),
            nothing.to_string(),
            took,
            code,
            self.left.to_string(),
        ]
    }
}
