//! What the tests share: the test child, and what is left of processes.

#![allow(dead_code, unreachable_pub, reason = "each test executable uses its part")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` at the call")]

pub mod client;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use mcp_session_gateway::child::command::CommandLine;

/// How long a test waits for a state before it fails: longer than any machine takes.
pub const LONG: Duration = Duration::from_secs(20);

/// An example of this crate. `cargo test` builds it; with `--test NAME`, build it first: `cargo build --examples`.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let target = test.parent().and_then(Path::parent).expect("target/debug/deps");
    let path = target.join("examples").join(name);
    assert!(
        path.exists(),
        "{} is not there: `cargo build -p mcp-session-gateway --examples`",
        path.display()
    );
    path
}

/// The test child with these switches.
pub fn stdio_child(switches: &[&str]) -> CommandLine {
    CommandLine::new(example("stdio_child"), switches)
}

/// A file for a test, which is removed with this value.
pub struct Pids(PathBuf);

impl Pids {
    pub fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gateway-{}-{test}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    /// The process ids in the file, once there are `count`.
    pub fn read(&self, count: usize) -> Vec<u32> {
        let mut pids = Vec::new();
        wait_for("process ids", || {
            let text = std::fs::read_to_string(&self.0).unwrap_or_default();
            pids = text.lines().filter_map(|line| line.parse().ok()).collect();
            pids.len() >= count
        });
        pids
    }
}

impl Drop for Pids {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether a process runs. A zombie does not.
pub fn runs(pid: u32) -> bool {
    let stat = std::process::Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output();
    let stat = stat.expect("`ps` runs").stdout;
    let stat = String::from_utf8_lossy(&stat);
    !stat.trim().is_empty() && !stat.trim().starts_with('Z')
}

/// Waits until `state` holds.
///
/// # Panics
///
/// If it does not within [`LONG`].
pub fn wait_for(what: &str, mut state: impl FnMut() -> bool) {
    let start = Instant::now();
    while !state() {
        assert!(start.elapsed() < LONG, "still no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As [`wait_for`], without blocking the thread.
pub async fn until(what: &str, mut state: impl FnMut() -> bool) {
    let start = Instant::now();
    while !state() {
        assert!(start.elapsed() < LONG, "still no {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
