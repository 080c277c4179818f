//! Processor time and memory of a process, from the system.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::param::clock_ticks_per_second;

/// Seconds of processor time that a process has used, in all threads.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in brackets, which may contain anything; the 14th and 15th fields are the times in
    // user mode and in the kernel.
    let (_, rest) = stat.rsplit_once(')').context("a stat has a name")?;
    let mut ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let mut next = || ticks.next().context("a stat has times")?.context("times are numbers");
    Ok((next()? + next()?) as f64 / clock_ticks_per_second() as f64)
}

/// Bytes of resident memory of a process.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    // The rollup is exact, while `status` lags by some pages per thread.
    let (path, key) = (format!("/proc/{pid}/smaps_rollup"), "Rss:");
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).context("a rollup has a line Rss")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_of_this_process_are_read() {
        let before = resident_bytes(std::process::id()).unwrap();
        let page = std::hint::black_box(vec![1_u8; 64 << 20]); // in a release build nobody would fill it
        let after = resident_bytes(std::process::id()).unwrap();
        assert!(after >= before + (60 << 20), "{before} {after} {}", page.len());
        assert!(cpu_seconds(std::process::id()).unwrap() >= 0.0);
    }
}
