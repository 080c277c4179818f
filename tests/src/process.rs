//! [`Process`]: the example `everything` as a separate process.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::OnceLock,
};

use mcp_session_testkit::wire::within;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// A running `everything`, killed on drop.
#[derive(Debug)]
pub struct Process {
    /// Its address.
    pub addr: SocketAddr,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts it on this runtime, named as for `--runtime`, with these arguments and a free port, and waits until it
    /// listens.
    pub async fn start(runtime: &str, args: &[&str]) -> Self {
        Self::start_with(runtime, args, Stdio::null()).await
    }

    /// The same, with a place for its log.
    pub async fn start_with(runtime: &str, args: &[&str], log: Stdio) -> Self {
        let mut child = command(args)
            .args(["--runtime", runtime, "--bind", "127.0.0.1:0", "--report", "json"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the example runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let url = within("the URL of the example", lines.next_line()).await.expect("text").expect("a URL");
        let (_, addr) = url.split_once("http://").unwrap_or_else(|| panic!("no URL: {url:?}"));
        let addr = addr.split('/').next().and_then(|addr| addr.parse().ok()).expect("an address");
        Self { addr, child, lines }
    }

    /// Runs it to its end with these arguments, which it should refuse. Returns its output.
    pub async fn refused(args: &[&str]) -> (ExitStatus, String) {
        let output =
            within("the end of the example", command(args).output()).await.expect("the example runs");
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Sends a signal, such as `TERM`.
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("a running process").to_string();
        let killed = Command::new("kill").args(["-s", name, &pid]).status().await.expect("kill");
        assert!(killed.success());
    }

    /// Kills it, and waits for its end.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a process of our own");
    }

    /// Waits for the process to exit. Returns its status and the report, its last line.
    pub async fn exited(mut self) -> (ExitStatus, Value) {
        let mut report = None;
        let exit = async {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                report = Some(line);
            }
            self.child.wait().await.expect("a status")
        };
        let status = within("the end of the process", exit).await;
        let report = report.expect("a report");
        (status, serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report:?}")))
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(executable());
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();

/// Takes this executable of `everything` instead of building it, if none was chosen or built before.
pub fn choose_executable(path: PathBuf) {
    EXECUTABLE.get_or_init(|| path);
}

/// The path of `everything`, which is built first.
pub fn executable() -> &'static PathBuf {
    EXECUTABLE.get_or_init(|| example("everything"))
}

/// Builds an example, and returns its path: a test cannot depend on the example of another package.
pub fn example(name: &str) -> PathBuf {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let built = std::process::Command::new(env!("CARGO"))
        .args(["build", "--package", "mcp-session-examples", "--example", name, "--profile", profile])
        .args(["--message-format", "json-render-diagnostics"])
        .args(cfg!(feature = "async-std").then_some("--features=async-std"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "the example is built");
    let messages = String::from_utf8(built.stdout).expect("text");
    let executable = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == name).then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executable.expect("cargo names what it built")
}
