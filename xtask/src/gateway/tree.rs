//! Processes, as `/proc` shows them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A process that runs; a zombie does not.
#[derive(Clone, Debug)]
struct Process {
    parent: u32,
}

/// All processes that run.
fn all() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| Some((pid, read(pid)?))).collect()
}

fn read(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // PID (NAME) STATE PARENT ...; the name may have anything in it.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    let process = Process { parent: fields.next()?.parse().ok()? };
    (state != "Z" && state != "X").then_some(process)
}

/// A process and all below it.
pub(super) fn below(root: u32) -> Vec<u32> {
    let all = all();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|(_, process)| process.parent == parent).map(|(pid, _)| pid));
        next += 1;
    }
    found
}

/// Whether a process runs this executable.
pub(super) fn is(pid: u32, executable: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path == executable)
}

/// The gateway's own processes: those below `root` that are none of the children, nor the shells around them.
pub(super) fn own(root: u32, child: &Path) -> Vec<u32> {
    let mut pids = below(root);
    pids.retain(|&pid| !is(pid, child) && !name(pid).ends_with("sh"));
    pids
}

fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// RSS. What several processes share is counted for each.
    pub(super) resident: u64,
    /// PSS. What several processes share is counted once.
    pub(super) proportional: u64,
}

/// The memory of processes.
pub(super) fn memory(pids: &[u32]) -> Memory {
    let mut memory = Memory::default();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let kilobytes = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value.and_then(|it| it.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default()
        };
        memory.resident += 1024 * kilobytes("Rss:");
        memory.proportional += 1024 * kilobytes("Pss:");
    }
    memory
}

/// The number of open descriptors of processes.
pub(super) fn descriptors(pids: &[u32]) -> usize {
    pids.iter().filter_map(|pid| Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())).sum()
}

/// Those of the processes that still run this executable.
pub(super) fn left(pids: &[u32], executable: &Path) -> Vec<u32> {
    pids.iter().copied().filter(|&pid| read(pid).is_some() && is(pid, executable)).collect()
}

/// Kills processes of which nobody else takes care.
pub(super) fn kill(pids: &[u32]) {
    for pid in pids {
        // Fails if it has ended by itself.
        let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    }
}
