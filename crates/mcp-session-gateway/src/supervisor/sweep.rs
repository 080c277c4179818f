//! [`sweep`]: ends every process below this one.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use crate::child::{
    ladder::{Alive, Ladder, LadderBudgets, Step},
    processes,
};

/// The pause between looks: 2 ms. Nothing else is to be done, and the whole takes some tens of milliseconds, usually.
const LOOK: Duration = Duration::from_millis(2);

/// Ends every process below this one, by the ladder: what is there has read the end of its stdin already. Returns the number of
/// those that even SIGKILL does not end.
pub(super) fn sweep(own: Pid, budgets: LadderBudgets) -> usize {
    let mut ladder = Ladder::new(budgets);
    let mut killing = false;
    loop {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        let left = descendants(own);
        let alive = if left.is_empty() { Alive::Nobody } else { Alive::Leader };
        match ladder.next(Instant::now(), alive) {
            Step::CloseInput => {} // whoever had the other end is gone
            Step::Terminate => left.iter().for_each(|pid| _ = kill_process(*pid, Signal::TERM)),
            Step::Kill => killing = true,
            Step::Wait(until) => {
                thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
            }
            Step::Done(_) => return left.len(),
        }
        if killing {
            // Again at each look: a process may have started another before it died.
            left.iter().for_each(|pid| _ = kill_process(*pid, Signal::KILL));
        }
    }
}

/// Every process below this one that runs. Where there is no `/proc`, there is no subreaper either: none.
fn descendants(own: Pid) -> Vec<Pid> {
    let Ok(all) = processes::all() else { return Vec::new() };
    let all: Vec<_> = all.collect();
    let mut below = HashSet::from([own.as_raw_pid()]);
    let mut found = Vec::new();
    loop {
        let before = below.len();
        for stat in &all {
            if below.contains(&stat.parent) && below.insert(stat.pid.as_raw_pid()) && !stat.zombie {
                found.push(stat.pid);
            }
        }
        if below.len() == before {
            return found;
        }
    }
}
