//! An example server as a child process: starts it, finds its address, opens a session, stops it with SIGTERM.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::{Keep, Running};

/// How long a server may take to print its address, to answer, and to end after SIGTERM. Each takes milliseconds; the
/// slack is for a loaded machine.
const LIMIT: Duration = Duration::from_secs(10);

/// How often the output is searched for the address.
const POLL: Duration = Duration::from_millis(20);

/// The smallest request that opens a session.
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{
    "protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"xtask","version":"0"}}}"#;

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Running,
    pub(crate) url: String,
}

impl Server {
    /// Starts `executable` on a free port of the loopback interface and waits until it prints its URL.
    pub(crate) fn start(executable: &Path, args: &[&str]) -> Result<Server> {
        let mut command = Command::new(executable);
        let process = Running::start(command.args(["--bind", "127.0.0.1:0"]).args(args), Keep::All)?;
        let deadline = Instant::now() + LIMIT;
        loop {
            let ended = process.ended_within(POLL)?;
            let output = process.output();
            if let Some(url) = url_in(&output) {
                return Ok(Server { process, url });
            } else if ended.is_some() || Instant::now() > deadline {
                bail!("it printed no http://127.0.0.1:PORT within {LIMIT:?}; ended: {ended:?}\n{output}");
            }
        }
    }

    /// Opens a session: `initialize` must be answered with 200 and a session id.
    pub(crate) fn initialize(&self) -> Result<()> {
        let request = minreq::post(&self.url).with_timeout(LIMIT.as_secs()).with_body(INITIALIZE);
        let request = request.with_header("Content-Type", "application/json");
        let answer = request.with_header("Accept", "application/json, text/event-stream").send();
        let answer = answer.with_context(|| format!("POST initialize to {}\n{}", self.url, self.output()))?;
        ensure!(answer.status_code == 200, "initialize was answered with {}", answer.status_code);
        let has_id = answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("mcp-session-id"));
        ensure!(has_id, "the answer to initialize has no mcp-session-id");
        Ok(())
    }

    /// Sends SIGTERM and requires exit code 0 within the limit.
    pub(crate) fn stop(self) -> Result<()> {
        self.process.terminate()?;
        let status = self.process.wait(LIMIT).context("after SIGTERM")?;
        ensure!(
            status.success(),
            "SIGTERM must end it with exit code 0, not with {status}\n{}",
            self.output()
        );
        Ok(())
    }

    /// All that it printed.
    pub(crate) fn output(&self) -> String {
        self.process.output()
    }
}

/// The first loopback URL in complete lines of output.
fn url_in(output: &str) -> Option<String> {
    let lines = &output[..=output.rfind('\n')?];
    let url = &lines[lines.find("http://127.0.0.1:")?..];
    let ends = |c: char| c.is_whitespace() || c.is_control() || "\"'`<>()[],;".contains(c);
    Some(url.split(ends).next()?.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::url_in;

    #[test]
    fn a_url_is_found_in_surrounding_text() {
        for (before, after) in [("", ""), ("a\non \u{1b}[1m", "\u{1b}[0m."), ("(", "), or")] {
            let output = format!("{before}http://127.0.0.1:80/mcp{after}\n");
            assert_eq!(url_in(&output).as_deref(), Some("http://127.0.0.1:80/mcp"), "{output:?}");
        }
        assert_eq!(url_in("http://example.com\nhttp://127.0.0.1:8"), None);
    }
}
