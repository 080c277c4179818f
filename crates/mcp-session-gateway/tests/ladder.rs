//! Real children, and what it takes to end each of them , without a supervisor.

mod common;

use std::{future::pending, time::Duration};

use common::{Pids, runs, stdio_child, until};
use mcp_session_gateway::child::{
    ladder::{LadderBudgets, Outcome},
    spawn::{Spawned, spawn},
};

/// A budget that must elapse is short, one that must not is long.
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(30);

/// Starts the child, waits until it runs, ends it, and checks that nothing of it is left.
async fn end(test: &str, switches: &[&str], processes: usize, budgets: LadderBudgets) -> Outcome {
    let pids = Pids::new(test);
    let switches: Vec<&str> = switches.iter().copied().chain(["--pids", pids.path()]).collect();
    let Spawned { mut process, input, .. } = spawn(&stdio_child(&switches), [], 1_000).expect("it starts");
    let all = pids.read(processes);
    assert_eq!(all[0], process.id());
    let outcome = process.end(&input, budgets, pending()).await;
    until("end of all processes", || !all.iter().any(|pid| runs(*pid))).await;
    assert!(process.exited().is_some());
    outcome
}

#[tokio::test]
async fn a_child_that_obeys_the_end_of_its_input_gets_no_signal() {
    let outcome = end("obeys", &["--ignore-term"], 1, LadderBudgets::new(LONG, LONG)).await;
    assert_eq!(outcome, Outcome::Closed);
}

#[tokio::test]
async fn a_child_that_ignores_the_end_of_its_input_gets_sigterm() {
    let outcome = end("ignores-eof", &["--ignore-eof"], 1, LadderBudgets::new(SHORT, LONG)).await;
    assert_eq!(outcome, Outcome::Terminated);
}

#[tokio::test]
async fn a_child_that_ignores_both_gets_sigkill() {
    let switches = ["--ignore-eof", "--ignore-term"];
    let outcome = end("ignores-both", &switches, 1, LadderBudgets::new(SHORT, SHORT)).await;
    assert_eq!(outcome, Outcome::Killed);
}

#[tokio::test]
async fn what_a_child_leaves_in_its_group_gets_sigterm_at_once() {
    let outcome = end("grandchild", &["--grandchild"], 2, LadderBudgets::new(LONG, LONG)).await;
    assert_eq!(outcome, Outcome::Terminated);
}

#[tokio::test]
async fn in_a_hurry_nobody_is_waited_for() {
    let Spawned { mut process, input, .. } =
        spawn(&stdio_child(&["--ignore-eof", "--ignore-term"]), [], 1_000).expect("it starts");
    let outcome = process.end(&input, LadderBudgets::new(LONG, LONG), async {}).await;
    assert!(matches!(outcome, Outcome::Terminated | Outcome::Killed), "{outcome:?}"); // it may not have got to its handler
}

#[tokio::test]
async fn a_wrapper_that_passes_on_no_signal_leaves_nothing() {
    let pids = Pids::new("wrapper");
    let child = common::example("stdio_child");
    let script = format!("{} --ignore-eof --pids {}; true", child.display(), pids.path());
    let command = mcp_session_gateway::child::command::CommandLine::new("sh", ["-c", &script]);
    let Spawned { mut process, input, .. } = spawn(&command, [], 1_000).expect("it starts");
    let all = pids.read(1);
    assert_ne!(all[0], process.id());
    let outcome = process.end(&input, LadderBudgets::new(SHORT, LONG), pending()).await;
    assert_eq!(outcome, Outcome::Terminated);
    until("end of the child", || !runs(all[0])).await;
}

#[tokio::test]
async fn a_process_that_is_dropped_is_killed_with_its_group() {
    let pids = Pids::new("dropped");
    let switches = ["--ignore-eof", "--ignore-term", "--grandchild", "--pids", pids.path()];
    let spawned = spawn(&stdio_child(&switches), [], 1_000).expect("it starts");
    let all = pids.read(2);
    drop(spawned);
    until("end of both", || !all.iter().any(|pid| runs(*pid))).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error() {
    let command = mcp_session_gateway::child::command::CommandLine::new("/no/such/program", [""; 0]);
    assert_eq!(spawn(&command, [], 1_000).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}
