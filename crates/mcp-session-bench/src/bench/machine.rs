//! The machine: which cores server and client use, and the facts to record with the figures.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of server and client.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    pub(crate) all: Vec<usize>,
    /// The first half; empty if there are too few cores to split.
    pub(crate) server: Vec<usize>,
    /// The second half.
    pub(crate) client: Vec<usize>,
}

impl Cores {
    /// The cores that this process may use, in two halves. With fewer than four, server and client share them.
    pub(crate) fn of_this_process() -> Result<Self> {
        let set = sched_getaffinity(None)?;
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
        let (server, client) = match all.len() {
            0..4 => (Vec::new(), Vec::new()),
            n => (all[..n / 2].to_vec(), all[n / 2..].to_vec()),
        };
        Ok(Self { all, server, client })
    }

    /// One thread of the load generator per client core.
    pub(crate) fn client_threads(&self) -> Vec<Option<usize>> {
        if self.client.is_empty() {
            return vec![None; self.all.len().div_ceil(2)];
        }
        self.client.iter().copied().map(Some).collect()
    }

    /// Runs a closure with this thread on the server's cores: a process that it starts stays there.
    pub(crate) fn as_server<R>(&self, act: impl FnOnce() -> R) -> R {
        pin(&self.server);
        let result = act();
        pin(if self.client.is_empty() { &self.all } else { &self.client });
        result
    }
}

/// Pins this thread to one core.
pub(crate) fn pin_thread(core: Option<usize>) {
    pin(core.as_slice());
}

/// Best effort: if it is not permitted, figures are noisier.
fn pin(cores: &[usize]) {
    if cores.is_empty() {
        return;
    }
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    let _ = sched_setaffinity(None, &set);
}

/// The machine on which the figures were measured.
pub(crate) fn describe(cores: &Cores) -> BTreeMap<&'static str, String> {
    let output = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let line = |path: &str, key: &str| {
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split(':').nth(1)?.trim().to_owned())
    };
    let load = fs::read_to_string("/proc/loadavg").ok();
    let load = load.and_then(|load| Some(load.split_whitespace().next()?.to_owned()));
    let names = |cores: &[usize]| cores.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
    [
        ("processor", line("/proc/cpuinfo", "model name")),
        ("memory", line("/proc/meminfo", "MemTotal")),
        ("kernel", output("uname", &["-sr"])),
        ("rustc", output("rustc", &["--version"])),
        ("commit", output("git", &["rev-parse", "--short", "HEAD"])),
        ("load when it began", load),
        ("cores", Some(cores.all.len().to_string())),
        ("cores of the server", Some(names(&cores.server))),
        ("cores of the client", Some(names(&cores.client))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}
