//! [`Orphans`]: what a child of the gateway has left behind in a session of its own, while the gateway runs.
//!
//! A child that ends may leave a process that its ladder does not find. With a child per session, these would become more and
//! more. They are adopted by the supervisor, and each has the mark of its child in its environment. When no child with that
//! mark runs any more, it is ended. A process that a running child has detached, such as a language server, is left alone.
//! So is one whose environment has no mark, until the gateway ends.

use std::{
    collections::{HashMap, HashSet},
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::child::processes;

/// The variable that marks a child and whatever it starts.
pub(crate) const MARK: &str = "MCP_SESSION_GATEWAY_CHILD";

/// The pause between looks, and what an orphan has after SIGTERM. 2 seconds, as a child has. Nothing tells that a process was
/// adopted; without any, a look is the reading of one line.
const LOOK: Duration = Duration::from_secs(2);

/// The processes that the supervisor has adopted.
#[derive(Debug)]
pub(super) struct Orphans {
    next_look: Instant,
    terminated: HashSet<i32>,
}

impl Orphans {
    pub(super) fn new(now: Instant) -> Self {
        Self { next_look: now + LOOK, terminated: HashSet::new() }
    }

    /// When to look again.
    pub(super) fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Looks, if it is time, who was adopted, and ends those whose child has ended: with SIGTERM, and with SIGKILL at a later
    /// look.
    pub(super) fn look(&mut self, now: Instant, own: Pid, gateway: Pid) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        if has_only(own, gateway) {
            return;
        }
        let Ok(all) = processes::all() else { return };
        let all: Vec<_> = all.filter(|stat| !stat.zombie).collect();
        let below = |parent: Pid| all.iter().filter(move |stat| stat.parent == parent.as_raw_pid());
        let orphans: HashMap<Pid, Vec<u8>> = below(own)
            .filter(|stat| stat.pid != gateway)
            .filter_map(|stat| Some((stat.pid, mark(stat.pid)?)))
            .collect();
        self.terminated.retain(|pid| orphans.keys().any(|orphan| orphan.as_raw_pid() == *pid));
        let running: HashSet<Vec<u8>> = match orphans.is_empty() {
            true => HashSet::new(),
            false => below(gateway).filter_map(|stat| mark(stat.pid)).collect(),
        };
        for pid in orphans.iter().filter(|(_, mark)| !running.contains(*mark)).map(|(pid, _)| *pid) {
            let first = self.terminated.insert(pid.as_raw_pid());
            let _ = kill_process(pid, if first { Signal::TERM } else { Signal::KILL });
        }
    }
}

/// Whether the gateway is the only child of this process, whose main thread has adopted what it has adopted. `false` also if the
/// kernel does not say.
fn has_only(own: Pid, gateway: Pid) -> bool {
    let own = own.as_raw_pid();
    let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    children.trim() == gateway.as_raw_pid().to_string()
}

/// The mark of a process: of which child it is.
fn mark(pid: Pid) -> Option<Vec<u8>> {
    let environ = fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).ok()?;
    let mut variables = environ.split(|byte| *byte == 0);
    let value = variables.find_map(|it| it.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    Some(value.to_owned())
}
