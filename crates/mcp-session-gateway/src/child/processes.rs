//! What `/proc` says of processes, where there is one.

use std::{fs, io};

use rustix::process::{Pid, test_kill_process_group};

/// One process, as its `/proc/PID/stat` describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: Pid,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// It has ended, and its parent has not looked.
    pub(crate) zombie: bool,
}

impl Stat {
    fn read(pid: &str) -> Option<Self> {
        let pid = Pid::from_raw(pid.parse().ok()?)?;
        parse(pid, &fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?)
    }
}

/// The name, in parentheses, may contain anything.
fn parse(pid: Pid, stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    Some(Stat { pid, zombie, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

/// All processes.
///
/// # Errors
///
/// If there is no `/proc`, as on macOS.
pub(crate) fn all() -> io::Result<impl Iterator<Item = Stat>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.flatten().filter_map(|entry| Stat::read(entry.file_name().to_str()?)))
}

/// Whether a process of this group runs. A zombie does not: who has adopted it may take its time to look.
pub(crate) fn group_runs(group: Pid) -> bool {
    if test_kill_process_group(group).is_err() {
        return false; // or it is not ours, so that we cannot end it either
    }
    match all() {
        Ok(mut all) => all.any(|it| it.group == group.as_raw_pid() && !it.zombie),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_end() {
        let pid = Pid::from_raw(7).unwrap();
        let stat = parse(pid, "7 (a) Z (b)) S 3 5 5 0 -1").expect("a stat");
        assert_eq!(stat, Stat { pid, parent: 3, group: 5, zombie: false });
        assert!(parse(pid, "7 (x) Z 3 5 5").expect("a stat").zombie);
        assert!(parse(pid, "7 (x) Z").is_none() && parse(pid, "").is_none());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_found_with_its_parent_and_group() {
        let own = rustix::process::getpid();
        let stat = all().expect("/proc").find(|stat| stat.pid == own).expect("it runs");
        assert_eq!(stat.parent, rustix::process::getppid().map_or(0, Pid::as_raw_pid));
        assert!(!stat.zombie && group_runs(rustix::process::getpgrp()));
    }
}
