//! Nothing is left, whatever dies first a real supervisor, a real gateway process, real children.
#![cfg(target_os = "linux")]

mod common;

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use common::{Pids, example, runs, wait_for};
use rustix::process::{Pid, Signal, kill_process};

/// A supervisor with its gateway. Both are killed when this is dropped.
struct Supervised {
    supervisor: Child,
    gateway: u32,
    said: BufReader<ChildStdout>,
}

impl Supervised {
    fn start(mode: &str, count: usize, switches: &[&str]) -> Self {
        Self::started_by(Command::new(example("supervised")), mode, count, switches)
    }

    fn started_by(mut command: Command, mode: &str, count: usize, switches: &[&str]) -> Self {
        command.arg(mode).arg(count.to_string()).args(switches).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut supervisor = command.spawn().expect("it starts");
        let mut said = BufReader::new(supervisor.stdout.take().expect("a pipe"));
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        Self { supervisor, gateway: line.trim().parse().expect("a process id"), said }
    }

    fn signal(pid: u32, signal: Signal) {
        let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("it runs");
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.supervisor.wait().expect("it ends").code()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        for pid in [self.supervisor.id(), self.gateway] {
            if let Some(pid) = Pid::from_raw(pid.cast_signed()).filter(|_| runs(pid)) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.supervisor.wait();
    }
}

const BAD: [&str; 4] = ["--ignore-term", "--ignore-eof", "--grandchild", "--setsid"];

fn with<'a>(switches: &[&'a str], pids: &'a Pids) -> Vec<&'a str> {
    switches.iter().copied().chain(["--pids", pids.path()]).collect()
}

#[test]
fn sigterm_is_passed_on_and_what_has_left_its_group_is_ended_too() {
    for mode in ["session", "shared", "request"] {
        let pids = Pids::new(&format!("sup-term-{mode}"));
        let mut supervised = Supervised::start(mode, 20, &with(&["--setsid"], &pids));
        Supervised::signal(supervised.supervisor.id(), Signal::TERM);
        assert_eq!(supervised.exit_code(), Some(0), "{mode}");
        let all = pids.read(if mode == "shared" { 2 } else { 40 });
        assert!(!all.iter().any(|pid| runs(*pid)), "{mode}: when the supervisor has ended, nothing is left");
        let mut line = String::new();
        supervised.said.read_line(&mut line).expect("a line");
        assert_eq!(line, "ended\n", "{mode}: the gateway had its time");
    }
}

#[test]
fn nothing_is_left_when_the_gateway_is_killed() {
    for mode in ["session", "shared", "request"] {
        for switches in [&[][..], &["--ignore-term"], &BAD] {
            let pids = Pids::new(&format!("sup-kill-{mode}"));
            let mut supervised = Supervised::start(mode, 20, &with(switches, &pids));
            Supervised::signal(supervised.gateway, Signal::KILL);
            assert_eq!(supervised.exit_code(), Some(128 + 9));
            let each = if switches.len() == BAD.len() { 3 } else { 1 };
            let all = pids.read(each * if mode == "shared" { 1 } else { 20 });
            assert!(!all.iter().any(|pid| runs(*pid)), "{mode} {switches:?}");
        }
    }
}

#[test]
fn the_gateway_follows_a_supervisor_that_is_killed() {
    let pids = Pids::new("sup-follow");
    let mut supervised = Supervised::start("session", 3, &with(&["--ignore-eof", "--grandchild"], &pids));
    let all = pids.read(8); // with that of the child that has said what the server is
    Supervised::signal(supervised.supervisor.id(), Signal::KILL);
    assert_eq!(supervised.exit_code(), None);
    wait_for("end of all", || !runs(supervised.gateway) && !all.iter().any(|pid| runs(*pid)));
}

/// What a child leaves is not kept until the gateway ends; what a running child has detached is.
#[test]
fn what_a_child_has_left_behind_ends_while_the_gateway_runs() {
    let pids = Pids::new("sup-orphan");
    let switches = ["end-one", "--setsid", "--pids", pids.path()];
    let mut supervised = Supervised::start("session", 2, &switches);
    let all = pids.read(6);
    // Each child has written its own id and that of what it has started, at once.
    let detached: Vec<u32> = all.iter().copied().skip(1).step_by(2).collect();
    // The first child of all has said what the server is, and has ended; that of the first session, too.
    wait_for("end of two orphans", || all.iter().filter(|pid| runs(**pid)).count() == 2);
    assert_eq!(detached.iter().filter(|pid| runs(**pid)).count(), 1, "the other's own is left alone");
    assert!(runs(supervised.gateway));
    Supervised::signal(supervised.supervisor.id(), Signal::TERM);
    assert_eq!(supervised.exit_code(), Some(0));
    assert!(!all.iter().any(|pid| runs(*pid)));
}

/// Needs the right to make a PID namespace; skipped without.
#[test]
fn it_is_a_correct_pid_1() {
    let may = Command::new("unshare").args(["-pf", "--mount-proc", "true"]).stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no PID namespace");
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["-pf", "--mount-proc", "--kill-child"]).arg(example("supervised"));
    let mut supervised = Supervised::started_by(unshare, "session", 3, &BAD);
    // The process ids are those of the namespace: it is its init, and ends with it.
    let found =
        Command::new("pgrep").args(["-P", &supervised.supervisor.id().to_string()]).output().expect("pgrep");
    let init: u32 = String::from_utf8_lossy(&found.stdout).trim().parse().expect("one process");
    Supervised::signal(init, Signal::TERM);
    assert_eq!(supervised.exit_code(), Some(0), "as PID 1 it gets signals only because it has handlers");
    supervised.gateway = supervised.supervisor.id();
}
