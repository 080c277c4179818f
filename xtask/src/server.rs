//! An example server as a child process: starts it, finds its address, opens a session, stops it with SIGTERM.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::{self, Reaped};

/// How long a server may take to print its address, to answer, and to end after SIGTERM. Each takes milliseconds; the
/// slack is for a loaded machine.
const LIMIT: Duration = Duration::from_secs(10);

/// How long to wait for a server's output about a failure; existing output is read at once.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The smallest request that opens a session.
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{
    "protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"xtask","version":"0"}}}"#;

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Reaped,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    url: String,
}

impl Server {
    /// Starts `executable` on a free port of the loopback interface and waits until it prints its URL.
    pub(crate) fn start(executable: &Path, args: &[&str]) -> Result<Server> {
        let mut command = Command::new(executable);
        command.args(["--bind", "127.0.0.1:0"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().with_context(|| format!("cannot start {}", executable.display()))?;
        let mut child = Reaped(child);
        let stdout = process::lines_of(child.0.stdout.take().context("stdout is piped")?);
        let stderr = process::lines_of(child.0.stderr.take().context("stderr is piped")?);
        let mut server = Server { child, stdout, stderr, url: String::new() };
        let deadline = Instant::now() + LIMIT;
        while server.url.is_empty() {
            match server.stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => server.url = url_in(&line).unwrap_or_default(),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("no http://127.0.0.1:PORT on its stdout within {LIMIT:?}{}", server.last_words())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = server.child.wait_until(deadline, "a server without a stdout")?;
                    bail!("it ended with {status} before it printed its URL{}", server.last_words())
                }
            }
        }
        Ok(server)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Opens a session: `initialize` must be answered with 200 and a session id.
    pub(crate) fn initialize(&self) -> Result<()> {
        let head = post(&self.url, INITIALIZE)
            .with_context(|| format!("POST initialize to {}{}", self.url, self.last_words()))?;
        let status = head.split_whitespace().nth(1);
        ensure!(status == Some("200"), "initialize was not answered with 200 but with:\n{head}");
        let has_id = head.lines().any(|line| line.to_ascii_lowercase().starts_with("mcp-session-id:"));
        ensure!(has_id, "the answer to initialize has no mcp-session-id header:\n{head}");
        Ok(())
    }

    /// Sends SIGTERM and requires exit code 0 within the limit.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.child.terminate()?;
        let status = self.child.wait_until(Instant::now() + LIMIT, "the server, after SIGTERM,");
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                bail!("SIGTERM must end it with exit code 0, not with {status}{}", self.last_words())
            }
            Err(error) => bail!("{error}{}", self.last_words()),
        }
    }

    /// The output since the last call, indented to be printed below an error.
    pub(crate) fn last_words(&self) -> String {
        let deadline = Instant::now() + LAST_WORDS;
        let next = |lines: &Receiver<String>| {
            lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
        };
        let lines =
            std::iter::from_fn(|| next(&self.stderr)).chain(std::iter::from_fn(|| next(&self.stdout)));
        lines.map(|line| format!("\n    | {line}")).collect()
    }
}

/// The first loopback URL in a line of output.
fn url_in(line: &str) -> Option<String> {
    let url = &line[line.find("http://127.0.0.1:")?..];
    let ends = |c: char| c.is_whitespace() || c.is_control() || "\"'`<>()[],;".contains(c);
    Some(url.split(ends).next()?.trim_end_matches('.').to_owned())
}

/// Sends a POST over HTTP/1.1 on a new connection; returns the status line and the headers.
fn post(url: &str, body: &str) -> Result<String> {
    let rest = url.strip_prefix("http://").context("a URL starts with http://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut connection = TcpStream::connect_timeout(&authority.parse()?, LIMIT)?;
    connection.set_read_timeout(Some(LIMIT))?;
    connection.set_write_timeout(Some(LIMIT))?;
    let length = body.len();
    write!(
        connection,
        "POST /{path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = connection.read(&mut buffer).with_context(|| format!("no answer within {LIMIT:?}"))?;
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            return Ok(head.to_owned());
        }
        ensure!(read > 0, "the connection ended inside the head: {text:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::url_in;

    #[test]
    fn a_url_is_found_in_surrounding_text() {
        for line in [
            "http://127.0.0.1:80/mcp",
            "listening on \u{1b}[1mhttp://127.0.0.1:80/mcp\u{1b}[0m.",
            "try: curl (http://127.0.0.1:80/mcp), or",
        ] {
            assert_eq!(url_in(line).as_deref(), Some("http://127.0.0.1:80/mcp"), "{line:?}");
        }
        assert_eq!(url_in("http://example.com"), None);
    }
}
